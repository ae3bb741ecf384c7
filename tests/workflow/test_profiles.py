"""The cluster profiles: they name rules that exist, and ask the same of every batch system."""

import re

import pytest
import yaml
from runs import ROOT

SLURM_SAYS = {"slurm_extra", "submit_options"}


def read_profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "workflow/profiles" / name / "config.yaml").read_text())


def asked(resources: dict) -> dict:
    """Resources without the options that each submission takes in its own way."""
    return {name: value for name, value in resources.items() if name not in SLURM_SAYS}


@pytest.mark.parametrize("name", ["slurm", "cluster-generic"])
def test_a_profile_names_rules_that_exist(name):
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    existing = set(re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)\b", rules, re.MULTILINE))
    profile = read_profile(name)
    assert {*profile["groups"], *profile["set-resources"]} <= existing


def test_both_profiles_ask_for_the_same():
    ours, theirs = read_profile("slurm"), read_profile("cluster-generic")
    for key in "retries", "groups", "resources", "set-resource-scopes", "local-cores", "latency-wait":
        assert ours[key] == theirs[key]
    assert asked(ours["default-resources"]) == asked(theirs["default-resources"])
    of_rules = [{rule: asked(it) for rule, it in each["set-resources"].items()} for each in (ours, theirs)]
    assert of_rules[0] == of_rules[1]


def test_every_training_is_warned_before_its_time_limit():
    resources = read_profile("slurm")["set-resources"]
    warned = {rule for rule, it in resources.items() if "--signal=TERM@" in it.get("slurm_extra", "")}
    assert warned == {"teacher", "aggregators", "student"}
