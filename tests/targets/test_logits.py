"""The three forms of the cache of logits: what each keeps, and what students read back."""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dumping import HEAD, MODEL, dump
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.arks import (
    ArkReader,
    ArkWriter,
    TopKWriter,
    describe,
    describe_losses,
    is_laid_out,
    layout_of,
)
from spkdistill.cli import main
from spkdistill.cli.targets import add_commands
from spkdistill.distill.logits import cut_to_largest, layout_for, load_head, save_head
from spkdistill.distill.losses import triage, truncated
from spkdistill.distill.objectives import Moment, build_objectives
from spkdistill.distill.targets import TargetReader, TeacherFiles, Top, factor
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_json
from spkdistill.models.build import build_head, build_model
from spkdistill.models.store import load, save, write_weights
from spkdistill.training.networks import fit, open_targets

pytestmark = pytest.mark.usefixtures("one_thread")

SOFTMAX = {"kind": "softmax", "hidden": 9}
MASSES = "renormalised", "absolute"
TRKD = {"objective": "trkd", "temperature": 4, "weight": 1, "classification_weight": 1, "warmup_epochs": 0}
TRKD |= {"kd_logits": "plain", "mass_term": "tmkd", "class_term": "cfkd", "mass": "absolute"}
TRKD |= {"lambda_m": 1, "lambda_f": 8, "lambda_b": 0, "t_squared": True}
TRKD |= {"tau": {"start": 1.0, "end": 0.05, "from": 0.1, "to": 0.4, "unit": "training", "gamma": 0.001}}


