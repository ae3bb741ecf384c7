"""Score files: read whole or refused by line, and matched with trials in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.data.scores import match_scores, read_scores
from spkdistill.data.trials import Trials
from spkdistill.errors import DataError

ids = st.sampled_from(["a", "b", "7", "007", "NA", '"', "1e3"])
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.tuples(ids, ids), finite, min_size=1), st.data())
def test_scores_are_matched_to_the_last_bit_in_any_order_with_nan_for_what_is_missing(
    tmp_path_factory, scores, data
):
    lines = data.draw(st.permutations([f"{e} {t} {s!r}\n" for (e, t), s in scores.items()]))
    path = tmp_path_factory.mktemp("scores") / "scores"
    path.write_text("".join(lines))
    asked = data.draw(st.permutations([*scores, ("x", "a"), ("a", "x")]))
    trials = Trials.of(*zip(*asked, strict=True), np.ones(len(asked), dtype=bool))
    found = match_scores(read_scores(path), trials, path)
    np.testing.assert_array_equal(found, [scores.get(pair, np.nan) for pair in asked])


def test_repeated_trials_and_scores_match_as_often_as_they_are_listed(tmp_path):
    (tmp_path / "s").write_text("a b 1\na c 2\na b 1.0\n")
    trials = Trials.of(["a", "a", "a", "a"], ["c", "b", "b", "b"], [True, False, False, False])
    assert match_scores(read_scores(tmp_path / "s"), trials, "s").tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 1\na b\n", "s:2: expected `enrol test score`, found 'a b'"),
        ("a b 1 2\n", "s:1: expected"),
        ("a b 1\n\na c 1\n", "s:2: expected"),
        ("a b 1\na c high\n", "s:2: expected"),
        ("a b 1\na c -inf\n", "s:2: the score of a c is -inf"),
        ("a b 1\na c 2\na b 3\n", "s:3: a b has two different scores"),
        ("a b 1\nb a 2\nb a 2\n", r"s:2: b a is no trial of the list \(2 such scores\)"),
        (b"a \xff 1\n", "s: not UTF-8"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    (tmp_path / "s").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as caught:
        match_scores(
            read_scores(tmp_path / "s"), Trials.of(["a", "a"], ["b", "c"], [True, False]), tmp_path / "s"
        )
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="s: no such file"):
        read_scores(tmp_path / "s")
