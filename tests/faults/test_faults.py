"""A full disk, a file that cannot be read, a folder that vanishes: one line, and nothing half done."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from spkdistill import arks
from spkdistill.backend.plda import Plda, write_plda
from spkdistill.cli import main
from spkdistill.files import replacing

ENTRIES = 3000


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A working directory with an archive, lists and a PLDA model, each of more than 64 KiB."""
    monkeypatch.chdir(tmp_path)
    keys = [f"speaker{index // 10:04d}-{index:05d}" for index in range(ENTRIES)]
    random = np.random.default_rng(0)
    with arks.ArkWriter("x.ark", "x.scp") as writer:
        for key in keys:
            writer.write(key, random.standard_normal(8))
    Path("spk2utt").write_text("".join(f"s{key} {key}\n" for key in keys))
    Path("trials").write_text("".join(f"{keys[0]} {key} target\n" for key in keys))
    write_plda("plda", Plda(np.zeros(120), np.eye(120), np.arange(120, 0, -1.0)))
    return tmp_path


SCORE = "score --embeddings x.scp --trials trials --max-rejected 0"
MEANS = "speaker-means --embeddings x.scp --spk2utt spk2utt --max-rejected 0"
COMMANDS = {
    "an index": "merge --parts x.scp --output OUT/x.scp",
    "an archive and its index": "ark copy x.scp ark,scp:OUT/x.ark,OUT/x.scp",
    "a packed archive": "ark copy x.scp OUT/x.ark.gz",
    "means": f"{MEANS} --ark OUT/s.ark --scp OUT/s.scp --num-utts OUT/n",
    "scores": f"{SCORE} --output OUT/scores --rejected OUT/r",
    "a model": "copy-plda --plda plda --output OUT/plda",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_named_leaves_what_was_there_and_is_recovered_from(work, small_disk, capsys, command):
    free = os.statvfs(small_disk)
    earlier = small_disk / re.split("[ ,]", command.split("OUT/")[1])[0]
    earlier.write_text("an earlier one\n")
    Path(small_disk, "ballast").write_bytes(bytes(free.f_bsize * 12))
    assert main(command.replace("OUT", str(small_disk)).split()) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"spkdistill: error: {small_disk}/")
    assert said.endswith(": No space left on device; make room and run again\n")
    assert said.count("\n") == 1
    assert not any(path.name.startswith(".") for path in small_disk.iterdir())
    assert earlier.read_text() == "an earlier one\n"
    assert main(command.replace("OUT", str(work / "room")).split()) == 0


@pytest.mark.parametrize("fault", ["forbidden", "a folder", "a loop", "vanished"])
@pytest.mark.parametrize("name", ["x.scp", "x.ark", "trials"])
def test_a_file_that_cannot_be_read_is_named(work, open_folder, as_nobody, monkeypatch, capsys, fault, name):
    for path in ("x.ark", "x.scp", "trials"):
        shutil.copy(path, open_folder)
    monkeypatch.chdir(open_folder)
    if fault == "forbidden":
        Path(name).chmod(0)
    else:
        Path(name).unlink()
    if fault == "a folder":
        Path(name).mkdir()
    if fault == "a loop":
        Path(name).symlink_to(name)
    with as_nobody():
        assert main([*SCORE.split(), "--output", "scores", "--rejected", "r"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"spkdistill: error: {name}: ")
    assert said.count("\n") == 1
    assert not Path("scores").exists()


def test_a_folder_that_vanishes_while_it_is_written_to_is_named(work):
    with pytest.raises(OSError, match="gone") as caught, replacing(work / "gone/x") as file:
        file.write("half")
        shutil.rmtree(work / "gone")
    assert Path(caught.value.filename).parent == work / "gone"