def posterior(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / T) in float64, rows of (batch, classes)."""
    powers = np.exp((logits - logits.max(1, keepdims=True)).astype(np.float64) / temperature)
    return powers / powers.sum(1, keepdims=True)


def largest_others(logits: np.ndarray, targets: np.ndarray, k: int) -> np.ndarray:
    """The target and the k largest others of each row, bool (batch, classes)."""
    kept = np.zeros(logits.shape, bool)
    for row, target in enumerate(targets):
        others = [c for c in np.argsort(-logits[row], kind="stable") if c != target]
        kept[row, [target, *others[:k]]] = True
    return kept


@st.composite
def cases(draw) -> tuple:
    """(logits (batch, classes), targets, k, temperatures) of any confidence, k beyond the classes too."""
    classes = draw(st.integers(2, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.01, 1, 10, 100]))
    logits = (random.standard_normal((3, classes)) * spread).astype(np.float32)
    targets = random.integers(classes, size=3)
    if draw(st.booleans()):
        logits[np.arange(3), targets] += 3 * spread  # as of a teacher that knows its training set
    temperatures = draw(st.lists(st.sampled_from([0.5, 1, 4, 20]), min_size=1, unique=True))
    return logits, targets, draw(st.integers(1, 45)), temperatures


@settings(deadline=None, max_examples=20)
@given(case=cases())
def test_topk_keeps_the_posteriors_of_the_largest_and_the_mass_of_the_rest(case):
    logits, targets, k, temperatures = case
    layout = layout_for(logits.shape[1], k, temperatures)
    stored = cut_to_largest(torch.from_numpy(logits), torch.from_numpy(targets), layout).numpy()
    kept = largest_others(logits, targets, k)
    with TemporaryDirectory() as folder:
        paths = [f"{folder}/logits.{kind}" for kind in ("ark", "scp", "json")]
        with TopKWriter(*paths, layout) as writer:
            for row, matrix in enumerate(stored):
                writer.write(f"v{row}", matrix)
        said = describe_losses([paths[2]])
        for temperature in temperatures:
            read = TargetReader({"logits": paths[1]}, False, temperature).logits(["v0", "v1", "v2"]).numpy()
            p, q = posterior(logits, temperature), posterior(read, temperature)
            assert read.dtype == np.float32
            assert np.array_equal(read[kept], logits[kept])
            np.testing.assert_allclose(q[kept], p[kept], rtol=5e-5, atol=1e-30)
            left = np.where(kept, 0, p).sum(1)
            share = np.where(kept, 0, q).sum(1)
            np.testing.assert_allclose(share, left, rtol=5e-5, atol=1e-30)
            assert all(len(set(row[~mask])) <= 1 for row, mask in zip(read, kept, strict=True))
            told = next(each for each in said["left"] if each["temperature"] == temperature)
            assert told["mean_mass"] == pytest.approx(left.mean(), rel=5e-5, abs=1e-30)
            assert told["largest_mass"] == pytest.approx(left.max(), rel=5e-5, abs=1e-30)
    assert (said["form"], said["classes"], said["k"]) == ("topk", layout.classes, min(k, layout.classes - 1))


@settings(deadline=None, max_examples=20)
@given(
    case=cases(),
    tau=st.sampled_from([0.05, 0.3, 0.7, 0.95, 1]),
    mass=st.sampled_from(MASSES),
    background=st.booleans(),
)
def test_the_truncated_mass_is_what_a_loss_looks_into_beyond_the_largest(case, tau, mass, background):
    logits, targets, k, [temperature, *_] = case
    kept = largest_others(logits, targets, k)
    p = posterior(logits, temperature)
    left = np.where(kept, 0, p)
    p = np.where(kept, p, left.sum(1, keepdims=True) / np.maximum((~kept).sum(1, keepdims=True), 1))
    if left.any() and (left.sum(1) < 1e-30).any():
        return  # float32 knows no logit as low
    equal = temperature * np.log(np.maximum(p, 1e-300))
    teacher, labels = torch.from_numpy(equal), torch.from_numpy(targets)
    groups = triage(teacher + 1, teacher, labels, temperature, tau, mass, background)
    expected = []
    for row, target in enumerate(targets):
        reach = None if background else int(groups.size[row])
        others = [c for c in np.argsort(-p[row], kind="stable") if c != target][:reach]
        expected.append(sum(p[row, c] for c in others if not kept[row, c]))
    found = truncated(groups, teacher, labels, temperature, k)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_a_student_of_the_largest_logits_logs_the_mass_that_they_truncate(top3, scps, corpus, dense):
    views, everyone = corpus[0], SimpleNamespace(speakers=range(10))
    labels = torch.tensor([int(speaker[1:]) for speaker in views.speakers])
    terms = {}
    for form, cache in (("topk", top3), ("dense", {"logits": scps["logits"]})):
        objectives = build_objectives(TRKD, "distil")
        (targets,) = open_targets(objectives, cache, "student")
        objective = fit(objectives[0], targets, everyone)
        _, terms[form] = objective(dense, targets.read(views.ids), labels, Moment(0, 0))
    assert terms["topk"].keys() - terms["dense"].keys() == {"p_truncated"}
    assert terms["topk"]["tau"] == 1
    left = np.where(largest_others(dense.numpy(), labels.numpy(), 3), 0, posterior(dense.numpy(), 4)).sum(1)
    assert float(terms["topk"]["p_truncated"]) == pytest.approx(left.mean(), rel=1e-5)


def test_topk_of_all_classes_is_dense(tmp_path, teacher, corpus, dense):
    ids = corpus[0].ids
    for k in (9, 10, 500):
        (tmp_path / str(k)).mkdir()
        scps = dump(tmp_path / str(k), teacher, corpus, 1, ["logits"], top=Top(k, [4]))
        assert torch.equal(TargetReader(scps, False, 4).logits(ids), dense)


@pytest.fixture(scope="module")
def scps(tmp_path_factory, teacher, corpus) -> dict[str, str]:
    """Dense logits and embeddings."""
    return dump(tmp_path_factory.mktemp("dense"), teacher, corpus, 1, ["logits", "xvector"])


@pytest.fixture(scope="module")
def dense(scps, corpus) -> torch.Tensor:
    """All the logits, (views, 10)."""
    return TargetReader({"logits": scps["logits"]}, False).logits(corpus[0].ids)


@pytest.fixture(scope="module")
def top3(tmp_path_factory, teacher, corpus) -> dict[str, str]:
    """The target's and the 3 largest others, from one shard."""
    return dump(tmp_path_factory.mktemp("top"), teacher, corpus, 1, ["logits"], top=Top(3, [4, 1]))


def test_topk_of_a_teacher_is_of_the_views_speaker_inside_and_outside_the_largest(top3, corpus, dense):
    views, logits = corpus[0], dense.numpy()
    targets = np.array([int(speaker[1:]) for speaker in views.speakers])
    ranks = (logits > logits[np.arange(len(views)), targets][:, None]).sum(1)
    assert (ranks < 3).any()
    assert (ranks > 3).any()
    kept = largest_others(logits, targets, 3)
    read = TargetReader(top3, False, 4).logits(views.ids).numpy()
    assert np.array_equal(read[kept], logits[kept])
    p, q = posterior(logits, 4), posterior(read, 4)
    np.testing.assert_allclose(q[kept], p[kept], rtol=1e-5)
    assert TargetReader(top3, False, 4).sizes == {"logits": 10}


