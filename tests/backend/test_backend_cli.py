"""`spkdistill backend` and `spkdistill score` from embeddings to scores, and what they refuse."""

import json

import numpy as np
import pytest

from spkdistill.arks import ArkWriter, read_matrix, read_vector
from spkdistill.backend.plda import read_plda
from spkdistill.cli import backend as commands
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv

COSINE = {"kind": "cosine", "subtract_mean": True}
PLDA = {
    "kind": "plda",
    "lda_dim": 4,
    "total_covariance_factor": 0.0,
    "em_iterations": 10,
    "smoothing": 0.0,
    "normalize_length": True,
    "simple_length_norm": False,
}


def run(*arguments) -> None:
    """Run a subcommand of this room alone."""
    import argparse

    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args([str(argument) for argument in arguments])
    options.run(options)


@pytest.fixture
def corpus(tmp_path):
    """Embeddings of 12 speakers with 8 utterances each, and trials among them."""
    rng = np.random.default_rng(0)
    speakers = rng.normal(size=(12, 8)) * 2 + 1
    vectors = {f"s{k:02d}-{u}": speakers[k] + rng.normal(size=8) for k in range(12) for u in range(8)}
    write(tmp_path, vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[:3]}\n" for key in vectors))
    keys = sorted(vectors)
    trials = [(a, b) for a in keys[::3] for b in keys[1::5] if a != b]
    lines = [f"{a} {b} {'target' if a[:3] == b[:3] else 'nontarget'}\n" for a, b in trials]
    (tmp_path / "trials").write_text("".join(lines))
    return tmp_path, vectors


def write(folder, vectors) -> None:
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp", allow_nonfinite=True) as writer:
        for key, vector in sorted(vectors.items()):
            writer.write(key, vector.astype(np.float32))


def train(folder, settings) -> list:
    files = ["--mean", folder / "mean.vec"]
    if settings["kind"] == "plda":
        files += ["--transform", folder / "transform.mat", "--plda", folder / "plda"]
    inputs = ["--embeddings", folder / "xvector.scp", "--utt2spk", folder / "utt2spk"]
    run("backend", *inputs, "--settings", json.dumps(settings), *files)
    return files


def score(folder, settings, files, *more, max_rejected=0) -> list[list[str]]:
    inputs = ["--embeddings", folder / "xvector.scp", "--trials", folder / "trials"]
    outputs = ["--output", folder / "scores", "--rejected", folder / "rejected.tsv"]
    more = ["--max-rejected", max_rejected, *more]
    run("score", "--settings", json.dumps(settings), *inputs, *files, *outputs, *more)
    return [line.split() for line in (folder / "scores").read_text().splitlines()]


@pytest.mark.parametrize("settings", [COSINE, PLDA])
def test_trained_backends_tell_speakers_apart_and_keep_the_order_of_the_trials(corpus, settings):
    folder, _ = corpus
    rows = score(folder, settings, train(folder, settings))
    trials = [line.split() for line in (folder / "trials").read_text().splitlines()]
    assert [row[:2] for row in rows] == [row[:2] for row in trials]
    target = np.array([row[2] == "target" for row in trials])
    values = np.array([float(row[2]) for row in rows])
    assert np.median(values[target]) > np.quantile(values[~target], 0.95)
    assert read_tsv(folder / "rejected.tsv", ["enrol", "test", "reason"]) == []


def test_cosines_are_those_of_the_centred_vectors(corpus):
    folder, vectors = corpus
    rows = score(folder, COSINE, train(folder, COSINE))
    mean = np.mean(list(vectors.values()), axis=0)
    for enrol, test, value in rows[::7]:
        a, b = vectors[enrol] - mean, vectors[test] - mean
        assert float(value) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    plain = {**COSINE, "subtract_mean": False}
    rows = score(folder, plain, train(folder, plain))
    a, b = vectors[rows[0][0]], vectors[rows[0][1]]
    assert float(rows[0][2]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)


