"""Aggregators learn on a teacher that stays as it was, and an interrupted training ends in the same bytes."""

import argparse
import json
import os
import signal

import pytest
import torch

from spkdistill.cli import training as cli
from spkdistill.distill.targets import TeacherFiles, answers, load_teacher
from spkdistill.errors import ConfigError
from spkdistill.files import read_text
from spkdistill.models import store
from spkdistill.training import aggregators as room
from spkdistill.training import loop
from spkdistill.training.loop import Interrupted


@pytest.fixture
def command(corpus, tmp_path):
    """Run a subcommand with the inputs and outputs that both have."""
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    views, speakers, features = corpus.inputs
    inputs = ["--views", views, "--speakers", speakers, "--features", features]

    def run(name, settings, *more):
        outputs = {
            "model": f"{name}.safetensors",
            "config": f"{name}.json",
            "log": f"{name}.tsv",
            "work": "work",
        }
        arguments = [name, "--settings", json.dumps(settings), "--seed", 0, *inputs, *more]
        for option, file in outputs.items():
            arguments += [f"--{option}", tmp_path / file]
        options = parser.parse_args(list(map(str, arguments)))
        options.run(options)

    return run


def test_a_student_is_trained_on_the_targets_named(command, settings, corpus, tmp_path):
    distil = {
        "objective": "kd",
        "temperature": 4,
        "weight": 1,
        "classification_weight": 1,
        "warmup_epochs": 0,
        "kd_logits": "plain",
        "standardise": False,
    }
    student = "--name", "s", "--feature-settings", "{}", "--targets"
    command("train", {**settings, "distil": distil}, *student, f"logits={corpus.targets['logits']}")
    assert "\tkd" in read_text(tmp_path / "train.tsv").splitlines()[0]
    with pytest.raises(ConfigError, match=r"--targets logits\.scp: expected NAME=PATH"):
        command("train", {**settings, "distil": distil}, *student, "logits.scp")


def test_a_teacher_that_aggregates_some_of_its_layers_gives_all_parts(command, settings, corpus, tmp_path):
    """A Conformer: its last layer repeats the others and is not aggregated."""
    conformer = {"arch": "conformer", "channels": 8, "blocks": 2, "heads": 2, "hidden": 12, "kernel": 3}
    conformer |= {"subsampling": 2, "bottleneck": 5, "dropout": 0.1, "embedding": 6}
    settings["training"]["epochs"] = 1
    command("train", {**settings, "model": conformer}, "--name", "t", "--feature-settings", "{}")
    chosen = {"embedding": 7, "components": 3, "head": settings["head"], "training": settings["training"]}
    teacher = tmp_path / "train.safetensors", tmp_path / "train.json"
    command("aggregators", chosen, "--teacher", teacher[0], "--teacher-config", teacher[1])
    files = TeacherFiles(*teacher, tmp_path / "aggregators.safetensors", tmp_path / "aggregators.json")
    sizes = {"xvector": 6, "narrow_bn": 8, "wide_bn": 16, "sp_aggr": 7, "lde_aggr": 7, "logits": 6}
    loaded = load_teacher(files, list(sizes), torch.device("cpu"), trust=False)
    parts = answers(loaded, torch.randn(3, 24, 8), list(sizes))
    assert {part: tuple(vectors.shape) for part, vectors in parts.items()} == {
        part: (3, size) for part, size in sizes.items()
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", 0, r"training\.batch_size: expected 2 or more, found 0"),
        ("final_learning_rate", 0, r"training\.final_learning_rate: expected more than 0, found 0\.0"),
        ("learning_rate", float("nan"), r"training\.learning_rate: expected more than 0, found nan"),
        ("epochs", 0, r"training\.epochs: expected 1 or more, found 0"),
        ("processes", 0, r"training\.processes: expected 1 or more, found 0"),
        ("optimizer", "lion", r"training\.optimizer: expected sgd or adamw, found 'lion'"),
        (
            "spec_augment",
            {"time_masks": -1, "time_width": 1, "frequency_masks": 1, "frequency_width": 1},
            r"training\.spec_augment\.time_masks: expected 0 or more, found -1",
        ),
    ],
)
def test_a_training_that_cannot_be_is_refused(command, settings, key, value, message):
    settings["training"][key] = value
    with pytest.raises(ConfigError, match=message):
        command("train", settings, "--name", "t", "--feature-settings", "{}")


def test_targets_given_twice_are_refused(command, settings, corpus):
    scp = f"logits={corpus.targets['logits']}"
    with pytest.raises(ConfigError, match="--targets logits: given twice"):
        command("train", settings, "--name", "t", "--feature-settings", "{}", "--targets", scp, scp)


def test_aggregators_learn_and_the_teacher_stays_as_it_was(
    command, settings, training, tmp_path, monkeypatch
):
    command("train", settings, "--name", "t", "--feature-settings", "{}")
    teacher = tmp_path / "train.safetensors", tmp_path / "train.json"
    before = {name: value.clone() for name, value in store.load(*teacher)[0].state_dict().items()}
    loaded = []
    monkeypatch.setattr(room, "load", lambda *paths: loaded.append(store.load(*paths)) or loaded[-1])
    chosen = {
        "embedding": 8,
        "components": 3,
        "head": settings["head"],
        "training": {**training, "epochs": 6},
    }
    options = ["--teacher", teacher[0], "--teacher-config", teacher[1]]

    command("aggregators", chosen, *options)
    whole = (tmp_path / "aggregators.safetensors").read_bytes(), (tmp_path / "aggregators.tsv").read_bytes()
    for name, value in loaded[0][0].state_dict().items():
        assert torch.equal(value, before[name])
    header, first, *_, last = [
        line.split("\t") for line in read_text(tmp_path / "aggregators.tsv").splitlines()
    ]
    for name in ("sp_aggr", "lde_aggr"):
        column = header.index(f"{name}_classification")
        assert float(last[column]) < 0.6 * float(first[column])
    trained = store.load_aggregators(
        tmp_path / "aggregators.safetensors", tmp_path / "aggregators.json", loaded[0][0].layer_dims
    )
    layers = loaded[0][0].frame_layers(torch.randn(2, 24, 8))
    assert {name: aggregator(layers).shape for name, aggregator in trained.items()} == {
        "sp_aggr": (2, 8),
        "lde_aggr": (2, 8),
    }

    update, count = loop.update, iter(range(1000))

    def updating(*arguments):
        if next(count) == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(*arguments)

    monkeypatch.setattr(loop, "update", updating)
    with pytest.raises(Interrupted, match="aggregators: stopped at step 10 of 24"):
        command("aggregators", chosen, *options)
    monkeypatch.setattr(loop, "update", update)
    command("aggregators", chosen, *options)
    again = (tmp_path / "aggregators.safetensors").read_bytes(), (tmp_path / "aggregators.tsv").read_bytes()
    assert again == whole
