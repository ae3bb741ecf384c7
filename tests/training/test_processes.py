"""Several processes train what one would, stop as one, and leave one line when something goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import DataError, SpkdistillError
from spkdistill.files import read_text
from spkdistill.training import launch
from spkdistill.training.batch_norm import synchronise
from spkdistill.training.processes import add_up, add_up_gradients, rank, size

COMMANDS = Path(sys.executable).parent
TORCHRUN = (COMMANDS / "torchrun", "--standalone", "--nproc-per-node", "2", "--no-python", "--")
DEADLINE = 300  # seconds, for a busy machine


@pytest.fixture
def command(corpus, tmp_path):
    """The command line that trains in a folder of its own."""

    def arguments(settings, folder, name="train", *more, before=()):
        views, speakers, features = corpus.inputs
        options = {"settings": json.dumps(settings), "seed": 0, "work": tmp_path / folder / "work"}
        options |= {"views": views, "speakers": speakers, "features": features}
        options |= {
            "model": tmp_path / folder / "model.safetensors",
            "config": tmp_path / folder / "config.json",
        }
        options |= {"log": tmp_path / folder / "log.tsv"}
        given = [text for option, value in options.items() for text in (f"--{option}", value)]
        if name == "train":
            given += ["--name", "t", "--feature-settings", "{}"]
        return [str(argument) for argument in (*before, COMMANDS / "spkdistill", name, *given, *more)]

    return arguments


def run(arguments, status=0):
    """Run a command; its stderr."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr


def outputs(folder):
    """The bytes of a training's model and log."""
    return [(folder / name).read_bytes() for name in ("model.safetensors", "log.tsv")]


def log_of(folder):
    """The header of a log, and its rows."""
    header, *rows = [line.split("\t") for line in read_text(folder / "log.tsv").splitlines()]
    return header, np.array(rows, dtype=float)


def in_processes(settings, processes=2, **training):
    """The same settings with other `training`."""
    return {**settings, "training": {**settings["training"], "processes": processes, **training}}


KD = {"objective": "dkd", "temperature": 4, "alpha": 1, "beta": 2, "weight": 0.5}
KD |= {"classification_weight": 1, "warmup_epochs": 1, "kd_logits": "plain", "standardise": False}


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_two_processes_give_the_curve_and_the_model_of_one(command, settings, corpus, tmp_path, kind):
    """In slices of five views and of four; at a rate that does not make differences of 1e-7 grow."""
    settings["training"] |= {"batch_size": 9, "optimizer": "sgd", "learning_rate": 0.002}
    more = []
    if kind == "student":
        settings |= {"head": {"kind": "softmax", "hidden": 8}, "distil": KD}
        more = ["--targets", f"logits={corpus.targets['logits']}"]
    run(command(settings, "one", "train", *more))
    said = run(command(in_processes(settings), "two", "train", *more))
    assert said.count("epoch 1,") == 1
    (header, one), (other, two) = log_of(tmp_path / "one"), log_of(tmp_path / "two")
    assert header == other
    np.testing.assert_allclose(two, one, rtol=1e-3)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=1e-3, atol=1e-3)


def test_aggregators_start_and_end_as_with_one_process(command, settings, training, tmp_path):
    run(command(settings, "teacher"))
    training |= {"optimizer": "sgd", "epochs": 2}
    chosen = {"embedding": 8, "components": 3, "head": settings["head"], "training": training}
    teacher = tmp_path / "teacher"
    more = "--teacher", teacher / "model.safetensors", "--teacher-config", teacher / "config.json"
    run(command(chosen, "one", "aggregators", *more))
    run(command(in_processes(chosen), "two", "aggregators", *more))
    np.testing.assert_allclose(log_of(tmp_path / "two")[1], log_of(tmp_path / "one")[1], rtol=1e-5)


def test_a_stopped_training_of_two_goes_on_to_the_same_bytes(command, settings, tmp_path):
    """The signal reaches one process alone; both stop at one step. torchrun trains the same as well."""
    many = in_processes(settings, epochs=60)
    run(command(many, "whole"))
    broken = subprocess.Popen(command(many, "broken"), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list((tmp_path / "broken/work").glob("checkpoint-*.json")))
    os.kill(members_of(broken)[-1], signal.SIGTERM)
    _, said = broken.communicate(timeout=DEADLINE)
    assert broken.returncode == 1
    assert re.fullmatch(
        r"spkdistill: error: t: stopped at step \d+ of 240; run again .*", said.splitlines()[-1]
    )
    assert "Traceback" not in said
    assert not (tmp_path / "broken/model.safetensors").exists()
    assert "going on from step" in run(command(many, "broken", before=TORCHRUN))
    assert outputs(tmp_path / "broken") == outputs(tmp_path / "whole")


