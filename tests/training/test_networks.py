"""Teachers and students learn, students without a teacher, and a broken training ends in the same bytes."""

import os
import signal
import time
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from spkdistill.arks import ArkWriter
from spkdistill.distill.objectives import Moment, build_objective, build_objectives
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_json, read_text
from spkdistill.models import device, store
from spkdistill.models.build import build_head, build_model
from spkdistill.training import checkpoint, loop, networks
from spkdistill.training.data import Batch
from spkdistill.training.loop import Interrupted
from spkdistill.training.networks import train_network
from spkdistill.views import read_views

LOGITS = {
    "temperature": 4,
    "weight": 0.5,
    "classification_weight": 1,
    "warmup_epochs": 0,
    "kd_logits": "plain",
}
KD = {**LOGITS, "objective": "kd", "standardise": False}
TAU = {"start": 1.0, "end": 0.05, "from": 0.1, "to": 0.5, "unit": "training", "gamma": 0.001}
TEACHER_HEAD = {"kind": "aam", "scale": 32.0, "margin": 0.2}
DISTIL = {
    "kd": KD,
    "dkd": {**KD, "objective": "dkd", "alpha": 1, "beta": 2},
    "nte": {**LOGITS, "objective": "nte", "gamma": 2, "kd_logits": "margin", "teacher_head": TEACHER_HEAD},
    "gkd": {**LOGITS, "objective": "gkd", "size": 3, "alpha": 1, "beta": 2},
    "dist": {**LOGITS, "objective": "dist", "beta": 1, "gamma": 1},
    "trkd": {
        **LOGITS,
        "objective": "trkd",
        "lambda_m": 1,
        "lambda_f": 2,
        "lambda_b": 0,
        "mass_term": "tmkd",
        "class_term": "cfkd",
        "tau": TAU,
        "mass": "renormalised",
        "t_squared": True,
    },
    "embedding": {
        "objective": "embedding",
        "weight": 1,
        "classification_weight": 1,
        "targets": ["xvector"],
        "targets_of": "view",
        "distance": "mse",
    },
    "multilevel": {
        "objective": "multilevel",
        "weight": 1,
        "classification_weight": 0,
        "targets": ["xvector", "wide_bn"],
        "mean_norm": True,
        "targets_of": "view",
        "form": "concat",
    },
}
DISTIL["standardised"] = {**DISTIL["dkd"], "standardise": True}
DISTIL["ablation"] = {**DISTIL["trkd"], "mass_term": "tckd", "class_term": "nckd", "lambda_b": 1, "tau": 0.3}
DISTIL["cosine"] = {**DISTIL["embedding"], "distance": "cosine"}
DISTIL["heads"] = {**DISTIL["multilevel"], "form": "heads"}
DISTIL["sum"] = {"objective": "sum", "of": [DISTIL["trkd"], DISTIL["heads"]]}
TERMS = {
    "kd": ["kd"],
    "dkd": ["tckd", "nckd"],
    "standardised": ["nckd"],
    "nte": ["nckd"],
    "gkd": ["within_group"],
    "dist": ["inter_class", "intra_class"],
    "trkd": ["cfkd"],
    "ablation": ["nckd", "bgkd"],
    "embedding": ["embedding_mse"],
    "cosine": ["embedding_cosine"],
    "multilevel": ["cosine_distance"],
    "heads": ["cosine_distance", "xvector_distance", "wide_bn_distance"],
    "sum": ["classification", "cfkd", "xvector_distance"],
}


class Places:
    """Where a training of a test writes."""

    def __init__(self, folder):
        self.work = folder / "work"
        names = "model.safetensors", "config.json", "log.tsv"
        self.files = loop.Outputs(*(folder / name for name in names))

    def bytes(self):
        """The contents of all outputs."""
        return [path.read_bytes() for path in self.files]


