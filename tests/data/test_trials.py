"""Trials: both forms on disk, and lists drawn without a pair twice."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.data.trials import DrawSettings, Trials, check_trials, draw_trials, read_trials, write_trials
from spkdistill.errors import ConfigError, DataError

UTT2SPK = {"a-1": "a", "a-2": "a", "b-1": "b"}
SETTINGS = DrawSettings(targets_per_speaker=5, nontargets_per_speaker=10, same_sex=0.8)


def people(speakers: int, utterances: int) -> tuple[dict[str, list[str]], dict[str, str]]:
    names = [f"{'fm'[i % 2]}{i:02d}" for i in range(speakers)]
    return {name: [f"{name}-{i}" for i in range(utterances)] for name in names}, {n: n[0] for n in names}


@pytest.mark.parametrize("text", ["1 a-1 a-2\n0 a-1 b-1\n", "a-1 a-2 target\na-1 b-1 nontarget\n"])
def test_both_forms_read_the_same(tmp_path, text):
    (tmp_path / "trials").write_text(text)
    trials = read_trials(tmp_path / "trials")
    assert (trials.enrol, trials.test, trials.target.tolist()) == (
        ["a-1", "a-1"],
        ["a-2", "b-1"],
        [True, False],
    )
    write_trials(tmp_path / "copy", trials)
    assert (tmp_path / "copy").read_text() == "a-1 a-2 target\na-1 b-1 nontarget\n"


ids = st.text("ab01-", min_size=1, max_size=6)


@given(st.lists(st.tuples(ids, ids, st.booleans()), min_size=1))
def test_kaldi_form_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("trials") / "trials"
    trials = Trials([r[0] for r in rows], [r[1] for r in rows], np.array([r[2] for r in rows]))
    write_trials(path, trials)
    again = read_trials(path)
    assert list(zip(again.enrol, again.test, again.target.tolist(), strict=True)) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a-1 a-2 target\na-1 b-1\n", r"trials:2: expected `enrol test target\|nontarget`, found 'a-1 b-1'"),
        ("a-1 a-2 target\n0 a-1 b-1\n", "trials:2: expected `enrol test"),
        ("1 a-1 a-2\n2 a-1 b-1\n", r"trials:2: expected `1\|0 enrol test`"),
        ("1 a-1\na-2 0 a-1 b-1\n", "trials:1: expected"),
        ("", "trials: the file is empty"),
    ],
)
def test_bad_line_is_named(tmp_path, text, message):
    (tmp_path / "trials").write_text(text)
    with pytest.raises(DataError, match=message):
        read_trials(tmp_path / "trials")


def test_unknown_utterance_and_contradiction_are_named():
    good = Trials(["a-1", "a-1"], ["a-2", "b-1"], np.array([True, False]))
    check_trials("t", good, UTT2SPK)
    with pytest.raises(DataError, match="t:2: utterance b-1 is not in utt2spk"):
        check_trials("t", good, {"a-1": "a", "a-2": "a"})
    with pytest.raises(DataError, match="t:2: target, but utt2spk gives the speakers a and b"):
        check_trials("t", Trials(good.enrol, good.test, np.array([True, True])), UTT2SPK)


def test_drawn_trials_are_what_was_asked_for():
    spk2utt, genders = people(8, 6)
    trials = draw_trials(spk2utt, genders, SETTINGS, 0, "trials")
    speaker = {utterance: name for name, ids in spk2utt.items() for utterance in ids}
    pairs = list(zip(trials.enrol, trials.test, strict=True))
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
    trials = draw_trials(spk2utt, genders, DrawSettings(None, 3, 0.5), 0, "trials")
    drawn = {
        frozenset(p)
        for p, t in zip(zip(trials.enrol, trials.test, strict=True), trials.target, strict=True)
        if t
    }
    assert drawn == {frozenset(pair) for ids in spk2utt.values() for pair in combinations(ids, 2)}


def test_draws_depend_on_seed_and_name_alone():
    spk2utt, genders = people(6, 4)
    first, again, named, seeded = (
        draw_trials(spk2utt, genders, SETTINGS, seed, name).test
        for seed, name in ((0, "trials"), (0, "trials"), (0, "hard"), (1, "trials"))
    )
    assert first == again
    assert first != named
    assert first != seeded


def test_impossible_draws_are_refused():
    spk2utt, genders = people(3, 2)
    with pytest.raises(ConfigError, match="only 0 of 10 non-targets found for speaker m01"):
        draw_trials({"m01": spk2utt["m01"]}, genders, SETTINGS, 0, "trials")
    with pytest.raises(ConfigError, match="lower nontargets_per_speaker"):
        draw_trials(spk2utt, genders, SETTINGS, 0, "trials")
    with pytest.raises(ConfigError, match=r"trials.hard.same_sex: needs spk2gender"):
        draw_trials(spk2utt, {}, SETTINGS, 0, "hard")
