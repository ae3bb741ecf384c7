"""An epoch has every view once, a batch depends on its step alone, and masks stay within their bounds."""

from itertools import chain

import numpy as np
import pytest
import torch

from spkdistill.arks import ArkReader
from spkdistill.errors import DataError
from spkdistill.files import write_text
from spkdistill.training.data import SpecAugmentSettings, Targets, TrainingData, bands, mask
from spkdistill.views import read_views

MASKS = SpecAugmentSettings(time_masks=2, time_width=5, frequency_masks=1, frequency_width=3)


def open_data(corpus, batch_size=16, spec_augment=None, targets=(), seed=0, stage="train t"):
    """The data of a training."""
    return TrainingData(corpus.inputs, targets, batch_size, spec_augment, seed, stage)


def ids_of(data, steps, of="view"):
    """Ids of some steps' views, or of their utterances, through the targets that are asked for."""
    asked = []
    read = lambda ids: asked.append(list(ids)) or np.zeros((len(ids), 1), np.float32)  # noqa: E731
    data.targets = (Targets(read, [1], of),)
    for step in steps:
        data.batch(step)
    return asked


@pytest.mark.parametrize("batch_size", [1, 7, 16, 71, 72, 500])
def test_an_epoch_has_every_view_once(corpus, batch_size):
    data = open_data(corpus, batch_size)
    per_epoch = data.steps_per_epoch
    batches = ids_of(data, range(2 * per_epoch))
    first, second = (list(chain(*part)) for part in (batches[:per_epoch], batches[per_epoch:]))
    assert sorted(first) == sorted(second) == data.views.ids
    assert first != second
    assert min(map(len, batches)) >= min(batch_size, 72)


def test_a_batch_depends_on_its_step_seed_and_stage_alone(corpus):
    late = open_data(corpus, spec_augment=MASKS).batch(7)
    data = open_data(corpus, spec_augment=MASKS)
    in_order = list(data.batches(5, 9))
    assert len(in_order) == 4
    assert torch.equal(in_order[2].features, late.features)
    assert torch.equal(in_order[2].labels, late.labels)
    for other in ({"seed": 1}, {"stage": "train s"}):
        assert not torch.equal(
            open_data(corpus, spec_augment=MASKS, **other).batch(7).features, late.features
        )


def test_rows_of_a_batch_belong_together(corpus):
    logits = ArkReader(corpus.targets["logits"])
    data = open_data(corpus, targets=(Targets(logits.gather, [6], "view"),))
    batch = data.batch(3)
    chosen = np.array_split(data.permutation(0), data.steps_per_epoch)[3]
    views = read_views(corpus.inputs.views)
    for row, index in enumerate(chosen):
        assert torch.equal(batch.features[row], torch.from_numpy(data.reader.crop(index)))
        assert int(batch.labels[row]) == int(views.speakers[index][1])
        assert torch.equal(batch.targets[0][row], torch.from_numpy(logits[views.ids[index]]))


def test_targets_of_utterances_are_asked_for_by_each_view_of_theirs(corpus):
    data = open_data(corpus)
    steps = range(data.steps_per_epoch)
    views, utterances = ids_of(data, steps), ids_of(data, steps, of="utterance")
    assert [[view.rpartition("-v")[0] for view in step] for step in views] == utterances


def test_no_batches_are_left_after_the_last_step(corpus):
    assert list(open_data(corpus).batches(12, 12)) == []


def test_an_error_of_the_reading_thread_reaches_the_loop(corpus):
    def fail(ids):
        raise DataError("logits.scp: damaged")

    with pytest.raises(DataError, match=r"logits\.scp: damaged"):
        list(open_data(corpus, targets=(Targets(fail, [6], "view"),)).batches(0, 3))


def test_a_speaker_without_a_class_is_an_error(corpus, tmp_path):
    write_text(tmp_path / "speakers", "s0\ns1\ns2\n")
    with pytest.raises(DataError, match=r"speaker s3 .* rerun the views stage"):
        open_data(corpus._replace(inputs=corpus.inputs._replace(speakers=tmp_path / "speakers")))


def test_a_single_speaker_is_refused(corpus, tmp_path):
    write_text(tmp_path / "speakers", "s0\n")
    with pytest.raises(DataError, match=r"speakers: one speaker; training needs two at least"):
        open_data(corpus._replace(inputs=corpus.inputs._replace(speakers=tmp_path / "speakers")))


def test_masks_zero_whole_bands_no_wider_than_allowed():
    features = np.ones((200, 30, 8), np.float32)
    mask(features, MASKS, np.random.default_rng(0), np.arange(200), 200)
    rows, columns = (features == 0).all(2).sum(1), (features == 0).all(1).sum(1)
    assert rows.max() == 10  # two of five
    assert columns.max() == 3
    assert np.array_equal((features == 0).sum((1, 2)), 8 * rows + 30 * columns - rows * columns)
    assert rows.mean() == pytest.approx(2 * 2.5, abs=0.6)  # less where two meet


def test_bands_reach_both_ends_and_fit_a_short_crop():
    hit = bands(2000, 10, 1, 3, np.random.default_rng(0)).sum(0)
    assert hit.min() > 0
    assert bands(50, 4, 1, 100, np.random.default_rng(0)).sum(1).max() == 4
    assert not bands(5, 10, 0, 3, np.random.default_rng(0)).any()
