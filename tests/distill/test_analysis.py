"""What targets have in common, against closed forms and against the same figures by another road."""

import json

import numpy as np
import pytest
from scipy.stats import ortho_group

from spkdistill.arks import ArkWriter
from spkdistill.cli import main
from spkdistill.distill.analysis import (
    FOLDS,
    RIDGES,
    analyse,
    canonical_variates,
    mean_correlation,
    principal_axes,
    ridge_errors,
)
from spkdistill.errors import DataError
from spkdistill.views import Views, write_views

RANDOM = np.random.default_rng


@pytest.fixture
def analysed(tmp_path):
    """A function that writes a cache of {part: (views, dim)} and gives its analysis; speakers by number."""

    def run(parts: dict[str, np.ndarray], speakers: np.ndarray) -> dict:
        scps = write_cache(tmp_path, parts, speakers)
        analyse(tmp_path / "views.tsv", scps, tmp_path / "analysis.json")
        return json.loads((tmp_path / "analysis.json").read_text())

    return run


def write_cache(folder, parts: dict[str, np.ndarray], speakers: np.ndarray) -> dict[str, str]:
    """views.tsv and an archive for each part: {part: scp}."""
    ids = [f"view{index:06d}" for index in range(len(speakers))]
    frames = np.full(len(ids), 10)
    names = [f"speaker{speaker:04d}" for speaker in speakers]
    write_views(folder / "views.tsv", Views(ids, ids, names, np.zeros(len(ids), int), frames, frames))
    for part, vectors in parts.items():
        with ArkWriter(folder / f"{part}.ark", folder / f"{part}.scp") as writer:
            for name, vector in zip(ids, vectors.astype(np.float32), strict=True):
                writer.write(name, vector)
    return {part: str(folder / f"{part}.scp") for part in parts}


def only_pair(analysis: dict) -> dict:
    """The pair of an analysis of two parts."""
    (pair,) = analysis["pairs"]
    return pair


