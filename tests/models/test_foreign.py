"""Foreign teachers: a network of ours in a foreign file gives our targets; what is no network is refused."""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx.parser
import pytest
import torch
import yaml
from onnx import TensorProto

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.cli import main
from spkdistill.config import resolve
from spkdistill.errors import ConfigError, DataError
from spkdistill.models import pooling
from spkdistill.models.adopt import adopt
from spkdistill.models.build import build_model
from spkdistill.models.cost import macs_per_second, parameters, trained_cost
from spkdistill.models.loading import load_network
from spkdistill.models.store import save
from spkdistill.views import ViewSettings, make_views, write_speakers, write_views

DIM = 20
MODEL = {"arch": "xvector", "channels": 16, "pooling_channels": 24, "embedding": 12}
AT_ONCE = ["--targets-of", "view", "--storage", "float32", "--job", 1, "--jobs", 1]
KINDS = ["model.onnx", "model.pt"]
ROOT = Path(__file__).parents[2]


class Network(NamedTuple):
    """A network of ours and its files."""

    model: torch.nn.Module
    weights: Path
    config: Path
    folder: Path  # of the same network as model.onnx and model.pt


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Network:
    """An x-vector network whose batch normalisation has seen data; names of the ONNX file as WeSpeaker's."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("ours")
    model = build_model(MODEL, DIM)
    for layer in model.frames:
        torch.nn.init.uniform_(layer[0].bias, 0.5, 1.5)
    for _ in range(10):
        model(torch.randn(8, 60, DIM))
    model.eval()
    config = {"model": MODEL, "feature_dim": DIM, "head": None, "speakers": []}
    save(folder / "model.safetensors", folder / "config.json", model, None, config)
    example = torch.randn(1, 60, DIM)
    with warnings.catch_warnings(action="ignore"):
        export_onnx(model, example, folder / "model.onnx")
        with (
            pytest.MonkeyPatch.context() as patch
        ):  # TorchScript cannot hold a function with its own gradient
            patch.setattr(pooling.Moments, "apply", pooling.Moments.forward)
            torch.jit.trace(model, example, check_trace=False).save(folder / "model.pt")
    return Network(model, folder / "model.safetensors", folder / "config.json", folder)


def export_onnx(model: torch.nn.Module, example: torch.Tensor, path: Path, **options) -> None:
    """Export as WeSpeaker does: https://github.com/wenet-e2e/wespeaker, wespeaker/bin/export_onnx.py."""
    options = {"dynamic_axes": {"feats": {0: "B", 1: "T"}, "embs": {0: "B"}}} | options
    torch.onnx.export(
        model, (example,), path, input_names=["feats"], output_names=["embs"], dynamo=False, **options
    )


@pytest.fixture(scope="module")
def config() -> dict:
    """A complete config with features `fbank` of DIM columns, which its student reads."""
    config = yaml.safe_load((ROOT / "workflow/configs/tiny.yaml").read_text())
    config["features"]["fbank"] = {"kind": "fbank", "num_mel_bins": DIM, "use_energy": False}
    config["students"] = {"fc8": {**config["students"]["fc8"], "features": "fbank", "objectives": ["x"]}}
    config["objectives"] = {"x": {"objective": "multilevel", "targets": ["xvector"]}}
    del config["experiments"]
    return resolve(config, ROOT / "workflow/schemas/config.schema.yaml")


@pytest.fixture(scope="module")
def features(config) -> dict:
    """The settings of those features."""
    return config["features"]["fbank"]


