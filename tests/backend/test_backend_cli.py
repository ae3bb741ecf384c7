"""The back-end's subcommands from embeddings to scores, and what they refuse."""

import json

import numpy as np
import pytest

from spkdistill.arks import ArkReader, ArkWriter, read_archive, read_matrix, read_vector, write_vector
from spkdistill.backend import llr
from spkdistill.backend.adapt import adapt_plda
from spkdistill.backend.inputs import read_means
from spkdistill.backend.llr import plda_pairs, plda_space
from spkdistill.backend.plda import read_plda, smooth, train_plda, write_plda
from spkdistill.backend.vectors import affine, normalise_length
from spkdistill.cli import backend as commands
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv

COSINE = {"kind": "cosine", "subtract_mean": True, "adapt_set": None}
PLDA = {
    "kind": "plda",
    "lda_dim": 4,
    "total_covariance_factor": 0.0,
    "em_iterations": 10,
    "smoothing": 0.0,
    "adapt_set": None,
    "mean_diff_scale": 1.0,
    "within_covar_scale": 0.3,
    "between_covar_scale": 0.7,
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


def train_files(folder, settings) -> list:
    files = ["--mean", folder / "mean.vec"]
    if settings["kind"] == "plda":
        files += ["--transform", folder / "transform.mat", "--plda", folder / "plda"]
    return files


def train(folder, settings) -> list:
    files = train_files(folder, settings)
    inputs = ["--embeddings", folder / "xvector.scp", "--utt2spk", folder / "utt2spk"]
    run("backend", *inputs, "--settings", json.dumps(settings), *files)
    return files


def score(folder, files, *more, max_rejected=0) -> list[list[str]]:
    inputs = ["--embeddings", folder / "xvector.scp", "--trials", folder / "trials"]
    outputs = ["--output", folder / "scores", "--rejected", folder / "rejected.tsv"]
    more = ["--max-rejected", max_rejected, *more]
    run("score", *inputs, *files, *outputs, *more)
    return [line.split() for line in (folder / "scores").read_text().splitlines()]


@pytest.mark.parametrize("settings", [COSINE, PLDA])
def test_trained_backends_tell_speakers_apart_and_keep_the_order_of_the_trials(corpus, settings):
    folder, _ = corpus
    rows = score(folder, train(folder, settings))
    trials = [line.split() for line in (folder / "trials").read_text().splitlines()]
    assert [row[:2] for row in rows] == [row[:2] for row in trials]
    target = np.array([row[2] == "target" for row in trials])
    values = np.array([float(row[2]) for row in rows])
    assert np.median(values[target]) > np.quantile(values[~target], 0.95)
    assert read_tsv(folder / "rejected.tsv", ["enrol", "test", "reason"]) == []


def test_cosines_are_those_of_the_centred_vectors(corpus):
    folder, vectors = corpus
    rows = score(folder, train(folder, COSINE))
    mean = np.mean(list(vectors.values()), axis=0)
    for enrol, test, value in rows[::7]:
        a, b = vectors[enrol] - mean, vectors[test] - mean
        assert float(value) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    plain = {**COSINE, "subtract_mean": False}
    rows = score(folder, train(folder, plain))
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
    rows = score(folder, files, "--enrol-spk2utt", folder / "spk2utt")
    mean = np.mean(list(vectors.values()), axis=0)
    a, b = np.mean([vectors[f"s00-{u}"] for u in range(3)], axis=0) - mean, vectors["s00-4"] - mean
    assert float(rows[0][2]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert [row[0] for row in rows] == ["m1", "m2"]


def test_an_enrolled_utterance_without_an_embedding_counts_for_no_mean(corpus, caplog):
    folder, _ = corpus
    files = train(folder, COSINE)
    (folder / "trials").write_text("m1 s00-4 target\nm2 s00-4 nontarget\n")
    (folder / "spk2utt").write_text("m1 s00-0 s00-1\nm2 s05-3\n")
    expected = score(folder, files, "--enrol-spk2utt", folder / "spk2utt")
    (folder / "spk2utt").write_text("m1 s00-0 nobody s00-1\nm2 s05-3\n")
    with pytest.raises(DataError, match=r"spk2utt: 1 of 4 utterances have no embedding \(nobody of m1"):
        score(folder, files, "--enrol-spk2utt", folder / "spk2utt")
    rows = score(folder, files, "--enrol-spk2utt", folder / "spk2utt", max_rejected=0.3)
    assert rows == expected
    assert "nobody of m1" in caplog.text


def test_trials_without_an_embedding_are_listed_and_too_many_of_them_fail(corpus):
    folder, _ = corpus
    files = train(folder, COSINE)
    with (folder / "trials").open("a") as file:
        file.write("nobody s00-1 nontarget\ns00-1 nothing nontarget\n")
    with pytest.raises(DataError, match=r"2 of \d+ trials"):
        score(folder, files)
    rows = score(folder, files, max_rejected=0.05)
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
    with pytest.raises(DataError, match="7 dimensions, and the back-end is for 8"):
        score(folder, files)


@pytest.mark.parametrize("settings", [{"kind": "svm"}, {**COSINE, "lda_dim": 3}, {"kind": "plda"}])
def test_settings_of_no_backend_are_refused(corpus, settings):
    with pytest.raises(ConfigError):
        train(corpus[0], settings)


def test_a_transform_without_plda_is_refused(corpus):
    folder, _ = corpus
    with pytest.raises(ConfigError, match="--transform: goes with --plda"):
        score(folder, train(folder, PLDA)[:-2])


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


def means(folder, spk2utt, *more, max_rejected=0) -> dict:
    """Write the means of the speakers in the text `spk2utt`, with their counts, and read them."""
    (folder / "spk2utt").write_text(spk2utt)
    inputs = ["--embeddings", folder / "xvector.scp", "--spk2utt", folder / "spk2utt"]
    outputs = [
        "--ark",
        folder / "means.ark",
        "--scp",
        folder / "means.scp",
        "--num-utts",
        folder / "num_utts",
    ]
    run("speaker-means", *inputs, "--max-rejected", max_rejected, *outputs, *more)
    return dict(read_archive(f"scp:{folder / 'means.scp'}"))


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "1" * 5000])
def test_a_number_of_utterances_that_is_none_is_named(corpus, count):
    folder, _ = corpus
    means(folder, "a s00-0\n")
    (folder / "num_utts").write_text(f"a {count}\n")
    with pytest.raises(DataError, match="no number of utterances for a"):
        read_means(folder / "means.scp", folder / "num_utts")