@pytest.fixture
def run(corpus):
    """Train in a folder; targets only for a student."""

    def train(settings, folder, seed=0, targets=corpus.targets):
        outputs = Places(folder)
        targets = targets if settings.get("distil") else {}
        where = outputs.work, outputs.files
        train_network(settings, {"kind": "mfcc"}, corpus.inputs, targets, seed, "t", *where)
        return outputs

    return train


def rows(path):
    """A log as a dict of columns."""
    header, *lines = [line.split("\t") for line in read_text(path).splitlines()]
    return dict(zip(header, np.array(lines, dtype=float).T, strict=True))


def test_a_teacher_learns_its_speakers_and_can_be_loaded(run, settings, tmp_path, corpus):
    outputs = run({**settings, "training": {**settings["training"], "epochs": 10}}, tmp_path)
    log = rows(outputs.files[2])
    assert log["epoch"].tolist() == list(range(1, 11))
    assert log["accuracy"][-1] > 0.9 > log["accuracy"][0]
    assert log["loss"][-1] < 0.5 * log["loss"][0]
    assert log["learning_rate"][-1] == pytest.approx(0.001)
    model, head, config = store.load(*outputs.files[:2])
    assert config["speakers"] == [f"s{number}" for number in range(6)]
    assert config["feature_settings"] == {"kind": "mfcc"}
    assert head.plain(model(torch.zeros(2, 24, 8))).shape == (2, 6)
    assert not outputs.work.exists()


@pytest.mark.parametrize("name", DISTIL)
def test_a_student_learns_from_the_cache(run, settings, tmp_path, name):
    student = {**settings, "model": {"arch": "fc8", "channels": 8, "layers": 2, "embedding": 8}}
    student |= {"distil": DISTIL[name], "training": {**settings["training"], "epochs": 8}}
    log = rows(run(student, tmp_path).files[2])
    for term in TERMS[name]:
        assert log[term][-1] < 0.9 * log[term][0]
    if name == "trkd":
        assert log["tau"][-1] == pytest.approx(0.05095, abs=1e-4)
        assert log["confusion_size"][0] > log["confusion_size"][-1] >= 1
        whole = log["p_target"] + log["p_confusion"] + log["p_background"]
        assert whole == pytest.approx(np.ones(8), abs=1e-5)


def test_a_multilevel_student_has_the_size_of_its_targets_and_no_head(run, settings, tmp_path):
    outputs = run({**settings, "distil": DISTIL["multilevel"]}, tmp_path)
    model, head, config = store.load(*outputs.files[:2])
    assert head is None
    assert model.embedding_dim == config["model"]["embedding"] == 9
    assert "accuracy" not in rows(outputs.files[2])


def test_a_student_with_heads_keeps_its_trunk_alone(run, settings, tmp_path):
    outputs = run({**settings, "distil": DISTIL["heads"]}, tmp_path)
    model, head, config = store.load(*outputs.files[:2])
    assert head is None
    assert model.embedding_dim == config["model"]["embedding"] == settings["model"]["embedding"] == 8
    with_heads = config["cost"]["parameters_with_head"] - config["cost"]["parameters"]
    assert with_heads == (8 + 1) * 4 + (8 + 1) * 5


def test_the_loss_of_heads_is_the_mean_of_their_distances(run, settings, tmp_path):
    training = {**settings["training"], "epochs": 8}
    log = rows(run({**settings, "training": training, "distil": DISTIL["heads"]}, tmp_path).files[2])
    mean = (log["xvector_distance"] + log["wide_bn_distance"]) / 2
    assert log["cosine_distance"] == pytest.approx(mean, abs=1e-5)
    assert log["loss"] == pytest.approx(log["cosine_distance"], abs=1e-5)