def adopted(file: Path, features: dict, folder: Path, output: int | None = None, trust: bool = True) -> tuple:
    """The copy of a file and its config.json."""
    paths = folder / f"adopted{file.suffix}", folder / "adopted.json"
    adopt(file, {"features": "fbank", "output": output}, features, trust, *paths, threads=1)
    return paths


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether vectors (n, size) are those of one network in float32: to 1e-3 of their length.

    Products are summed in another order, 1e-6 mostly; of a unit that hardly varies over an utterance,
    E[h^2] - mean^2 is all rounding, and 4e-4 was seen.
    """
    return bool((np.linalg.norm(one - other, axis=1) < 1e-3 * np.linalg.norm(other, axis=1)).all())


@pytest.mark.parametrize("name", KINDS)
def test_a_network_in_a_foreign_file_gives_its_embeddings(ours, features, tmp_path, name):
    paths = adopted(ours.folder / name, features, tmp_path)
    network, head, config = load_network(*paths, trust=True)
    assert head is None
    assert paths[0].read_bytes() == (ours.folder / name).read_bytes()
    assert (network.feature_dim, network.embedding_dim, network.receptive_field) == (DIM, 12, 15)
    batches = [torch.randn(8, frames, DIM) for frames in (20, 60, 333)]
    with torch.inference_mode():
        found, expected = (torch.cat(list(map(model, batches))) for model in (network, ours.model))
    assert found.dtype == torch.float32
    assert found.shape == (24, 12)
    assert close(found.numpy(), expected.numpy())
    assert config["made_by"]["onnxruntime"]


@pytest.mark.parametrize("name", KINDS)
def test_the_size_of_a_foreign_file_is_that_of_the_network(ours, features, tmp_path, name):
    _, config = adopted(ours.folder / name, features, tmp_path)
    size = parameters(ours.model)
    if name == "model.onnx":  # ONNX has no batch normalisation without a scale and a shift
        size += 2 * sum(ours.model.layer_dims)
    assert json.loads(config.read_text())["cost"] == {
        "parameters": size,
        "parameters_with_head": size,
        "bytes": (ours.folder / name).stat().st_size,
        "macs_per_second": macs_per_second(ours.model),
        "embedding_dim": 12,
    }


def test_the_table_of_costs_has_a_foreign_network(ours, features, tmp_path, capsys):
    _, config = adopted(ours.folder / "model.pt", features, tmp_path)
    run("models", "--json", "--config", config)
    row = json.loads(capsys.readouterr().out)[-1]
    assert row["parameters"] == row["with_head"] == parameters(ours.model)
    assert (row["macs_per_second"], row["embedding"]) == (macs_per_second(ours.model), 12)
    assert row["reduction"] == pytest.approx(1 - parameters(ours.model) / 4_219_868)
    described = json.loads(config.read_text())
    del described["cost"]["parameters"]
    config.write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"adopted\.json: cost\.parameters: this setting is missing"):
        trained_cost(config)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, Path, Path]:
    """(views, speakers, scp of voiced features) of 24 utterances of 4 speakers."""
    folder, random = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    lengths = {f"s{n // 6}-u{n:02d}": 40 + 7 * n for n in range(24)}
    with ArkWriter(folder / "voiced.ark", folder / "voiced.scp") as writer:
        for name, frames in lengths.items():
            writer.write(name, random.standard_normal((frames, DIM)).astype(np.float32))
    views, _ = make_views(lengths, {name: name[:2] for name in lengths}, ViewSettings(50, 3, 10, 1), seed=0)
    write_views(folder / "views.tsv", views)
    write_speakers(folder / "speakers", views)
    return folder / "views.tsv", folder / "speakers", folder / "voiced.scp"


def run(*arguments: object) -> None:
    """A stage, as the workflow calls it."""
    assert main([str(argument) for argument in arguments]) == 0


def vectors(scp: Path) -> np.ndarray:
    """All vectors of an index."""
    with ArkReader(scp) as reader:
        return reader.gather(reader.keys())


@pytest.mark.parametrize("name", KINDS)
def test_targets_and_embeddings_are_those_of_the_network(ours, features, corpus, tmp_path, name):
    views, _, scp = corpus
    teachers = {"ours": (ours.weights, ours.config), "file": adopted(ours.folder / name, features, tmp_path)}
    for maker, (model, config) in teachers.items():
        files = ["--model", model, "--config", config, "--trust", "--features", scp]
        target, embedding = (f"{tmp_path}/{maker}-{kind}" for kind in ("target", "embedding"))
        jobs = ["--views", views, *AT_ONCE]
        run("dump", *files, *jobs, "--parts", f"xvector={target}.ark,{target}.scp,{target}.json")
        run("embed", *files, "--ark", f"{embedding}.ark", "--scp", f"{embedding}.scp")
    for kind in ("target", "embedding"):
        found, expected = (vectors(tmp_path / f"{maker}-{kind}.scp") for maker in ("file", "ours"))
        assert found.shape == expected.shape == ({"target": 72, "embedding": 24}[kind], 12)
        assert close(found, expected)


def test_a_student_learns_from_a_foreign_teacher(ours, config, corpus, tmp_path):
    views, speakers, scp = corpus
    feature_settings = ["--feature-settings", json.dumps(config["features"]["fbank"])]
    model, described = tmp_path / "model.onnx", tmp_path / "config.json"
    settings = ["--settings", json.dumps({"features": "fbank", "output": None}), *feature_settings]
    run("adopt", "--file", ours.folder / "model.onnx", *settings, "--model", model, "--config", described)
    run(
        *("dump", "--model", model, "--config", described, "--views", views, "--features", scp),
        *(*AT_ONCE, "--parts", f"xvector={tmp_path}/x.ark,{tmp_path}/x.scp,{tmp_path}/x.json"),
    )
    student = config["students"]["fc8-x"]
    settings = {key: student[key] for key in ("features", "model", "head", "training", "distil")}
    outputs = [f"--{name}={tmp_path}/student.{name}" for name in ("model", "config", "log", "work")]
    run(
        *("train", "--name", "fc8-x", "--settings", json.dumps(settings), *feature_settings),
        *("--views", views, "--speakers", speakers, "--features", scp, "--seed", 0),
        *("--targets", f"xvector={tmp_path}/x.scp", *outputs),
    )
    assert json.loads((tmp_path / "student.config").read_text())["model"]["embedding"] == 12


def test_torchscript_runs_for_those_who_trust_it_only(features, tmp_path):
    """Such a file can write others, so that to open one is to run a program."""

    class Spy(torch.nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path, self.output = path, torch.nn.Linear(20, 4)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            torch.save(features, self.path)
            return self.output(features.mean(1))

    spied = tmp_path / "spied"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(Spy(str(spied))).save(tmp_path / "spy.pt")
    with pytest.raises(ConfigError, match=r"spy\.pt: TorchScript is a program"):
        adopted(tmp_path / "spy.pt", features, tmp_path, trust=False)
    assert not spied.exists()
    paths = adopted(tmp_path / "spy.pt", features, tmp_path)
    assert spied.exists()
    with pytest.raises(ConfigError, match=r"adopted\.pt: TorchScript is a program"):
        load_network(*paths, trust=False)


EMBEDDING = "mean = ReduceMean<axes = [1], keepdims = 0>(feats) embs = MatMul(mean, w)"


def graph(
    body: str = EMBEDDING,
    takes: str = f"float[B, T, {DIM}] feats",
    gives: str = "float[E, F] embs",
    rows: int = DIM,
) -> onnx.ModelProto:
    """A small model in ONNX's own notation, with a matrix w (rows, 4)."""
    weights = f"float[{rows}, 4] w = {{{', '.join(['1'] * 4 * rows)}}}"
    head = '<ir_version: 8, opset_import: ["": 17, "other": 1]>'
    return onnx.parser.parse_model(f"{head} g ({takes}) => ({gives}) <{weights}> {{ {body} }}")


