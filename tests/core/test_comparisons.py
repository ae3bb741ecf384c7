"""What is tested against what follows from the config."""

from pathlib import Path

import pytest
import yaml

from spkdistill.comparisons import baseline, derived_backends, student_pairs
from spkdistill.config import resolve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config() -> dict:
    """The default config, complete."""
    whole = yaml.safe_load((ROOT / "config.yaml").read_text())
    return resolve(whole, ROOT / "workflow/schemas/config.schema.yaml")


def test_a_student_is_tested_against_itself_without_a_teacher_and_against_its_teacher(config):
    models = ["tdnn-none", "tdnn-none-s1", "tdnn-xvector", "tdnn-xvector-s1", "fc8-kd"]
    assert student_pairs(config, models) == [
        (("tdnn-none", ("tdnn-none",)), ("xvector", ("xvector",))),
        (("tdnn-xvector", ("tdnn-xvector",)), ("tdnn-none", ("tdnn-none",))),
        (("tdnn-xvector", ("tdnn-xvector",)), ("xvector", ("xvector",))),
        (("fc8-kd", ("fc8-kd",)), ("xvector", ("xvector",))),  # fc8-none is not among them
    ]


def test_the_student_without_a_teacher_is_trained_in_the_same_way(config):
    assert baseline(config, "fc8-kd", {"fc8-none"}) == "fc8-none"
    config["students"]["fc8-kd"]["training"] = {**config["students"]["fc8-kd"]["training"], "epochs": 11}
    assert baseline(config, "fc8-kd", {"fc8-none"}) is None


def test_a_backend_is_tested_against_the_first_of_its_kind_or_what_it_fuses(config):
    assert derived_backends(config) == [("asnorm", "cosine"), ("fused", "cosine"), ("fused", "plda")]
    config["backends"]["fused"]["systems"] = ["plda"]  # calibration keeps the order
    assert derived_backends(config) == [("asnorm", "cosine")]