@pytest.mark.parametrize("name", ["multilevel", "heads"])
@pytest.mark.parametrize("weight", [0, 0.5])
def test_a_multilevel_objective_is_alone_or_beside_the_classification(run, settings, tmp_path, name, weight):
    distil = {**DISTIL[name], "classification_weight": weight}
    outputs = run({**settings, "distil": distil}, tmp_path)
    log, (model, head, _) = rows(outputs.files[2]), store.load(*outputs.files[:2])
    assert ("classification" in log) == (head is not None) == (weight > 0)
    expected = log["cosine_distance"] + (weight * log["classification"] if weight else 0)
    assert log["loss"] == pytest.approx(expected, abs=1e-4)
    assert model.embedding_dim == (8 if name == "heads" else 9)


def test_without_mean_normalisation_a_student_learns_other_targets(run, settings, tmp_path):
    bytes_of = [
        run({**settings, "distil": {**DISTIL["heads"], "mean_norm": mean_norm}}, tmp_path / str(mean_norm))
        .files[0]
        .read_bytes()
        for mean_norm in (True, False)
    ]
    assert bytes_of[0] != bytes_of[1]


def test_a_target_of_an_utterance_is_learnt_by_each_of_its_views(run, settings, tmp_path, corpus):
    """The same target for every view of an utterance, once under its name and once under each view's."""
    views, random = read_views(corpus.inputs.views), np.random.default_rng(0)
    vectors = {u: random.normal(size=4).astype(np.float32) for u in sorted(set(views.utterances))}
    with ArkWriter(tmp_path / "u.ark", tmp_path / "u.scp") as writer:
        for utterance, vector in vectors.items():
            writer.write(utterance, vector)
    with ArkWriter(tmp_path / "v.ark", tmp_path / "v.scp") as writer:
        for view, utterance in zip(views.ids, views.utterances, strict=True):
            writer.write(view, vectors[utterance])
    distil = {**DISTIL["heads"], "targets": ["layer:3"], "mean_norm": False}
    by_utterance, by_view = (
        run({**settings, "distil": {**distil, "targets_of": of}}, tmp_path / of, targets={"layer:3": scp})
        for of, scp in (("utterance", tmp_path / "u.scp"), ("view", tmp_path / "v.scp"))
    )
    assert by_utterance.files[0].read_bytes() == by_view.files[0].read_bytes()


def test_a_student_never_opens_a_teacher(run, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "read_weights", lambda *_: pytest.fail("weights were read"))
    run({**settings, "distil": DISTIL["trkd"]}, tmp_path)


def interrupt_at(monkeypatch, step, action):
    """Let `action` happen within the `step`-th update (from 0) of the next training."""
    update, count = loop.update, iter(range(10**6))

    def updating(*arguments):
        if next(count) == step:
            action()
        return update(*arguments)

    monkeypatch.setattr(loop, "update", updating)


def die():
    """An error that no one expects, as good as a lost machine."""
    raise RuntimeError("power cut")