def with_weights(**changes: object) -> onnx.ModelProto:
    """A small model whose w is changed, its location if it is in another file given."""
    model = graph()
    location = changes.pop("location", None)
    model.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=TensorProto.FLOAT, **changes))
    if location:
        model.graph.initializer[0].external_data.add(key="location", value=location)
    return model


OUTSIDE = {"data_location": TensorProto.EXTERNAL, "dims": [DIM, 4], "location": "../../../etc/passwd"}
LYING = {"dims": [DIM, 1 << 36], "raw_data": b"\0\0\0\0"}
HUGE = """size = Constant<value_ints = [8589934592]>() huge = ConstantOfShape(size)
    sum = ReduceSum<keepdims = 0>(huge) mean = ReduceMean<axes = [1], keepdims = 0>(feats)
    small = MatMul(mean, w) embs = Add(small, sum)"""
FIXED = f"""shape = Constant<value_ints = [1, {200 * DIM}]>() flat = Reshape(feats, shape)
    sum = ReduceSum<keepdims = 0>(flat) mean = ReduceMean<axes = [1], keepdims = 0>(feats)
    small = MatMul(mean, w) embs = Add(small, sum)"""
NAN = """mean = ReduceMean<axes = [1], keepdims = 0>(feats) small = MatMul(mean, w)
    square = Mul(small, small) minus = Neg(square) embs = Log(minus)"""
