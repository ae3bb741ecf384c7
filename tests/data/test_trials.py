"""Trials: every form on disk, and lists drawn without a pair twice."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.data.trials import (
    DrawSettings,
    Trials,
    check_trials,
    draw_trials,
    read_trials,
    select,
    write_trials,
)
from spkdistill.errors import ConfigError, DataError

UTT2SPK = {"a-1": "a", "a-2": "a", "b-1": "b"}
SETTINGS = DrawSettings(enrol_utterances=1, targets_per_speaker=5, nontargets_per_speaker=10, same_sex=0.8)


def people(speakers: int, utterances: int) -> tuple[dict[str, list[str]], dict[str, str]]:
    names = [f"{'fm'[i % 2]}{i:02d}" for i in range(speakers)]
    return {name: [f"{name}-{i}" for i in range(utterances)] for name in names}, {n: n[0] for n in names}


def rows_of(trials: Trials) -> list[tuple[str, str, bool]]:
    return [(*trials.pair(i), bool(trials.target[i])) for i in range(len(trials))]


@pytest.mark.parametrize("text", ["1 a-1 a-2\n0 a-1 b-1\n", "a-1 a-2 target\na-1 b-1 nontarget\n"])
def test_both_forms_read_the_same(tmp_path, text):
    (tmp_path / "trials").write_text(text)
    trials = read_trials(tmp_path / "trials")
    assert trials.names == ["a-1", "a-2", "b-1"]
    assert rows_of(trials) == [("a-1", "a-2", True), ("a-1", "b-1", False)]
    write_trials(tmp_path / "copy", trials)
    assert (tmp_path / "copy").read_text() == "a-1 a-2 target\na-1 b-1 nontarget\n"


ids = st.text("ab01-", min_size=1, max_size=6)


@given(
    st.lists(st.tuples(ids, ids, st.booleans()), min_size=1, unique_by=lambda row: row[:2]),
    st.sampled_from([1, 2, 1000]),
)
def test_kaldi_form_reads_back_whatever_the_size_of_a_block(tmp_path_factory, rows, block):
    path = tmp_path_factory.mktemp("trials") / "trials"
    trials = Trials.of(*zip(*rows, strict=True))
    assert trials.names == sorted({name for row in rows for name in row[:2]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spkdistill.data.trials.BLOCK_LINES", block)
        patch.setattr("spkdistill.data.columns.BLOCK_LINES", block)
        write_trials(path, trials)
        again = read_trials(path)
    assert path.read_text() == "".join(f"{e} {t} {'target' if y else 'nontarget'}\n" for e, t, y in rows)
    assert rows_of(again) == rows
    assert again.names == trials.names


def test_columns_after_the_label_are_conditions_that_read_back(tmp_path):
    text = (
        "enrol test label language 9\na-1 a-2 target nl 007\na-1 b-1 nontarget NA 7\nb-1 a-1 nontarget nl 7\n"
    )
    (tmp_path / "trials").write_text(text)
    trials = read_trials(tmp_path / "trials")
    assert {name: list(values) for name, values in trials.conditions.items()} == {
        "language": ["nl", "NA", "nl"],
        "9": ["007", "7", "7"],
    }
    write_trials(tmp_path / "copy", trials)
    assert (tmp_path / "copy").read_text() == text
    kept = select(trials, np.array([True, False, True]))
    assert rows_of(kept) == [("a-1", "a-2", True), ("b-1", "a-1", False)]
    assert list(kept.conditions["language"].categories) == ["nl"]


def test_a_repeated_trial_counts_again_and_is_logged(tmp_path, caplog):
    (tmp_path / "trials").write_text("1 a b\n0 b a\n1 a b\n1 a b\n")
    assert len(read_trials(tmp_path / "trials")) == 4
    assert "trials: 2 trials are listed before" in caplog.text


def test_ids_that_look_like_numbers_quotes_or_nothing_stay_what_they_are(tmp_path):
    rows = [("7", "007", True), ("7.0", '"7', False), ("nan", "NA", False), ("1e3", "1000", True)]
    write_trials(tmp_path / "trials", Trials.of(*zip(*rows, strict=True)))
    assert rows_of(read_trials(tmp_path / "trials")) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a-1 a-2 target\na-1 b-1\n", r"trials:2: expected `enrol test target\|nontarget`, found 'a-1 b-1'"),
        ("a-1 a-2 target\n0 a-1 b-1\n", "trials:2: expected `enrol test"),
        ("1 a-1 a-2\n2 a-1 b-1\n", r"trials:2: expected `1\|0 enrol test`"),
        ("1 a-1\na-2 0 a-1 b-1\n", "trials:1: expected"),
        ("", "trials:1: the line is empty"),
        ("\n1 a b\n", "trials:1: the line is empty"),
        ("a-1 a-2 target extra\na-1 b-1 target\n", "trials:1: expected"),
        ("a-1 a-2 target\na-1 b-1 nontarget extra\n", "trials:2: expected"),
        ("a-1 a-2 target\n\na-1 b-1 nontarget\n", "trials:2: expected"),
        ("a-1 a-2 target\na-1 b-1 nontarget\na-1 a-2 nontarget\n", "trials:3: a-1 a-2 is a target and"),
        ("enrol test label\n", "trials: no trial follows the header"),
        (
            "enrol test label sex\na-1 a-2 target\n",
            r"trials:2: expected `enrol test target\|nontarget\|1\|0 sex`",
        ),
        ("enrol test label sex\na-1 a-2 1 f\na-1 b-1 nontarget f\n", "trials:3: expected"),
        ("enrol test label sex\na-1 a-2 1 f\na-1 a-2 0 f\n", "trials:3: a-1 a-2 is a target and"),
        ("enrol test label sex sex\n", "trials:1: a column is named twice"),
        (b"a-1 a-2 target\na\xff b-1 target\n", "trials: not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("block", [1, 1000])
def test_bad_line_is_named_whatever_the_size_of_a_block(tmp_path, monkeypatch, text, message, block):
    monkeypatch.setattr("spkdistill.data.columns.BLOCK_LINES", block)
    (tmp_path / "trials").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        read_trials(tmp_path / "trials")


@pytest.mark.parametrize("header", ["", "enrol test label\n"])
def test_unknown_utterance_and_contradiction_are_named_by_line(tmp_path, header):
    path = tmp_path / "t"
    path.write_text(header + "a-1 a-2 target\na-1 b-1 nontarget\n")
    good, line = read_trials(path), 3 if header else 2
    check_trials(path, good, UTT2SPK)
    check_trials(path, good, {**UTT2SPK, "a-2": ""})
    with pytest.raises(DataError, match=f"t:{line}: utterance b-1 is not in utt2spk"):
        check_trials(path, good, {"a-1": "a", "a-2": "a"})
    with pytest.raises(DataError, match=f"t:{line}: target, but utt2spk gives the speakers a and b"):
        check_trials(path, replace(good, target=np.array([True, True])), UTT2SPK)


def test_drawn_trials_are_what_was_asked_for():
    spk2utt, genders = people(8, 6)
    trials = draw_trials(spk2utt, genders, SETTINGS, 0, "trials")
    speaker = {utterance: name for name, ids in spk2utt.items() for utterance in ids}
    pairs = [row[:2] for row in rows_of(trials)]
    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all(len(set(pair)) == 2 for pair in pairs)
    check_trials("drawn", trials, speaker)
    assert trials.target.sum() == 8 * 5
    assert (~trials.target).sum() == 8 * 10
    impostors = [pair for pair, target in zip(pairs, trials.target, strict=True) if not target]
    same_sex = sum(e[0] == t[0] for e, t in impostors)
    assert same_sex >= 0.8 * len(impostors)
    assert {speaker[e] for e, _ in impostors} == set(spk2utt)


def test_all_target_pairs_where_no_number_is_given():
    spk2utt, genders = people(4, 5)
    trials = draw_trials(spk2utt, genders, DrawSettings(1, None, 3, 0.5), 0, "trials")
    drawn = {frozenset(row[:2]) for row in rows_of(trials) if row[2]}
    assert drawn == {frozenset(pair) for ids in spk2utt.values() for pair in combinations(ids, 2)}


def test_draws_depend_on_seed_and_name_alone():
    spk2utt, genders = people(6, 4)
    first, again, named, seeded = (
        rows_of(draw_trials(spk2utt, genders, SETTINGS, seed, name))
        for seed, name in ((0, "trials"), (0, "trials"), (0, "hard"), (1, "trials"))
    )
    assert first == again
    assert first != named
    assert first != seeded


def test_drawn_utterance_pairs_are_those_of_the_first_release():
    spk2utt, genders = people(4, 3)
    settings = DrawSettings(1, targets_per_speaker=2, nontargets_per_speaker=2, same_sex=0.5)
    drawn = rows_of(draw_trials(spk2utt, genders, settings, 7, "pinned"))
    assert [f"{enrol} {test}" for enrol, test, target in drawn if target] == [
        *("f00-0 f00-1", "f00-0 f00-2", "f02-0 f02-1", "f02-0 f02-2"),
        *("m01-0 m01-1", "m01-1 m01-2", "m03-0 m03-1", "m03-0 m03-2"),
    ]
    assert [f"{enrol} {test}" for enrol, test, target in drawn if not target] == [
        *("f00-0 f02-0", "f00-2 m03-0", "f02-2 f00-2", "f02-2 m01-0"),
        *("m01-1 f02-1", "m01-2 m03-2", "m03-0 m01-0", "m03-0 m01-1"),
    ]


def test_impossible_draws_are_refused():
    spk2utt, genders = people(3, 2)
    with pytest.raises(ConfigError, match=r"trials\.\w+: only 0 of 10 non-targets found for speaker m01"):
        draw_trials({"m01": spk2utt["m01"]}, genders, SETTINGS, 0, "trials")
    with pytest.raises(ConfigError, match="lower nontargets_per_speaker"):
        draw_trials(spk2utt, genders, SETTINGS, 0, "trials")
    with pytest.raises(ConfigError, match=r"trials.hard.same_sex: needs spk2gender"):
        draw_trials(spk2utt, {}, SETTINGS, 0, "hard")
