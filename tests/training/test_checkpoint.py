"""A checkpoint gives back what was saved, a damaged one leaves another, one of other settings is not used."""

import resource
import signal

import pytest
import torch
from torch import nn

from spkdistill.errors import DataError
from spkdistill.files import write_text
from spkdistill.training import checkpoint
from spkdistill.training.checkpoint import held


def tensors_of(step):
    """Tensors that tell their step."""
    return {"a": torch.full((3,), float(step)), "b": torch.tensor(step)}


def save(work, *steps, identity="same"):
    """Checkpoints of some steps."""
    for step in steps:
        checkpoint.save(work, identity, step, {"rows": [step]}, tensors_of(step))


def test_the_newest_is_loaded_and_two_are_kept(tmp_path):
    save(tmp_path, 1, 2, 10)
    step, state, tensors = checkpoint.load(tmp_path, "same")
    assert (step, state) == (10, {"rows": [10]})
    assert torch.equal(tensors["a"], tensors_of(10)["a"])
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "json", "fields"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, capsys):
    save(tmp_path, 1, 2)
    file = tmp_path / "checkpoint-000000002.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-2] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(data[:-5])
    elif damage == "remove":
        file.unlink()
    else:
        write_text(file.with_suffix(".json"), '{"identity": "sa' if damage == "json" else "[]")
    assert checkpoint.load(tmp_path, "same")[0] == 1
    assert "not used" in capsys.readouterr().err
    save(tmp_path, 3)
    assert checkpoint.load(tmp_path, "same")[0] == 3


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_no_flipped_byte_is_ever_used(tmp_path, suffix, capsys):
    """Any byte of either file, in any of its bits' positions in turn, and as a carriage return."""
    save(tmp_path, 1, 2)
    file = tmp_path / f"checkpoint-000000002.{suffix}"
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for place, byte in enumerate(whole[file]):
        for wrong in {byte ^ 1 << place % 8, ord("\r")} - {byte}:
            for path, data in whole.items():
                path.write_bytes(data)
            file.write_bytes(whole[file][:place] + bytes([wrong]) + whole[file][place + 1 :])
            assert checkpoint.load(tmp_path, "same")[0] == 1, (place, byte, wrong)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_two_damaged_checkpoints_start_anew(tmp_path, length, capsys):
    save(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:length])
    assert checkpoint.load(tmp_path, "same") is None
    assert capsys.readouterr().err.count("damaged; the checkpoint is not used") == 2


def test_what_a_killed_process_left_goes_before_the_next_training(tmp_path):
    save(tmp_path, 1)
    for name in (".checkpoint-000000002.safetensors.tmp.17", "checkpoint-000000002.safetensors"):
        (tmp_path / name).write_bytes(b"half")
    assert checkpoint.load(tmp_path, "same")[0] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_place_without_a_folder_to_write_to_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for work in (tmp_path / "file", tmp_path / "file/work", "/proc/work"):
        with pytest.raises(DataError, match=f"{work}: .*; checkpoints must be written there"), held(work):
            pass


def test_a_folder_serves_one_training_at_a_time(tmp_path):
    with held(tmp_path), pytest.raises(DataError, match="another training goes on here"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_full_disk_is_named_and_leaves_the_older_checkpoints(tmp_path, suffix):
    """A file that the system may not let grow past some size fails as on a full disk, partly written."""
    save(tmp_path, 1, 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    tensors = {"a": torch.zeros(1 if suffix == "json" else 5000)}
    state = {"rows": [0] * (5000 if suffix == "json" else 1)}
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(
            DataError, match="File too large; the checkpoint of step 3 is not written, older ones"
        ):
            checkpoint.save(tmp_path, "same", 3, state, tensors)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path: path.read_bytes() for path in before} == before
    assert checkpoint.load(tmp_path, "same")[0] == 2


def test_a_checkpoint_of_another_identity_is_not_used(tmp_path, capsys):
    save(tmp_path, 50, 60, identity="other")
    assert checkpoint.load(tmp_path, "same") is None
    assert "starting anew" in capsys.readouterr().err
    save(tmp_path, 1)
    assert checkpoint.load(tmp_path, "same")[0] == 1


def test_clear_leaves_nothing_but_what_is_not_ours(tmp_path):
    work = tmp_path / "work"
    save(work, 1, 2)
    write_text(work / ".checkpoint-000000003.json.tmp.17", "")
    checkpoint.clear(work)
    assert not work.exists()
    save(work, 1)
    write_text(work / "notes", "mine")
    checkpoint.clear(work)
    assert [path.name for path in work.iterdir()] == ["notes"]


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_module_and_optimiser_come_back_whole(kind):
    def build(seed):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return module, kind(module.parameters(), 0.1, **options)

    def step(module, optimizer):
        optimizer.zero_grad()
        module(torch.arange(12.0).reshape(4, 3)).square().sum().backward()
        optimizer.step()

    first, second = build(0), build(1)
    step(*first)
    checkpoint.unpack({name: value.clone() for name, value in checkpoint.pack(*first).items()}, *second)
    step(*first)
    step(*second)
    for name, tensor in first[0].state_dict().items():
        assert torch.equal(tensor, second[0].state_dict()[name])


def test_identity_changes_with_settings_and_inputs(tmp_path):
    write_text(tmp_path / "views.tsv", "a")

    def of(settings=("x",)):
        return checkpoint.identity(list(settings), [tmp_path / "views.tsv"], "training.loop")

    before = of()
    assert before == of()
    assert before != of(("y",))
    write_text(tmp_path / "views.tsv", "b")
    assert before != of()