def test_members_end_with_the_process_that_started_them(command, settings, tmp_path):
    many = in_processes(settings, epochs=1000)
    training = subprocess.Popen(command(many, "killed"), stderr=subprocess.DEVNULL)
    wait_for(lambda: list((tmp_path / "killed/work").glob("checkpoint-*.json")))
    members = members_of(training)
    assert len(members) == 2
    training.kill()
    training.wait()
    wait_for(lambda: not any(map(runs, members)))


def test_damage_that_one_process_meets_is_one_line(command, settings, corpus, tmp_path):
    """Only the process whose slice has the view reads it."""
    with ArkWriter(tmp_path / "bad.ark", tmp_path / "bad.scp", allow_nonfinite=True) as writer:
        logits = ArkReader(corpus.targets["logits"])
        for index, key in enumerate(logits):
            writer.write(key, logits[key] * np.float32(np.nan if index == 40 else 1))
    said = run(
        command(
            {**in_processes(settings), "distil": KD},
            "bad",
            "train",
            "--targets",
            f"logits={tmp_path}/bad.scp",
        ),
        status=1,
    )
    assert re.fullmatch(
        r"spkdistill: error: .*bad\.scp:s3-u2-v00: not finite, or huge: .*", said.splitlines()[-1]
    )
    assert "Traceback" not in said


def test_too_few_views_for_the_processes_are_refused(command, settings):
    said = run(command(in_processes(settings, 9), "few"), status=1)
    assert said == (
        "spkdistill: error: training.batch_size: 16 views in a step are too few for training.processes 9; "
        "18 are needed\n"
    )


def network():
    """Batch normalisation of frames and of vectors, in float64."""
    torch.manual_seed(0)
    layers = (
        nn.Conv1d(3, 4, 1),
        nn.BatchNorm1d(4, affine=False),
        nn.Flatten(),
        nn.Linear(20, 5),
        nn.BatchNorm1d(5),
    )
    return nn.Sequential(*layers).double()


def three_slices(options):
    """The gradients and state of one step on a third of seven examples; also a number of every process."""
    module, inputs = network(), inputs_of_all()
    synchronise(module)
    mine = torch.tensor_split(inputs, size())[rank()]
    (module(mine).pow(3).mean() * len(mine) / len(inputs)).backward()
    add_up_gradients(module)
    gradients = {f"grad {name}": value.grad for name, value in module.named_parameters()}
    torch.save(gradients | module.state_dict(), Path(options.work) / f"{rank()}.pt")
    assert add_up(torch.tensor(rank())) == 3


def inputs_of_all():
    """Seven examples whose mean is far larger than their deviation."""
    return torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(1)).double() + 100


def test_gradients_and_statistics_are_those_of_the_whole_batch(tmp_path):
    launch.start(three_slices, Namespace(work=tmp_path), 3)
    module = network()
    module(inputs_of_all()).pow(3).mean().backward()
    expected = {f"grad {name}": value.grad for name, value in module.named_parameters()} | module.state_dict()
    for process in range(3):
        found = torch.load(tmp_path / f"{process}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-9)


def fail(options):
    """The second process ends in the given way while the others wait for it."""
    if rank() == 1 and options.how == "error":
        raise DataError("scp: damaged")
    if rank() == 1:
        os.kill(os.getpid(), options.how)
    add_up(torch.zeros(1))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("error", DataError, "^scp: damaged$"),
        (
            signal.SIGKILL,
            SpkdistillError,
            "process 1 of 2 .* was ended by SIGKILL; run again to go on from here",
        ),
    ],
)
def test_the_process_that_failed_first_says_why(how, error, message):
    with pytest.raises(error, match=message):
        launch.start(fail, Namespace(work="here", how=how), 2)


def wait_for(condition):
    """Wait until it holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def members_of(training):
    """The process ids of a training's processes, in the order of their start."""
    children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def runs(process):
    """Whether a process lives, and is no zombie."""
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