REFUSED = {
    "truncated": (graph().SerializeToString()[:-40], "not a readable ONNX file"),
    "empty": (b"", "cannot be opened"),
    "outside": (with_weights(**OUTSIDE), "the weights w lie in another file; keep all in one"),
    "lying": (with_weights(**LYING), "claims 1374389534720 weights w and has fewer"),
    "huge": (graph(HUGE), r"fails on 200 frames of 20 features \(.*[Ff]ailed to allocate"),
    "operator": (graph("embs = other.Foo(feats, w)"), r"cannot be opened \(.*other:Foo.* not a registered"),
    "dim": (
        graph(takes="float[B, T, 80] feats", rows=80),
        "takes 80 features a frame; these settings give 20",
    ),
    "frames": (
        graph(takes="float[1, 200, 20] feats"),
        "takes 200 frames only; export it with a dynamic number",
    ),
    "frames inside": (graph(FIXED), "fails on 600 frames of 20 features"),
    "batch": (graph(takes="float[4, T, 20] feats"), "takes 4 utterances at once"),
    "framewise": (
        graph("embs = MatMul(feats, w)", gives="float[B, T, 4] embs"),
        "gives 800 numbers for 200 frames and 2400 for 600, which is no embedding",
    ),
    "NaN": (graph(NAN), "NaN or infinity for an utterance of 200 frames"),
    "lengths": (
        graph(takes="float[B, T, 20] feats, int64[B] lengths"),
        "expected one input, the features, found feats, lengths",
    ),
    "doubles": (
        graph("float = Cast<to = 1>(feats) embs = MatMul(float, w)", "double[B, T, 20] feats"),
        r"expected the input feats \(batch, frames, dim\) in float32, found .* of tensor\(double\)",
    ),
    "outputs": (
        graph(gives="float[B, 20] mean, float[B, 4] embs"),
        "its outputs are mean, embs; say which, `output: 1` to 2",
    ),
    "no weights": (
        graph("embs = ReduceMean<axes = [1], keepdims = 0>(feats)", rows=0),
        "no weights are found in it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_for_these_features_is_refused_in_one_line(features, tmp_path, case):
    content, message = REFUSED[case]
    file = tmp_path / "model.onnx"
    file.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(DataError, match=r"model\.onnx: " + message) as caught:
        adopted(file, features, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [file]


def test_the_output_asked_for_is_the_embedding(features, tmp_path):
    (tmp_path / "two.onnx").write_bytes(
        graph(gives="float[B, 20] mean, float[B, 4] embs").SerializeToString()
    )
    for output, size in ((1, DIM), (2, 4)):
        paths = adopted(tmp_path / "two.onnx", features, tmp_path, output)
        assert load_network(*paths, trust=False)[0](torch.randn(1, 30, DIM)).shape == (1, size)
    with pytest.raises(DataError, match="its outputs are mean, embs; say which"):
        adopted(tmp_path / "two.onnx", features, tmp_path, 3)


@pytest.mark.parametrize("content", [b"", b"PK", "pickle", "truncated"])
def test_what_is_no_torchscript_is_refused_in_one_line(ours, features, tmp_path, content):
    file = tmp_path / "other.pt"
    if content == "pickle":
        torch.save({"a": torch.zeros(3)}, file)
    else:
        file.write_bytes(
            (ours.folder / "model.pt").read_bytes()[:5000] if content == "truncated" else content
        )
    with pytest.raises(DataError, match=r"other\.pt: cannot be opened \(.*\)$") as caught:
        adopted(file, features, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_of_another_kind_or_changed_is_named(ours, features, tmp_path):
    with pytest.raises(DataError, match=r"none\.onnx: no such file"):
        adopted(tmp_path / "none.onnx", features, tmp_path)
    with pytest.raises(ConfigError, match=r"model\.safetensors: expected a name that ends in \.onnx or"):
        adopted(ours.weights, features, tmp_path)
    model, config = adopted(ours.folder / "model.onnx", features, tmp_path)
    model.write_bytes(graph().SerializeToString())
    with pytest.raises(DataError, match=r"adopted\.onnx: not the file that .*adopted\.json is of"):
        load_network(model, config, trust=False)
