"""Distillation from the cache is distillation with the teacher run beside the student, step for step."""

import numpy as np
import pytest
import torch

from spkdistill.distill import targets
from spkdistill.distill.objectives import build_objectives
from spkdistill.distill.targets import PartFiles, TeacherFiles, answers, dump_shard, load_teacher
from spkdistill.models.aggregators import AggregatorSettings, build_aggregators
from spkdistill.models.build import build_head, build_model
from spkdistill.models.store import save, save_aggregators
from spkdistill.settings import build
from spkdistill.training import loop
from spkdistill.training.data import Targets, TrainingData
from spkdistill.training.networks import build_task, open_targets
from spkdistill.training.settings import TrainingSettings
from spkdistill.views import ViewReader, read_views

MODEL = {"arch": "xvector", "channels": 24, "pooling_channels": 32, "embedding": 12}
HEAD = {"kind": "aam", "scale": 16.0, "margin": 0.1}
AGGREGATORS = {"embedding": 22, "components": 3}
STUDENT = {
    "arch": "fc8",
    "channels": 16,
    "layers": 3,
    "embedding": 12 + 32,
}  # xvector and wide_bn, or 22 + 22
MULTILEVEL = {
    "objective": "multilevel",
    "weight": 1,
    "classification_weight": 0.5,
    "targets": ["xvector", "wide_bn"],
    "mean_norm": True,
    "targets_of": "view",
    "form": "concat",
}
KD = {"objective": "kd", "temperature": 4, "weight": 1, "classification_weight": 1, "warmup_epochs": 0}
KD |= {"kd_logits": "plain", "standardise": False}
AGGREGATED = {**MULTILEVEL, "targets": ["sp_aggr", "lde_aggr"], "mean_norm": False}
DISTIL = {
    "multilevel": MULTILEVEL,
    "heads": {**MULTILEVEL, "form": "heads"},
    "aggregated": AGGREGATED,
    "kd": KD,
}


@pytest.fixture
def teacher(tmp_path) -> TeacherFiles:
    """The files of a small teacher, whose BN has seen data, with its aggregators."""
    torch.manual_seed(0)
    model = build_model(MODEL, 8)
    model(torch.randn(32, 40, 8))
    names = ("model", "config", "aggregators", "aggregators_config")
    files = TeacherFiles(*(tmp_path / name for name in names))
    config = {"model": MODEL, "feature_dim": 8, "head": HEAD, "speakers": [f"s{n}" for n in range(6)]}
    save(files.model, files.config, model, build_head(HEAD, 12, 6), config)
    aggregators = build_aggregators(AggregatorSettings(**AGGREGATORS), model.layer_dims)
    save_aggregators(files.aggregators, files.aggregators_config, aggregators, {"aggregators": AGGREGATORS})
    return files


def cached(folder, teacher, corpus, parts) -> dict:
    """The teacher's targets as `dump` writes them: {part: scp}."""
    files = {
        part: PartFiles(*(folder / f"{part}.{kind}" for kind in ("ark", "scp", "json"))) for part in parts
    }
    dump_shard(teacher, corpus.inputs.views, corpus.inputs.features, "view", "float32", 1, 1, files, 1)
    return {part: paths.scp for part, paths in files.items()}


def in_the_loop(teacher, corpus, parts, mean_norm, at_once) -> Targets:
    """Targets that the teacher gives when they are asked for, `at_once` views in one pass of it."""
    networks = load_teacher(teacher, parts, torch.device("cpu"), trust=False)
    reader = ViewReader(read_views(corpus.inputs.views), corpus.inputs.features)
    places = {view: place for place, view in enumerate(reader.views.ids)}

    def ask(views):
        batches = [views[start : start + at_once] for start in range(0, len(views), at_once)]
        crops = [torch.from_numpy(reader.batch([places[view] for view in batch])) for batch in batches]
        found = [answers(networks, crop, parts) for crop in crops]
        return [torch.cat([batch[part] for batch in found]).numpy() for part in parts]

    every = ask(reader.views.ids)
    means = [part.mean(0, dtype=np.float64).astype(np.float32) if mean_norm else 0 for part in every]

    def normalised(views):
        vectors = [part - mean for part, mean in zip(ask(views), means, strict=True)]
        if parts == ["logits"]:
            return vectors[0]
        return np.concatenate([v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors], axis=1)

    return Targets(normalised, [part.shape[1] for part in every], "view")


def trained(folder, corpus, training, distil, found: Targets, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """The losses of every step, and the final weights end to end."""
    settings = build(TrainingSettings, training, "training")
    data = TrainingData(corpus.inputs, (found,), settings.batch_size, settings.spec_augment, 0, "train t")
    torch.manual_seed(0)
    task = build_task(STUDENT, HEAD, build_objectives(distil, "distil"), data)
    losses, update = [], loop.update

    def recording(*arguments):
        terms = update(*arguments)
        losses.append(float(terms["loss"].detach()))
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(loop, "update", recording)
        loop.train(task, data, settings, "t", folder, "identity")
    return np.array(losses), torch.cat([weights.flatten() for weights in task.parameters()]).detach().numpy()


@pytest.mark.parametrize("name", DISTIL)
@pytest.mark.parametrize("company", ["alone", "as dumped"])
def test_the_cache_teaches_what_the_teacher_in_the_loop_does(
    tmp_path, corpus, training, teacher, monkeypatch, name, company
):
    """Losses and weights are equal to the bit where the teacher sees each view in the same company.

    As it is dumped, 64 views at once in the order of the list, and not the shuffled 18 of a step, a matrix
    product may sum in another order on some processor: 1e-6 allows for the last bits (6e-8) of the targets.
    """
    distil = DISTIL[name]
    training |= {"learning_rate": 0.003, "epochs": 2}
    if company == "alone":
        monkeypatch.setattr(targets, "BATCH", 1)
    parts = list(distil.get("targets", ["logits"]))
    scps = cached(tmp_path, teacher, corpus, parts)
    (offline,) = open_targets(build_objectives(distil, "distil"), scps, "t")
    at_once = 1 if company == "alone" else 10**6
    live = in_the_loop(teacher, corpus, parts, distil.get("mean_norm", False), at_once)
    one, other = (
        trained(tmp_path / kind, corpus, training, distil, found, monkeypatch)
        for kind, found in (("offline", offline), ("live", live))
    )
    assert len(one[0]) == 8
    if company == "alone":
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], other[0], rtol=1e-6)
    assert np.linalg.norm(one[1] - other[1]) < 1e-6 * np.linalg.norm(one[1])