@pytest.mark.parametrize(("more", "count"), [([], 3), (["--at-most", 2], 2), (["--at-most", 9], 3)])
def test_speaker_means_are_kept_with_their_counts(corpus, more, count):
    folder, vectors = corpus
    found = means(folder, "a s00-0 s00-1 s00-2\nb s05-3\n", *more)
    assert (folder / "num_utts").read_text() == f"a {count}\nb 1\n"
    expected = np.mean([vectors[f"s00-{u}"] for u in range(count)], axis=0)
    np.testing.assert_allclose(found["a"], expected, rtol=1e-6)


def test_the_share_of_missing_utterances_is_of_all_whatever_the_means_are_over(corpus):
    folder, _ = corpus
    spk2utt = f"a {' '.join(f's00-{u}' for u in range(8))} nobody\n"
    means(folder, spk2utt, "--at-most", 1, max_rejected=0.12)  # 1 of 9
    with pytest.raises(DataError, match="1 of 9 utterances have no embedding"):
        means(folder, spk2utt, "--at-most", 1, max_rejected=0.1)


def cohort(folder, vectors, speakers) -> list:
    """The options of a cohort of the mean embeddings of `speakers`."""
    lines = [f"{k} {' '.join(key for key in sorted(vectors) if key[:3] == k)}\n" for k in speakers]
    means(folder, "".join(lines))
    return ["--cohort", folder / "means.scp", "--cohort-num-utts", folder / "num_utts"]