@pytest.mark.parametrize("jobs", [2, 3, 7])
def test_topk_is_the_same_bytes_in_any_number_of_shards(tmp_path, teacher, corpus, top3, jobs):
    others = dump(tmp_path, teacher, corpus, jobs, ["logits"], top=Top(3, [1, 4]))
    one, many = ArkReader(top3["logits"]), ArkReader(others["logits"])
    assert one.keys() == many.keys() == corpus[0].ids
    assert one.gather(one.keys(), rows=2).tobytes() == many.gather(many.keys(), rows=2).tobytes()
    whole, parts = (
        describe_losses([scp.replace(".scp", f".{job}.json") for job in range(1, count + 1)])
        for scp, count in ((top3["logits"], 1), (others["logits"], jobs))
    )
    assert [left.pop("mean_mass") for left in whole["left"]] == pytest.approx(
        [left.pop("mean_mass") for left in parts["left"]], rel=1e-12
    )
    assert whole == parts


def test_a_temperature_that_topk_lacks_is_refused_in_one_line(top3):
    said = r"logits\.scp: top 3 of the logits with the masses at 1 and 4, not at 2; add it to .*temperatures"
    with pytest.raises(ConfigError, match=said):
        TargetReader(top3, False, 2)
    with pytest.raises(ConfigError, match="which are read for one temperature"):
        TargetReader(top3, False)


def test_a_speaker_whom_the_teacher_does_not_know_is_named(tmp_path, teacher, corpus):
    config = read_json(teacher.config)
    config["speakers"][4] = "stranger"
    (tmp_path / "config.json").write_text(json.dumps(config))
    files = teacher._replace(config=tmp_path / "config.json")
    with pytest.raises(DataError, match=r"views\.tsv: the teacher was not trained on the speaker s4"):
        dump(tmp_path, files, corpus, 1, ["logits"], top=Top(3, [4]))


def change(matrix: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    """A matrix with another number."""
    changed = matrix.copy()
    changed[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        *((0, 0, 11), (1, 0, 4), (0, 1, 10), (0, 2, -1), (0, 3, 2.5), (0, 5, 2), (0, 6, -4)),
        *((0, "twice", None), (1, 5, 90), (1, 6, 90), (1, 4, -90)),
    ],
)
def test_a_damaged_matrix_of_logits_is_named(tmp_path, top3, row, column, value):
    reader = ArkReader(top3["logits"])
    keys = reader.keys()[:3]
    matrices = [reader[key] for key in keys]
    assert layout_of(matrices[1])
    if column == "twice":
        column, value = 4, matrices[1][0, 2]
    matrices[1] = change(matrices[1], row, column, value)
    with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
        for key, matrix in zip(keys, matrices, strict=True):
            writer.write(key, matrix)
    logits = TargetReader({"logits": tmp_path / "x.scp"}, False, 4)
    with pytest.raises(DataError, match=rf"x\.scp:{keys[1]}: not the top 3 logits of 10; dump them again"):
        logits.logits(keys)
    assert torch.isfinite(logits.logits([keys[0], keys[2]])).all()


@pytest.mark.parametrize("spread", [0, 1e-10, 1e-3, 300])
def test_the_logit_that_all_others_share_may_be_as_high_as_the_least_that_is_kept(spread):
    logits = torch.full((1, 3000), spread, dtype=torch.float32)
    for temperature in (0.1, 1, 50):
        layout = layout_for(3000, 2, [temperature])
        assert layout_of(cut_to_largest(logits, torch.tensor([7]), layout)[0].numpy()) == layout


@pytest.mark.parametrize(
    ("first", "others"),
    [
        *(("topk", shape) for shape in [(2, 6), (2, 8), (14,), (15,), (7,), (1, 14), (3, 7), (2, 2)]),
        *(("dense", shape) for shape in [(9,), (2, 5), (2, 7)]),
    ],
)
def test_a_batch_of_another_shape_than_the_first_entry_is_named(tmp_path, top3, scps, first, others):
    cache = ArkReader((top3 if first == "topk" else scps)["logits"])
    entry = cache[cache.keys()[0]]
    with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
        writer.write("a", entry)
        for key in "bc":
            writer.write(key, np.resize(entry, others))
    logits = TargetReader({"logits": tmp_path / "x.scp"}, False, 4)
    with pytest.raises(DataError, match=r"x\.scp:b: expected the shape .* of the first entry, found "):
        logits.logits(["b", "c"])
    with pytest.raises(DataError, match=r"x\.scp:b: expected the shape "):
        logits.logits(["a", "b"])
    with pytest.raises(DataError, match=r"x\.scp:b: expected the shape "):
        TargetReader({"xvector": tmp_path / "x.scp"}, False).gather("xvector", ["b", "c"])