@pytest.mark.parametrize("name", [None, "trkd", "heads"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_terminated_training_goes_on_to_the_same_bytes(
    run, settings, tmp_path, monkeypatch, name, optimizer
):
    settings["training"]["optimizer"] = optimizer
    if name:
        settings["distil"] = DISTIL[name]
    whole = run(settings, tmp_path / "whole").bytes()
    interrupt_at(monkeypatch, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="stopped at step 6 of 12; run again"):
        run(settings, tmp_path / "broken")
    assert not (tmp_path / "broken/model.safetensors").exists()
    monkeypatch.undo()
    assert run(settings, tmp_path / "broken").bytes() == whole
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_training_goes_on_from_its_last_whole_checkpoint(
    run, settings, tmp_path, monkeypatch, capsys, damaged
):
    whole = run(settings, tmp_path / "whole").bytes()
    interrupt_at(monkeypatch, 10, die)
    with pytest.raises(RuntimeError, match="power cut"):
        run(settings, tmp_path / "broken")
    monkeypatch.undo()
    if damaged:
        newest = max((tmp_path / "broken/work").glob("*.safetensors"))
        newest.write_bytes(newest.read_bytes()[:-9])
    assert run(settings, tmp_path / "broken").bytes() == whole
    assert f"going on from step {4 if damaged else 8}" in capsys.readouterr().err


def train_in(folder, settings, inputs):
    """A training for another process."""
    places = Places(folder)
    train_network(settings, {"kind": "mfcc"}, inputs, {}, 0, "t", places.work, places.files)


def test_a_training_killed_again_and_again_ends_in_the_same_bytes(run, settings, corpus, tmp_path):
    """A checkpoint at every step: many of the kills come while one is written."""
    settings["training"]["epochs"] = 40
    model, _, log = run(settings, tmp_path / "whole").bytes()
    settings["training"]["checkpoint_minutes"] = 1e-9
    context, random = get_context("forkserver"), np.random.default_rng(0)
    context.set_forkserver_preload(["spkdistill.training.networks"])
    for _ in range(8):
        before = checkpoint.newest_first(tmp_path / "killed/work")[:1]
        process = context.Process(target=train_in, args=(tmp_path / "killed", settings, corpus.inputs))
        process.start()
        while process.is_alive() and checkpoint.newest_first(tmp_path / "killed/work")[:1] == before:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert run(settings, tmp_path / "killed").bytes()[::2] == [model, log]


def test_checkpoints_come_as_often_as_asked_and_a_finished_one_only_writes(
    run, settings, tmp_path, monkeypatch
):
    settings["training"]["checkpoint_minutes"] = 1e-9
    saved = []
    save = networks.checkpoint.save
    monkeypatch.setattr(networks.checkpoint, "save", lambda *a: saved.append(a[2]) or save(*a))
    monkeypatch.setattr(networks, "save", lambda *_: die())
    with pytest.raises(RuntimeError, match="power cut"):
        run(settings, tmp_path)
    assert saved == list(range(1, 13))
    monkeypatch.undo()
    interrupt_at(monkeypatch, 0, die)  # no update is left to do
    first = run(settings, tmp_path).bytes()
    monkeypatch.undo()
    assert run(settings, tmp_path / "again").bytes() == first


def test_other_settings_start_anew(run, settings, tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, 10, die)
    with pytest.raises(RuntimeError):
        run(settings, tmp_path / "broken")
    monkeypatch.undo()
    settings["training"]["learning_rate"] = 0.02
    whole = run(settings, tmp_path / "whole").bytes()
    capsys.readouterr()
    assert run(settings, tmp_path / "broken").bytes() == whole
    assert "other settings" in capsys.readouterr().err


def test_the_seed_matters_and_nothing_else_does(run, settings, tmp_path):
    first, same = run(settings, tmp_path / "a"), run(settings, tmp_path / "b")
    other = run(settings, tmp_path / "c", seed=1)
    assert first.bytes() == same.bytes()
    assert first.bytes()[0] != other.bytes()[0]


def test_bfloat16_computes_something_close(run, settings, tmp_path):
    single = rows(run(settings, tmp_path / "a").files[2])
    settings["training"]["precision"] = "bfloat16"
    half = rows(run(settings, tmp_path / "b").files[2])
    assert half["loss"][0] == pytest.approx(single["loss"][0], rel=0.02)
    assert half["loss"][0] != single["loss"][0]


def test_auto_is_bfloat16_where_the_hardware_has_it(run, settings, tmp_path, monkeypatch):
    made = {}
    for native in (False, True):
        monkeypatch.setattr(device, "has_bfloat16", lambda _, native=native: native)
        for precision in ("auto", "float32", "bfloat16"):
            settings["training"]["precision"] = precision
            model, config, log = run(settings, tmp_path / f"{precision}{native}").files
            made[precision, native] = model.read_bytes(), log.read_bytes(), read_json(config)["precision"]
    assert made["auto", True] == made["bfloat16", True] == made["bfloat16", False]
    assert made["auto", False] == made["float32", False] == made["float32", True]
    assert (made["auto", True][2], made["auto", False][2]) == ("bfloat16", "float32")


def test_a_training_of_another_precision_is_not_gone_on_from(run, settings, tmp_path, monkeypatch):
    identities = []
    monkeypatch.setattr(networks, "train", lambda *arguments: identities.append(arguments[-1]) or loop.Log())
    for precision in ("auto", "float32", "bfloat16"):
        for native in (False, True):
            monkeypatch.setattr(device, "has_bfloat16", lambda _, native=native: native)
            settings["training"]["precision"] = precision
            run(settings, tmp_path / f"{precision}{native}")
    assert len(set(identities)) == 4  # auto is not float32 by name


def test_a_training_that_diverges_says_so(run, settings, tmp_path):
    settings["training"] |= {"optimizer": "sgd", "learning_rate": 1e30, "gradient_clip": None}
    settings["head"] = {"kind": "softmax", "hidden": 8}
    with pytest.raises(ConfigError, match=r"t: the loss is not finite in epoch .*learning_rate"):
        run(settings, tmp_path)


def test_a_softmax_head_sees_each_batch_once(run, settings, tmp_path):
    settings["head"] = {"kind": "softmax", "hidden": 8}
    _, head, _ = store.load(*run({**settings, "distil": KD}, tmp_path).files[:2])
    assert int(head.segment7_norm.num_batches_tracked) == 12


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"distil": {**DISTIL["multilevel"], "targets": ["lde_aggr"]}},
            ConfigError,
            "needs the targets lde_aggr",
        ),
        (
            {"distil": {**DISTIL["multilevel"], "targets": ["xvectr"]}},
            ConfigError,
            r"t\.distil\.targets: 'xvectr' is not known; choose from xvector, narrow_bn",
        ),
        ({"distil": {**DISTIL["multilevel"], "targets": ["logits"]}}, ConfigError, "'logits' is not known"),
        (
            {"distil": {**DISTIL["multilevel"], "form": "tails"}},
            ConfigError,
            "form: expected concat or heads",
        ),
        ({"distil": {**DISTIL["multilevel"], "targets": []}}, ConfigError, "expected one part or more"),
        ({"distil": {**DISTIL["multilevel"], "targets": ["xvector"] * 2}}, ConfigError, "each once"),
        (
            {"distil": {"objective": "kd", "kd_logits": "plain"}},
            ConfigError,
            r"t\.distil\.temperature: this setting is missing",
        ),
        ({"distil": {**DISTIL["gkd"], "size": 6}}, ConfigError, r"gkd\.size: 6 of 6 speakers"),
        (
            {"distil": {**DISTIL["trkd"], "tau": {**TAU, "end": {"classes": 5}}}},
            ConfigError,
            r"tau\.end: 5 classes of 5 non-targets",
        ),
        (
            {"distil": {**DISTIL["embedding"], "targets": ["xvector", "wide_bn"]}},
            ConfigError,
            "`embedding` learns one",
        ),
        ({"model": {"arch": "other"}}, ConfigError, "other"),
        ({"speed": 1}, ConfigError, r"t\.speed: no such setting"),
    ],
)
def test_wrong_settings_are_named(run, settings, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        run({**settings, **change}, tmp_path)


def test_a_precision_that_is_not_known_is_named(run, settings, tmp_path):
    settings["training"]["precision"] = "float16"
    with pytest.raises(ConfigError, match=r"training\.precision: .* found 'float16'"):
        run(settings, tmp_path)


@pytest.mark.parametrize("name", ["kd", "multilevel"])
def test_the_loss_is_the_weighted_sum_of_cross_entropy_and_objective(settings, name):
    distil = {**DISTIL[name], "weight": 0.25, "classification_weight": 3}
    objective = build_objective(distil, "distil")
    model, head = build_model(settings["model"], 8), build_head(settings["head"], 8, 6)
    task = networks.SpeakerTask(model, head, [objective]).double().eval()
    features, targets = torch.randn(5, 24, 8).double(), torch.randn(5, 6 if name == "kd" else 8).double()
    batch = Batch(features, torch.arange(5), (targets,))
    loss, terms = task(batch, Moment(1, 0.5))
    logits, embedding = head(model(features), batch.labels), model(features)
    classification = -logits.log_softmax(1)[torch.arange(5), torch.arange(5)].mean()
    student = head.plain(embedding) if name == "kd" else [embedding]
    distillation, _ = objective(student, targets, batch.labels, Moment(1, 0.5))
    torch.testing.assert_close(terms["classification"], classification)
    torch.testing.assert_close(loss, 3 * classification + 0.25 * distillation)


def test_margins_are_on_the_labels_of_both_networks(settings):
    objective = build_objective({**DISTIL["nte"], "temperature": 1}, "distil")
    model, head = build_model(settings["model"], 8), build_head(settings["head"], 8, 6)
    task = networks.SpeakerTask(model, head, [objective]).double().eval()
    cosines, labels = torch.rand(5, 6).double() - 0.5, torch.arange(5)
    batch = Batch(torch.randn(5, 24, 8).double(), labels, (32 * cosines,))
    _, terms = task(batch, Moment(1, 0.5))
    cosines[labels, labels] = torch.cos(torch.acos(cosines[labels, labels]) + 0.2)
    p, q = (32 * cosines).softmax(1)[labels, labels], head(model(batch.features), labels).softmax(1)
    q = q[labels, labels]
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(terms["tckd"], expected.mean())


def test_a_curriculum_may_end_at_a_size_of_the_confusion_set(run, settings, tmp_path):
    distil = {**DISTIL["trkd"], "tau": {**TAU, "to": 0.1, "end": {"classes": 2}}}
    log = rows(run({**settings, "distil": distil}, tmp_path).files[2])
    assert log["confusion_size"][-1] == pytest.approx(2, abs=0.6)
    assert 0 < log["tau"][-1] < 1


@pytest.mark.parametrize("size", [4, 8])
def test_an_embedding_of_another_size_is_learnt_through_a_map_that_goes(run, settings, tmp_path, size):
    model = {**settings["model"], "embedding": size}
    outputs = run({**settings, "model": model, "distil": DISTIL["embedding"]}, tmp_path)
    trunk, head, config = store.load(*outputs.files[:2])
    assert trunk.embedding_dim == size
    assert head is not None
    beside = config["cost"]["parameters_with_head"] - config["cost"]["parameters"]
    assert beside == 6 * size + (0 if size == 4 else (8 + 1) * 4)


def test_a_sum_learns_from_logits_and_embeddings_at_once(run, settings, tmp_path):
    log = rows(run({**settings, "distil": DISTIL["sum"]}, tmp_path).files[2])
    distilled = 0.5 * (log["tmkd"] + 2 * log["cfkd"]) + log["cosine_distance"]
    assert log["loss"] == pytest.approx(log["classification"] + distilled, abs=1e-3)
    single = build_objectives(DISTIL["sum"], "distil")
    assert [objective.objective for objective in single] == ["trkd", "multilevel"]


def test_logits_of_other_speakers_are_an_error(run, settings, tmp_path, corpus):
    with pytest.raises(DataError, match="5 logits, but the views have 6 speakers"):
        run({**settings, "distil": KD}, tmp_path, targets={"logits": corpus.targets["wide_bn"]})


def test_the_config_beside_a_model_names_what_made_it(run, settings, tmp_path):
    config = read_json(run({**settings, "distil": KD}, tmp_path, seed=3).files[1])
    assert config["distil"] == KD
    assert config["training"] == settings["training"]
    assert (config["seed"], config["views"], config["name"]) == (3, 72, "t")