def test_normalised_scores_are_relative_to_the_nearest_of_the_cohort(corpus):
    folder, vectors = corpus
    speakers = ["s07", "s08", "s09", "s10", "s11"]
    options = [*cohort(folder, vectors, speakers), "--score-norm", "as", "--cohort-top", 3]
    files = train(folder, COSINE)
    rows = score(folder, files, *options)
    mean = np.mean(list(vectors.values()), axis=0)

    def unit(vector):
        return (vector - mean) / np.linalg.norm(vector - mean)

    others = [np.mean([vectors[key] for key in vectors if key[:3] == k], axis=0) for k in speakers]
    for enrol, test, value in rows[::7]:
        sides, parts = [unit(vectors[enrol]), unit(vectors[test])], []
        for side in sides:
            nearest = np.sort([side @ unit(other) for other in others])[-3:]
            parts.append((sides[0] @ sides[1] - nearest.mean()) / nearest.std())
        assert float(value) == pytest.approx(np.mean(parts), rel=1e-4, abs=1e-4)
    with pytest.raises(ConfigError, match="--cohort goes with score normalisation"):
        score(folder, files, "--score-norm", "as")


def test_a_cohort_smaller_than_top_is_used_whole_and_logged(corpus, caplog):
    folder, vectors = corpus
    files = train(folder, COSINE)
    options = cohort(folder, vectors, ["s09", "s10", "s11"])
    everyone = score(folder, files, *options, "--score-norm", "s")
    assert score(folder, files, *options, "--score-norm", "as") == everyone
    assert "cohort_top 300: the cohort has 3 speakers" in caplog.text


def test_a_cohort_of_one_is_refused(corpus):
    folder, vectors = corpus
    options = [*cohort(folder, vectors, ["s11"]), "--score-norm", "z"]
    with pytest.raises(DataError, match="a cohort needs two speakers or more, found 1"):
        score(folder, train(folder, COSINE), *options)


def test_adapted_backends_take_the_mean_of_the_set_that_they_are_adapted_to(corpus):
    folder, vectors = corpus
    moved = {key: vector * [9, 1, 1, 1, 1, 1, 1, 1] + 5 for key, vector in vectors.items()}
    (folder / "other").mkdir()
    write(folder / "other", moved)
    settings = PLDA | {"adapt_set": "other"}
    plain = read_plda(train(folder, PLDA)[-1])
    files = [*train_files(folder, PLDA), "--adapt", folder / "other/xvector.scp"]
    inputs = ["--embeddings", folder / "xvector.scp", "--utt2spk", folder / "utt2spk"]
    run("backend", *inputs, "--settings", json.dumps(settings), *files)
    mean = np.mean(list(moved.values()), axis=0)
    np.testing.assert_allclose(read_vector(folder / "mean.vec"), mean, rtol=1e-5)
    assert not np.allclose(read_plda(folder / "plda").psi, plain.psi)
    with pytest.raises(ConfigError, match="--adapt goes with adapt_set"):
        train(folder, settings)