def test_matrices_of_another_width_are_not_laid_out(top3):
    reader = ArkReader(top3["logits"])
    matrix = reader[reader.keys()[0]][np.newaxis]
    layout = layout_of(matrix[0])
    for width in (3, 6, 8, 20):
        assert not is_laid_out(np.resize(matrix, (4, 2, width)), layout).any()


def test_matrices_of_two_rows_that_are_no_logits_are_refused(tmp_path):
    with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
        writer.write("a", np.ones((2, 9), np.float32))
    with pytest.raises(DataError, match=r"x\.scp:a: two rows, but not the largest logits"):
        TargetReader({"logits": tmp_path / "x.scp"}, False, 4)


@pytest.fixture(scope="module", params=["aam", "softmax"])
def of_each_head(request, tmp_path_factory, teacher, corpus) -> tuple[TeacherFiles, dict[str, str]]:
    """A teacher with a head of each kind, and its dense cache."""
    if request.param == "aam":
        files = teacher
    else:
        folder = tmp_path_factory.mktemp("softmax")
        files = TeacherFiles(folder / "model", folder / "config", None, None)
        model, _, config = load(teacher.model, teacher.config)
        torch.manual_seed(1)
        head = build_head(SOFTMAX, 6, 10).train()
        head.plain(torch.randn(32, 6))  # its batch normalisation has seen data
        save(files.model, files.config, model, head, {**config, "head": SOFTMAX})
    return files, dump(tmp_path_factory.mktemp(request.param), files, corpus, 1, ["logits", "xvector"])