def test_backend_files_are_kaldis_and_the_same_bytes_each_time(corpus):
    folder, vectors = corpus
    files = train(folder, PLDA)
    first = [path.read_bytes() for path in files[1::2]]
    np.testing.assert_allclose(
        read_vector(folder / "mean.vec"), np.mean(list(vectors.values()), axis=0), atol=1e-6
    )
    assert read_matrix(folder / "transform.mat").shape == (4, 9)
    assert read_plda(folder / "plda").psi.shape == (4,)
    assert [path.read_bytes() for path in train(folder, PLDA)[1::2]] == first


def test_enrolled_speakers_are_the_means_of_their_utterances(corpus):
    folder, vectors = corpus
    files = train(folder, COSINE)
    (folder / "spk2utt").write_text("m1 s00-0 s00-1 s00-2\nm2 s05-3\n")
    (folder / "trials").write_text("m1 s00-4 target\nm2 s00-4 nontarget\n")
    rows = score(folder, COSINE, files, "--enrol-spk2utt", folder / "spk2utt")
    mean = np.mean(list(vectors.values()), axis=0)
    a, b = np.mean([vectors[f"s00-{u}"] for u in range(3)], axis=0) - mean, vectors["s00-4"] - mean
    assert float(rows[0][2]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert [row[0] for row in rows] == ["m1", "m2"]
    (folder / "spk2utt").write_text("m1 s00-0 nobody\n")
    with pytest.raises(DataError, match="spk2utt:1: nobody"):
        score(folder, COSINE, files, "--enrol-spk2utt", folder / "spk2utt")


def test_trials_without_an_embedding_are_listed_and_too_many_of_them_fail(corpus):
    folder, _ = corpus
    files = train(folder, COSINE)
    with (folder / "trials").open("a") as file:
        file.write("nobody s00-1 nontarget\ns00-1 nothing nontarget\n")
    with pytest.raises(DataError, match=r"2 of \d+ trials"):
        score(folder, COSINE, files)
    rows = score(folder, COSINE, files, max_rejected=0.05)
    assert not {"nobody", "nothing"} & {name for row in rows for name in row}
    assert read_tsv(folder / "rejected.tsv", ["enrol", "test", "reason"]) == [
        ["nobody", "s00-1", "no embedding of nobody"],
        ["s00-1", "nothing", "no embedding of nothing"],
    ]


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "zero")]
)
def test_embeddings_that_are_zero_or_not_finite_are_named(corpus, value, problem):
    folder, vectors = corpus
    write(folder, vectors | {"s03-2": np.full(8, value)})
    with pytest.raises(DataError, match=rf"xvector\.scp:s03-2: .*{problem}"):
        train(folder, PLDA)


def test_an_utterance_without_a_speaker_is_named(corpus):
    folder, _ = corpus
    (folder / "utt2spk").write_text((folder / "utt2spk").read_text().replace("s04-1 s04\n", ""))
    with pytest.raises(DataError, match="s04-1"):
        train(folder, PLDA)


def test_embeddings_of_another_dimension_are_refused(corpus):
    folder, vectors = corpus
    files = train(folder, PLDA)
    write(folder, {key: vector[:7] for key, vector in vectors.items()})
    with pytest.raises(DataError, match="8 dimensions"):
        score(folder, PLDA, files)


@pytest.mark.parametrize("settings", [{"kind": "svm"}, {**COSINE, "lda_dim": 3}, {"kind": "plda"}])
def test_settings_of_no_backend_are_refused(corpus, settings):
    with pytest.raises(ConfigError):
        train(corpus[0], settings)


def test_plda_without_its_files_is_refused(corpus):
    folder, _ = corpus
    with pytest.raises(ConfigError, match="--plda"):
        score(folder, PLDA, ["--mean", train(folder, COSINE)[1]])


def test_embeddings_that_are_all_alike_are_named(corpus):
    folder, vectors = corpus
    write(folder, {key: np.ones(8) for key in vectors})
    with pytest.raises(DataError, match=r"xvector.scp: LDA: the within-speaker covariance is singular"):
        train(folder, PLDA)


@pytest.mark.parametrize(
    "change", [{"lda_dim": 0}, {"em_iterations": 0}, {"smoothing": -1.0}, {"total_covariance_factor": 2.0}]
)
def test_plda_settings_out_of_range_are_named(corpus, change):
    with pytest.raises(ConfigError, match=rf"backend.{next(iter(change))}: "):
        train(corpus[0], PLDA | change)