def correlated(random, count: int, correlations) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices (count, dim) of Gaussians of variance one, with these correlations column by column."""
    correlations = np.asarray(correlations)
    x = random.standard_normal((count, len(correlations)))
    return x, correlations * x + np.sqrt(1 - correlations**2) * random.standard_normal(x.shape)


def test_a_part_is_one_with_itself_turned_scaled_and_moved(analysed):
    random = RANDOM(0)
    x = random.standard_normal((600, 12)) * np.linspace(1, 3, 12) + 40
    turned = 7 * x @ ortho_group.rvs(12, random_state=1) - 300
    pair = only_pair(analysed({"x": x, "turned": turned}, np.arange(600) % 30))
    for value in (pair["cka"], pair["canonical_correlation"], *pair["r2"]):
        assert value == pytest.approx(1, abs=1e-4)


def test_unbiased_cka_is_that_of_its_definition_on_gram_matrices(analysed):
    random = RANDOM(1)
    x = random.standard_normal((40, 8)) + 5
    y = np.tanh(x[:, :6] - 5) + 0.5 * random.standard_normal((40, 6))

    def hsic(one, other):
        """Song et al. 2012, equation 5."""
        n = len(one)
        one, other = (gram * (1 - np.eye(n)) for gram in (one, other))
        product = one @ other
        sums = one.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 * product.sum() / (n - 2)
        return (np.trace(product) + sums) / (n * (n - 3))

    gram, other = (part @ part.T for part in (x, y))
    expected = hsic(gram, other) / np.sqrt(hsic(gram, gram) * hsic(other, other))
    pair = only_pair(analysed({"x": x, "y": y}, np.arange(40) % 7))
    assert 0.1 < expected < 0.9
    assert pair["cka"] == pytest.approx(expected, abs=2e-5)


def test_wide_parts_of_other_views_have_nothing_in_common(analysed):
    random = RANDOM(2)
    x = random.standard_normal((150, 300))
    shuffled = x[random.permutation(150)]
    pair = only_pair(analysed({"x": x, "shuffled": shuffled}, np.arange(150) % 30))
    gram, other = (centred @ centred.T for centred in (x - x.mean(0), shuffled - x.mean(0)))
    biased = (gram * other).sum() / (np.linalg.norm(gram) * np.linalg.norm(other))
    assert biased > 0.6
    assert abs(pair["cka"]) < 0.03
    assert abs(pair["canonical_correlation"]) < 0.1
    assert max(pair["r2"]) < 0.02


def test_known_canonical_correlations_and_predictability_are_found(analysed):
    correlations = np.array([0.9, 0.6, 0.3, 0.0])
    x, y = correlated(RANDOM(3), 20000, correlations)
    pair = only_pair(analysed({"x": x, "y": y}, np.arange(20000) % 100))
    assert pair["canonical_correlation"] == pytest.approx(correlations.mean(), abs=0.02)
    assert pair["r2"] == pytest.approx([np.mean(correlations**2)] * 2, abs=0.01)
    assert pair["cka"] == pytest.approx(np.mean(correlations**2), abs=0.01)  # |X'Y|^2 of unit covariances


def test_a_part_of_a_part_is_predicted_from_it_but_not_the_other_way(analysed):
    x = RANDOM(4).standard_normal((4000, 10)) * np.array([3.0] * 2 + [1.0] * 8)
    pair = only_pair(analysed({"whole": x, "piece": x[:, :2]}, np.arange(4000) % 40))
    assert pair["parts"] == ["whole", "piece"]
    whole_from_piece, piece_from_whole = pair["r2"]
    assert whole_from_piece == pytest.approx(18 / 26, abs=0.02)
    assert piece_from_whole == pytest.approx(1, abs=1e-4)


def test_canonical_correlations_survive_any_invertible_map():
    random = RANDOM(5)
    x, y = correlated(random, 500, [0.8, 0.5, 0.2])

    def correlation(x, y):
        x, y = x - x.mean(0), y - y.mean(0)
        variates = canonical_variates(principal_axes(x.T @ x), principal_axes(y.T @ y), x.T @ y, kept=1.0)
        return mean_correlation(*variates, x.T @ x, y.T @ y, x.T @ y)

    maps = [random.standard_normal((3, 3)) * np.array([1, 20, 0.05]) for _ in range(2)]
    assert correlation(x @ maps[0], y @ maps[1]) == pytest.approx(correlation(x, y), abs=1e-9)
    # Against the singular values of the product of orthonormal bases (Bjorck and Golub 1973).
    bases = [np.linalg.qr(part - part.mean(0))[0] for part in (x, y)]
    assert correlation(x, y) == pytest.approx(np.linalg.svd(bases[0].T @ bases[1])[1].mean(), abs=1e-9)


def test_ridge_errors_are_those_of_predictions_on_held_out_vectors():
    random = RANDOM(6)
    x, y = random.standard_normal((50, 8)) * np.arange(1, 9), random.standard_normal((50, 3))
    y += x[:, :3] * 0.4
    train, test = slice(0, 35), slice(35, 50)
    axes = principal_axes(x[train].T @ x[train])
    within = axes.vectors.T @ x[test].T @ x[test] @ axes.vectors
    found = ridge_errors(axes, within, x[train].T @ y[train], x[test].T @ y[test])
    mean_variance = np.trace(x[train].T @ x[train]) / 8
    for ridge, error in zip(RIDGES, found, strict=True):
        weights = np.linalg.solve(
            x[train].T @ x[train] + ridge * mean_variance * np.eye(8), x[train].T @ y[train]
        )
        squared = np.sum((y[test] - x[test] @ weights) ** 2)
        assert error + np.sum(y[test] ** 2) == pytest.approx(squared, rel=1e-9)


def test_predictability_is_that_of_ridge_regressions_fitted_on_the_other_folds(analysed):
    random, speakers = RANDOM(10), np.repeat(np.arange(11), 9)
    x = random.standard_normal((11, 6))[speakers] + random.standard_normal((99, 6))
    y = x[:, :3] + 2 * random.standard_normal((11, 3))[speakers] + random.standard_normal((99, 3))
    errors, scatter = np.zeros(len(RIDGES)), 0.0
    for fold in range(FOLDS):
        test = speakers % FOLDS == fold
        inputs, outputs = (part[~test] - part[~test].mean(0) for part in (x, y))
        covariance = inputs.T @ inputs
        scatter += np.sum((y[test] - y[test].mean(0)) ** 2)
        for index, ridge in enumerate(RIDGES * np.trace(covariance) / 6):
            residual = y[test] - x[test] @ np.linalg.solve(covariance + ridge * np.eye(6), inputs.T @ outputs)
            errors[index] += np.sum((residual - residual.mean(0)) ** 2)
    pair = only_pair(analysed({"x": x, "y": y}, speakers))
    assert pair["r2"][1] == pytest.approx(1 - errors.min() / scatter, abs=1e-5)


def test_predictability_is_of_speakers_that_were_not_fitted(analysed):
    """Two parts that name the speaker in unrelated ways predict each other on known speakers only."""
    random = RANDOM(7)
    speakers = np.repeat(np.arange(20), 30)
    x, y = (
        random.standard_normal((20, 25))[speakers] + 0.1 * random.standard_normal((600, 25)) for _ in range(2)
    )
    pair = only_pair(analysed({"x": x, "y": y}, speakers))
    weights = np.linalg.lstsq(x[::2], y[::2], rcond=None)[0]
    known = 1 - np.sum((y[1::2] - x[1::2] @ weights) ** 2) / np.sum((y[1::2] - y[1::2].mean(0)) ** 2)
    assert known > 0.9
    assert max(pair["r2"]) < 0.1


def test_parts_are_described_by_rank_and_speakers(analysed):
    random = RANDOM(8)
    speakers = np.repeat(np.arange(10), 8)
    basis = random.standard_normal((80, 6))
    basis = np.linalg.qr(basis - basis.mean(0))[0]  # its columns are centred, as those that they span
    singular = np.array([4.0, 2, 1, 1, 0, 0])
    noisy = random.standard_normal((10, 5))[speakers] + random.standard_normal((80, 5))
    parts = analysed({"known": basis * singular, "noisy": noisy}, speakers)["parts"]
    known, measured = parts
    assert (known["part"], known["dim"], measured["part"], measured["dim"]) == ("known", 6, "noisy", 5)
    shares = singular[:4] / 8
    assert known["effective_rank"] == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), abs=1e-4)
    assert known["participation_ratio"] == pytest.approx(22**2 / (256 + 16 + 1 + 1), abs=1e-4)
    means = np.array([noisy[speakers == speaker].mean(0) for speaker in range(10)])
    within = np.sum((noisy - means[speakers]) ** 2)
    total = np.sum((noisy - noisy.mean(0)) ** 2)
    assert measured["between_speaker_share"] == pytest.approx(1 - within / total, abs=1e-5)


def test_the_subcommand_compares_the_parts_it_is_given(tmp_path, capsys):
    random, speakers = RANDOM(9), np.arange(60) % 3
    parts = {name: random.standard_normal((60, dim)) for name, dim in (("xvector", 4), ("layer:2", 6))}
    scps = write_cache(tmp_path, parts | {"wide_bn": random.standard_normal((60, 9))}, speakers)
    named = [f"{part}={scp}" for part, scp in scps.items()]
    output = str(tmp_path / "analysis.json")
    command = ["analyse", "--views", str(tmp_path / "views.tsv"), "--output", output, "--targets"]
    assert main([*command, *named]) == 0
    analysis = json.loads((tmp_path / "analysis.json").read_text())
    assert (analysis["views"], analysis["speakers"], analysis["folds"]) == (60, 3, min(3, FOLDS))
    assert [part["part"] for part in analysis["parts"]] == ["xvector", "layer:2", "wide_bn"]
    pairs = [["xvector", "layer:2"], ["xvector", "wide_bn"], ["layer:2", "wide_bn"]]
    assert [pair["parts"] for pair in analysis["pairs"]] == pairs


@pytest.mark.parametrize(
    ("vectors", "speakers", "message"),
    [
        (np.full((20, 3), 0.1), np.arange(20) % 4, r"x\.scp: the same for all views; leave x out"),
        (np.eye(20), np.zeros(20, int), r"20 views of 1 speakers; an analysis needs 4 of 2 or more"),
    ],
)
def test_targets_that_cannot_be_compared_are_refused(analysed, vectors, speakers, message):
    with pytest.raises(DataError, match=message):
        analysed({"x": vectors, "y": RANDOM(0).standard_normal((20, 2))}, speakers)