def factored(folder, files: TeacherFiles, corpus: tuple, embeddings: str) -> dict:
    """The factored form, as the subcommand makes it."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    command = ["head", "--model", files.model, "--config", files.config, "--views", corpus[1]]
    command += ["--features", corpus[2], "--embeddings", embeddings]
    command += ["--head", folder / "head.safetensors", "--manifest", folder / "head.json"]
    options = parser.parse_args(list(map(str, command)))
    options.run(options)
    return {"logits": embeddings, "head": folder / "head.safetensors"}


def test_factored_logits_are_the_dense_ones_to_the_rounding_of_float32(tmp_path, corpus, of_each_head):
    files, scps = of_each_head
    ids = corpus[0].ids
    dense = TargetReader({"logits": scps["logits"]}, False).logits(ids)
    reader = TargetReader(factored(tmp_path, files, corpus, scps["xvector"]), False)
    difference = (reader.logits(ids) - dense).abs().max()
    assert difference < 2e-6 * dense.abs().max()
    assert reader.sizes == {"logits": 10}
    assert reader.parts == []
    said = read_json(tmp_path / "head.json")["contents"]
    assert said["largest_difference"] <= 2e-6 * dense.abs().max()
    assert (said["form"], said["embeddings"], said["head"]) == ("factored", "xvector.scp", "head.safetensors")
    assert (said["classes"], said["compared"]) == (10, len(ids))
    assert said["bytes_per_entry"] == pytest.approx(describe(scps["xvector"])["bytes"] / len(ids), abs=0.05)


def test_the_manifest_says_what_rounded_embeddings_cost(tmp_path, teacher, corpus, dense):
    stored = dump(tmp_path, teacher, corpus, 1, ["xvector"], storage="two-byte")
    reader = TargetReader(factored(tmp_path, teacher, corpus, stored["xvector"]), False)
    difference = (reader.logits(corpus[0].ids) - dense).abs().max().item()
    said = read_json(tmp_path / "head.json")["contents"]
    assert said["largest_difference"] == pytest.approx(difference, rel=1e-2)
    assert 1e-5 < said["largest_difference"] < 0.01


def test_a_head_beside_other_embeddings_is_refused(tmp_path, teacher, corpus):
    save_head(tmp_path / "head.safetensors", build_head(HEAD, 7, 10), HEAD, 10)
    scps = dump(tmp_path, teacher, corpus, 1, ["xvector"])
    said = r"head\.safetensors:weight: .*xvector\.scp makes it \[10, 6\], this file \[10, 7\]"
    with pytest.raises(DataError, match=said):
        TargetReader({"logits": scps["xvector"], "head": tmp_path / "head.safetensors"}, False)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"head": "{}"},
        {"head": "[", "classes": "10"},
        {"head": '{"kind": "aam"}', "classes": "10"},
        {"head": json.dumps(HEAD), "classes": str(10**12)},
        {"head": json.dumps(HEAD), "classes": "9" * 5000},
        {"head": json.dumps(HEAD), "classes": "11"},
        {"head": json.dumps(HEAD | {"scale": float("nan")}), "classes": "10"},
        {"head": json.dumps(HEAD | {"scale": -1}), "classes": "10"},
        {"head": json.dumps(HEAD | {"margin": float("inf")}), "classes": "10"},
        {"head": json.dumps(HEAD | {"margin": -0.1}), "classes": "10"},
    ],
)
def test_a_file_that_is_no_head_is_refused(tmp_path, metadata):
    write_weights(tmp_path / "head.safetensors", build_head(HEAD, 6, 10), metadata)
    with pytest.raises(DataError, match=r"head\.safetensors"):
        load_head(tmp_path / "head.safetensors", 6, "xvector.scp")


def test_a_teacher_without_head_has_no_factored_logits(tmp_path, corpus):
    files = TeacherFiles(tmp_path / "model", tmp_path / "config", None, None)
    config = {"model": MODEL, "feature_dim": 5, "head": None, "speakers": []}
    save(files.model, files.config, build_model(MODEL, 5), None, config)
    with pytest.raises(ConfigError, match="no head, so no logits"):
        factor(files, corpus[1], corpus[2], "x.scp", tmp_path / "h", tmp_path / "j", 1)


def test_logits_in_another_thread_are_the_same_bytes(tmp_path, teacher, corpus, scps):
    reader = TargetReader(factored(tmp_path, teacher, corpus, scps["xvector"]), False)
    here = reader.logits(corpus[0].ids)
    with ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(reader.logits, corpus[0].ids).result(), here)
    assert not here.requires_grad


def test_ark_stat_and_show_of_a_head_name_its_embeddings_and_give_its_logits(
    tmp_path, teacher, corpus, scps, dense, capsys
):
    embeddings = dump(tmp_path, teacher, corpus, 1, ["xvector"])["xvector"]
    head = str(factored(tmp_path, teacher, corpus, embeddings)["head"])
    assert main(["ark", "stat", head]) == 0
    found = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert (found["form"], found["embeddings"], found["classes"]) == ("factored", "xvector.scp", "10")
    assert json.loads(found["settings"]) == HEAD
    assert main(["ark", "show", head, corpus[0].ids[7]]) == 0
    key, *words = capsys.readouterr().out.split()
    assert key == corpus[0].ids[7]
    assert [float(word) for word in words[1:-1]] == pytest.approx(dense[7].tolist(), rel=1e-5)
    (tmp_path / "head.json").unlink()
    assert main(["ark", "stat", head]) == 1
    assert "head.json: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../xvector.scp", "x/xvector.scp", "/xvector.scp", "x\0", "\ud800", 3, None, ["x"]],
)
def test_a_manifest_of_a_head_names_a_file_beside_it(tmp_path, name, capsys):
    save_head(tmp_path / "head.safetensors", build_head(HEAD, 6, 10), HEAD, 10)
    (tmp_path / "head.json").write_text(json.dumps({"contents": {"embeddings": name}}))
    assert main(["ark", "show", str(tmp_path / "head.safetensors"), "view"]) == 1
    said = capsys.readouterr().err
    assert "head.json: not the manifest of a teacher's head" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--targets-of", "view", "--temperatures", "4"], "--temperatures are those of --top"),
        (["--targets-of", "utterance", "--top", "3"], "--top is of the logits of views"),
    ],
)
def test_options_of_topk_are_not_ignored(given, said, capsys):
    command = [
        "dump",
        "--model",
        "m",
        "--config",
        "c",
        "--views",
        "v",
        "--features",
        "f",
        "--parts",
        "xvector=a,b,c",
    ]
    assert main([*command, "--storage", "float32", "--job", "1", "--jobs", "1", *given]) == 1
    assert said in capsys.readouterr().err
