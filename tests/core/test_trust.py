"""Nothing that comes from outside is run: no pickle, no evaluation, no shell but where pipes are allowed."""

import ast
import pickle
from pathlib import Path

import pytest

import spkdistill
from spkdistill import arks, audio
from spkdistill.errors import DataError, SpkdistillError
from spkdistill.files import read_json
from spkdistill.models import store
from spkdistill.training import checkpoint

PACKAGE = Path(spkdistill.__file__).parent
MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code"}
CALLS = {
    "eval",
    "exec",
    "torch.load",
    "torch.jit.load",
    "np.load",
    "numpy.load",
    "pd.read_pickle",
    "os.system",
    "os.popen",
}
CALLS |= {"yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"}
ALLOWED = {  # to a user who says so
    "audio.py": ["shell"],  # the pipes of wav.scp
    "foreign.py": ["torch.jit.load"],  # teachers in TorchScript
}


def found(source: str) -> list[str]:
    """What in `source` could run what it reads."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wrong += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            wrong.append(str(node.module))
        elif isinstance(node, ast.Call):
            wrong += {ast.unparse(node.func)} & CALLS
            wrong += [key.arg for key in node.keywords if key.arg in ("shell", "allow_pickle")]
    return wrong


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_module_can_run_what_it_reads(path):
    assert found(path.read_text()) == ALLOWED.get(path.name, [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "torch.load(path)",
        "yaml.load(file)",
        "run(line, shell=True)",
    ],
)
def test_the_check_finds_what_it_looks_for(source):
    assert found(source)


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_any_file_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Bomb(tmp_path / "ran"))
    for name in ("model.safetensors", "config.json", "x.ark", "x.scp", "mean.vec", "x.wav"):
        Path(name).write_bytes(data)
    for read in (
        lambda: store.load("model.safetensors", "config.json"),
        lambda: read_json("config.json"),
        lambda: list(arks.read_archive("x.ark")),
        lambda: arks.ArkReader("x.scp"),
        lambda: arks.read_vector("mean.vec"),
        lambda: audio.info("x.wav"),
    ):
        with pytest.raises(SpkdistillError):
            read()
    record = {"identity": "a", "step": 1, "state": {}, "tensors": checkpoint.fingerprint(data)}
    Path("checkpoint-000000001.json").write_text(checkpoint.sealed(record))
    Path("checkpoint-000000001.safetensors").write_bytes(data)
    with pytest.raises(DataError, match="no tensors of a checkpoint"):
        checkpoint.read(Path("checkpoint-000000001.json"), "a")
    assert checkpoint.load(".", "a") is None
    assert not Path("ran").exists()
    pickle.loads(data)
    assert Path("ran").exists()  # it would have been seen