def test_fused_scores_are_the_weighted_sums_and_lack_what_a_system_lacks(corpus):
    folder, _ = corpus
    tables = {}
    for name, settings in (("cosine", COSINE), ("plda", PLDA)):
        tables[name] = score(folder, train(folder, settings))
        (folder / "scores").rename(folder / name)
    systems = [f"{name}={folder / name}" for name in tables]
    trials = ["--trials", folder / "trials", "--max-rejected", 0]
    run("calibrate", "--scores", *systems, *trials, "--prior", 0.5, "--output", folder / "fusion.json")
    fusion = json.loads((folder / "fusion.json").read_text())
    outputs = ["--output", folder / "fused", "--rejected", folder / "rejected.tsv"]
    command = ["fuse", "--fusion", folder / "fusion.json", *trials, *outputs, "--scores"]
    run(*command, *systems[::-1])
    weights = [fusion["weights"][name] for name in tables]
    values = np.array([[float(row[2]) for row in table] for table in tables.values()])
    fused = [line.split() for line in (folder / "fused").read_text().splitlines()]
    expected = weights @ values + fusion["offset"]
    np.testing.assert_allclose([float(row[2]) for row in fused], expected, rtol=1e-7, atol=1e-8)

    with pytest.raises(DataError, match="is for the systems cosine, plda, not for cosine"):
        run(*command, systems[0])
    (folder / "plda").write_text("".join((folder / "plda").read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match=r"rejected.tsv: 1 of \d+ trials have no score"):
        run(*command, *systems)
    with pytest.raises(DataError, match=r"trials: 1 of \d+ trials lack a score"):
        run("calibrate", "--scores", *systems, *trials, "--prior", 0.5, "--output", folder / "fusion.json")


def test_given_models_score_as_the_means_of_their_utterances(corpus):
    folder, _vectors = corpus
    files = train(folder, PLDA)
    (folder / "spk2utt").write_text("m1 s00-0 s00-1 s00-2\nm2 s05-3\n")
    (folder / "trials").write_text("m1 s00-4\nm2 s00-4\n")  # lists that are scored need no labels
    expected = score(folder, files, "--enrol-spk2utt", folder / "spk2utt")
    means(folder, (folder / "spk2utt").read_text())
    models = ["--enrol", folder / "means.scp", "--enrol-num-utts", folder / "num_utts"]
    for ours, theirs in zip(score(folder, files, *models), expected, strict=True):
        assert ours[:2] == theirs[:2]
        assert float(ours[2]) == pytest.approx(float(theirs[2]), rel=1e-5)
    uncounted = score(folder, files, "--enrol", folder / "means.scp")
    assert abs(float(uncounted[0][2]) - float(expected[0][2])) > 0.01
    with pytest.raises(ConfigError, match="--enrol: not with --enrol-spk2utt"):
        score(folder, files, *models, "--enrol-spk2utt", folder / "spk2utt")
    (folder / "spk2utt").write_text("m1 s00-0 s00-0\nm2 s05-3\n")
    with pytest.raises(DataError, match="m1 names an utterance twice"):
        score(folder, files, "--enrol-spk2utt", folder / "spk2utt")


def test_vectors_that_no_trial_uses_do_not_matter(corpus):
    folder, vectors = corpus
    files = train(folder, COSINE)
    mean = read_vector(folder / "mean.vec").astype(np.float32)
    write_vector(folder / "mean.vec", mean)
    expected = score(folder, files)
    write(folder, vectors | {"z-mean": mean})
    assert score(folder, files) == expected
    with (folder / "trials").open("a") as file:
        file.write("z-mean s00-1 nontarget\n")
    with pytest.raises(DataError, match=r"xvector.scp: z-mean: the embedding equals the mean"):
        score(folder, files)


def test_plda_of_raw_vectors_needs_neither_mean_nor_transform(corpus):
    folder, vectors = corpus
    keys = sorted(vectors)
    plda = train_plda(np.array([vectors[key] for key in keys]), np.repeat(np.arange(12), 8), 10)
    write_plda(folder / "plda", plda)
    rows = score(folder, ["--plda", folder / "plda"])
    z = plda_space(plda, np.array([vectors[key] for key in keys], dtype=np.float32), 1, True)
    row_of = {key: row for row, key in enumerate(keys)}
    first, second = (np.array([row_of[row[side]] for row in rows]) for side in (0, 1))
    expected = plda_pairs(plda.psi, z, np.ones(len(z), dtype=int), z).of(first, second)
    np.testing.assert_allclose([float(row[2]) for row in rows], expected, rtol=1e-7, atol=1e-7)
    write(folder, {key: vector[:7] for key, vector in vectors.items()})
    with pytest.raises(DataError, match="7 dimensions, and the back-end is for 8"):
        score(folder, ["--plda", folder / "plda"])


def test_a_model_is_copied_smoothed_and_as_text(corpus):
    folder, _ = corpus
    plda = read_plda(train(folder, PLDA)[-1])
    run("copy-plda", "--plda", folder / "plda", "--smoothing", 0.2, "--text", "--output", folder / "text")
    assert (folder / "text").read_text().startswith("<Plda>  [")
    copied = read_plda(folder / "text")
    np.testing.assert_allclose(copied.psi, smooth(plda, 0.2).psi, rtol=1e-6)


def test_a_model_is_adapted_as_the_backend_stage_adapts_it(corpus):
    folder, vectors = corpus
    files = train(folder, PLDA)
    write(folder, {key: vector * [9, 1, 1, 1, 1, 1, 1, 1] for key, vector in vectors.items()})
    run("adapt-plda", "--embeddings", folder / "xvector.scp", *files, "--output", folder / "adapted")
    reduced = normalise_length(
        affine(
            read_matrix(folder / "transform.mat"),
            np.array([vectors[key] * [9, 1, 1, 1, 1, 1, 1, 1] for key in sorted(vectors)], dtype=np.float32)
            - read_vector(folder / "mean.vec"),
        ),
        sorted(vectors),
    )
    expected = adapt_plda(read_plda(folder / "plda"), reduced, 1.0, 0.3, 0.7)
    np.testing.assert_allclose(read_plda(folder / "adapted").psi, expected.psi, rtol=1e-9)


def test_all_pairs_are_the_scores_of_their_trials(corpus):
    folder, vectors = corpus
    files = train(folder, PLDA)
    rows = score(folder, files)
    outputs = ["--ark", folder / "all.ark", "--scp", folder / "all.scp", "--max-rejected", 0]
    run("score-all", "--embeddings", folder / "xvector.scp", *files, *outputs)
    with ArkReader(folder / "all.scp") as reader:
        assert reader.keys() == sorted(vectors)
        column = {name: index for index, name in enumerate(reader.keys())}
        found = [reader[enrol][column[test]] for enrol, test, _ in rows]
    np.testing.assert_allclose(found, [float(row[2]) for row in rows], rtol=1e-5, atol=1e-5)


def test_recordings_are_clustered_by_speaker(corpus):
    folder, _ = corpus
    files = train(folder, PLDA)
    rng = np.random.default_rng(1)
    far = {f"s0{k}-{u}": 10 * np.eye(8)[k] + 0.1 * rng.normal(size=8) for k in range(3) for u in range(4)}
    write(folder, far)
    (folder / "reco2utt").write_text(f"r {' '.join(sorted(far))}\n")
    (folder / "reco2num").write_text("r 3\n")
    outputs = ["--ark", folder / "r.ark", "--scp", folder / "r.scp", "--labels", folder / "labels"]
    inputs = ["--embeddings", folder / "xvector.scp", "--reco2utt", folder / "reco2utt", *files]
    for energy in (0.9, 1):
        known = ["--target-energy", energy, "--reco2num-spk", folder / "reco2num"]
        run("diarize", *inputs, *known, *outputs)
        labels = dict(line.split() for line in (folder / "labels").read_text().splitlines())
        assert list(labels) == sorted(far)
        assert len({(key[:3], label) for key, label in labels.items()}) == len(set(labels.values())) == 3
    with pytest.raises(DataError, match="8 dimensions, and the back-end is for 4"):
        run("diarize", *inputs[:4], *files[-2:], *known, *outputs)
    write(folder, dict.fromkeys(far, np.ones(8)))
    run("diarize", *inputs, "--target-energy", 0.9, "--threshold", -1000, *outputs)
    assert {line.split()[1] for line in (folder / "labels").read_text().splitlines()} == {"1"}
    for line in ("other 3\n", "r 0\n", f"r {5000 * '9'}\n"):
        (folder / "reco2num").write_text(line)
        with pytest.raises(DataError, match="expected the number of speakers of r"):
            run("diarize", *inputs, *known, *outputs)


NORM = ("--score-norm", "as", "--cohort-top", 3)


def score_shard(folder, files, shard="", *more) -> None:
    inputs = ["--embeddings", folder / "xvector.scp", "--trials", folder / "trials", "--max-rejected", 0.1]
    outputs = ["--output", folder / f"scores{shard}", "--rejected", folder / f"rejected{shard}.tsv"]
    run("score", *inputs, *files, *outputs, *more)


def score_in_shards(folder, files, jobs) -> None:
    """The shards in some order, and then the merge."""
    for job in np.random.default_rng(jobs).permutation(jobs) + 1:
        score_shard(folder, files, f".{job}", "--job", job, "--jobs", jobs)
    parts = [
        *("--scores-parts", *(folder / f"scores.{job}" for job in range(1, jobs + 1))),
        *("--rejected-parts", *(folder / f"rejected.{job}.tsv" for job in range(1, jobs + 1))),
    ]
    run("merge-scores", *parts, "--output", folder / "merged", "--rejected", folder / "merged.tsv")


@pytest.mark.parametrize("jobs", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("kind", [COSINE, PLDA], ids=lambda kind: kind["kind"])
@pytest.mark.parametrize("norm", [(), NORM], ids=["plain", "asnorm"])
@pytest.mark.parametrize("dense", [0, 10**6], ids=["row by row", "by matrix products"])
def test_merged_shards_are_the_bytes_of_one_job(corpus, monkeypatch, jobs, kind, norm, dense):
    folder, vectors = corpus
    monkeypatch.setattr(llr, "DENSE", dense)
    monkeypatch.setattr(llr, "BLOCK_PAIRS", 100)  # several blocks
    monkeypatch.setattr("spkdistill.backend.score_norm.BLOCK_PAIRS", 10)
    lines = (folder / "trials").read_text().splitlines()[: 400 if jobs < 1000 else 40]
    lines[5:5] = ["s00-0 nobody nontarget", "nobody s00-0 nontarget"]
    (folder / "trials").write_text("\n".join(lines) + "\n")
    options = [*norm, *cohort(folder, vectors, ["s08", "s09", "s10", "s11"])] if norm else []
    files = [*train(folder, kind), *options]
    score_shard(folder, files)
    jobs = min(jobs, 2 * len(lines))
    score_in_shards(folder, files, jobs)
    assert len((folder / "scores").read_text().splitlines()) == len(lines) - 2
    assert (folder / "merged").read_bytes() == (folder / "scores").read_bytes()
    assert (folder / "merged.tsv").read_bytes() == (folder / "rejected.tsv").read_bytes()


def test_the_share_of_trials_without_a_score_is_of_the_whole_list(corpus):
    folder, _ = corpus
    files = train(folder, COSINE)
    (folder / "trials").write_text("nobody s00-0 target\n" + "s00-0 s01-1 nontarget\n" * 19)
    score_shard(folder, files, ".1", "--job", 1, "--jobs", 10)
    assert (folder / "scores.1").read_text().split()[:2] == ["s00-0", "s01-1"]
    (folder / "trials").write_text("nobody s00-0 target\n" * 3 + "s00-0 s01-1 nontarget\n" * 17)
    with pytest.raises(DataError, match="3 of 20 trials have no score"):
        score_shard(folder, files, ".9", "--job", 9, "--jobs", 10)


def test_a_shard_beyond_the_last_is_refused(corpus):
    folder, _ = corpus
    with pytest.raises(ConfigError, match="shard 3 of 2"):
        score_shard(folder, train(folder, COSINE), "", "--job", 3, "--jobs", 2)
