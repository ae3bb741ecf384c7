"""Views do not depend on order or on other utterances, and a crop is the rows that views.tsv says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkdistill import views as room
from spkdistill.arks import write_archive
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv, write_text, write_tsv
from spkdistill.views import ViewReader, ViewSettings, make_views, read_views, write_views

SETTINGS = ViewSettings(frames=20, per_utterance=3, min_frames=10, min_utterances=2)
FRAMES = {"a-1": 20, "a-2": 50, "b-1": 11, "b-2": 300, "b-3": 9, "c-1": 100, "d-1": 9, "d-2": 9}
SPEAKER = {utterance: utterance[0] for utterance in FRAMES}


def test_short_utterances_and_lonely_speakers_are_rejected_with_the_reason():
    views, rejected = make_views(FRAMES, SPEAKER, SETTINGS, 0)
    assert set(views.utterances) == {"a-1", "a-2", "b-1", "b-2"}
    assert dict(rejected).keys() == {"b-3", "c-1", "d-1", "d-2"}
    assert "9 voiced frames, fewer than 10" in dict(rejected)["b-3"]
    assert "speaker c has 1 utterances, fewer than 2" in dict(rejected)["c-1"]


@given(st.permutations(sorted(FRAMES)), st.integers(0, 2**31))
def test_a_view_depends_neither_on_order_nor_on_other_utterances(order, seed):
    whole, _ = make_views(FRAMES, SPEAKER, SETTINGS, seed)
    shuffled, _ = make_views({utterance: FRAMES[utterance] for utterance in order}, SPEAKER, SETTINGS, seed)
    part, _ = make_views({"b-1": 11, "b-2": 300}, SPEAKER, SETTINGS, seed)
    first = dict(zip(whole.ids, whole.first, strict=True))
    assert whole.ids == shuffled.ids == sorted(whole.ids)
    assert np.array_equal(whole.first, shuffled.first)
    assert [first[view] for view in part.ids] == part.first.tolist()


def test_crops_reach_every_first_frame_and_none_outside():
    frames = {f"s-{number:04d}": 24 for number in range(2000)}
    views, _ = make_views(frames, dict.fromkeys(frames, "s"), SETTINGS, 1)
    counts = np.bincount(views.first)
    assert len(counts) == 5  # 24 - 20 + 1 places
    assert counts.min() > 1000  # 6,000 views: 1,200 expected, standard deviation 31


def test_views_read_back_as_they_were_written(tmp_path):
    views, _ = make_views(FRAMES, SPEAKER, SETTINGS, 3)
    write_views(tmp_path / "views.tsv", views)
    again = read_views(tmp_path / "views.tsv")
    assert (again.ids, again.utterances, again.speakers) == (views.ids, views.utterances, views.speakers)
    for name in ("first", "frames", "utterance_frames"):
        assert np.array_equal(getattr(again, name), getattr(views, name))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b-v00\tb\ts\t0\t20\t30\na-v00\ta\ts\t0\t20\t30", ":3: view a-v00 is not after b-v00"),
        ("a-v00\ta\ts\t0\t20\t30\na-v00\ta\ts\t0\t20\t30", ":3: view a-v00 is not after a-v00"),
        ("a-v00\ta\ts\t0\tx\t30", "x"),
        ("a-v00\ta\ts\t30\t20\t30", ":2: view a-v00 starts outside"),
        ("a-v00\ta\ts\t0\t20", ":2: expected 6"),
    ],
)
def test_a_damaged_views_file_names_the_line(tmp_path, line, message):
    write_text(tmp_path / "views.tsv", "\t".join(room.COLUMNS) + "\n" + line + "\n")
    with pytest.raises(DataError, match=message):
        read_views(tmp_path / "views.tsv")


def test_the_stage_writes_views_speakers_and_rejections(tmp_path):
    write_text(tmp_path / "frames", "".join(f"{key} {value}\n" for key, value in FRAMES.items()))
    write_text(tmp_path / "utt2spk", "".join(f"{key} {value}\n" for key, value in SPEAKER.items()))
    outputs = tmp_path / "views.tsv", tmp_path / "speakers", tmp_path / "rejected.tsv"
    room.views_stage(tmp_path / "frames", tmp_path / "utt2spk", SETTINGS, 0, *outputs)
    assert room.read_speakers(tmp_path / "speakers") == ["a", "b"]
    assert len(read_views(tmp_path / "views.tsv")) == 12
    assert len(read_tsv(tmp_path / "rejected.tsv", ["utterance", "reason"])) == 4


def test_no_view_left_is_an_error_that_points_to_the_rejections(tmp_path):
    write_text(tmp_path / "frames", "c-1 100\n")
    write_text(tmp_path / "utt2spk", "c-1 c\n")
    outputs = tmp_path / "views.tsv", tmp_path / "speakers", tmp_path / "rejected.tsv"
    with pytest.raises(DataError, match=r"rejected\.tsv"):
        room.views_stage(tmp_path / "frames", tmp_path / "utt2spk", SETTINGS, 0, *outputs)
    assert outputs[2].exists()
    assert not outputs[0].exists()


def write_features(folder, frames=FRAMES, compression="none"):
    """voiced.scp with a matrix of random rows an utterance, and the matrices."""
    from spkdistill.arks import ArkWriter

    random = np.random.default_rng(0)
    features = {key: random.normal(size=(length, 4)).astype(np.float32) for key, length in frames.items()}
    with ArkWriter(folder / "voiced.ark", folder / "voiced.scp", compression) as writer:
        for key in sorted(features):
            writer.write(key, features[key])
    return folder / "voiced.scp", features


def test_a_crop_is_the_rows_of_the_view_and_short_utterances_repeat(tmp_path):
    scp, features = write_features(tmp_path)
    views, _ = make_views(FRAMES, SPEAKER, SETTINGS, 5)
    batch = ViewReader(views, scp).batch(range(len(views)))
    assert batch.dtype == np.float32
    assert batch.shape == (12, 20, 4)
    for crop, utterance, first in zip(batch, views.utterances, views.first, strict=True):
        rows = (first + np.arange(20)) % FRAMES[utterance]
        assert np.array_equal(crop, features[utterance][rows])


def test_features_of_another_length_than_the_views_say_are_an_error(tmp_path):
    scp, _ = write_features(tmp_path, {**FRAMES, "a-2": 51})
    views, _ = make_views(FRAMES, SPEAKER, SETTINGS, 5)
    with pytest.raises(DataError, match=r"a-2: features are .*rerun the views stage"):
        ViewReader(views, scp).batch(range(len(views)))


def test_an_utterance_without_features_is_an_error(tmp_path):
    scp, _ = write_features(tmp_path, {key: value for key, value in FRAMES.items() if key != "b-2"})
    views, _ = make_views(FRAMES, SPEAKER, SETTINGS, 5)
    with pytest.raises(DataError, match="b-2: no features"):
        ViewReader(views, scp)


def test_one_speaker_alone_is_refused(tmp_path):
    write_text(tmp_path / "frames", "a-1 50\na-2 50\nb-1 5\n")
    write_text(tmp_path / "utt2spk", "a-1 a\na-2 a\nb-1 b\n")
    outputs = [tmp_path / name for name in ("views.tsv", "speakers", "rejected.tsv")]
    with pytest.raises(DataError, match="speaker a alone is left"):
        room.views_stage(tmp_path / "frames", tmp_path / "utt2spk", SETTINGS, 0, *outputs)
    assert [path.exists() for path in outputs] == [False, False, True]


@pytest.mark.parametrize("change", [{"frames": 0}, {"per_utterance": 0}])
def test_views_of_nothing_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(SETTINGS, **change)


def test_features_that_are_none_are_named(tmp_path):
    views, _ = make_views(FRAMES, SPEAKER, SETTINGS, 0)
    vectors = [(utterance, np.ones(20, np.float32)) for utterance in sorted(FRAMES)]
    write_archive(f"ark,scp:{tmp_path}/v.ark,{tmp_path}/v.scp", vectors)
    with pytest.raises(DataError, match=r"v.scp:a-1: shape \(20,\), where features"):
        ViewReader(views, tmp_path / "v.scp")


@pytest.mark.parametrize(
    ("column", "value"),
    [("frames", 2**40), ("frames", 4), ("first", 10**30), ("frames", "1e999"), ("utterance_frames", "nan")],
)
def test_absurd_numbers_in_views_are_refused(tmp_path, column, value):
    rows = [dict(zip(room.COLUMNS, [view, "u", "s", 0, 5, 9], strict=True)) for view in "ab"]
    write_tsv(tmp_path / "v.tsv", room.COLUMNS, [list(row.values()) for row in rows])
    rows[1][column] = value
    write_tsv(tmp_path / "bad.tsv", room.COLUMNS, [list(row.values()) for row in rows])
    assert len(read_views(tmp_path / "v.tsv")) == 2
    with pytest.raises(DataError, match=r"bad\.tsv"):
        read_views(tmp_path / "bad.tsv")


def test_a_header_of_very_many_columns_is_refused_before_pandas_names_them(tmp_path, monkeypatch):
    (tmp_path / "v.tsv").write_text("\t".join(room.COLUMNS) + "\tmore" * 100_000 + "\n")
    monkeypatch.setattr("pandas.read_csv", lambda *_, **__: pytest.fail("pandas was asked"))
    with pytest.raises(DataError, match=r"v\.tsv:1: expected the header"):
        read_views(tmp_path / "v.tsv")


def test_a_number_of_frames_of_thousands_of_digits_is_refused(tmp_path):
    write_text(tmp_path / "frames", f"a {'1' * 5000}\n")
    with pytest.raises(DataError, match="expected a number of frames"):
        room.read_num_frames(tmp_path / "frames")
