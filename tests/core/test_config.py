"""The config is checked before any job starts, and a fault is one line that names the key."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from spkdistill.config import resolve
from spkdistill.distill.curriculum import TauSettings, tau_at, tau_settings
from spkdistill.errors import ConfigError
from spkdistill.settings import build

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


@pytest.fixture
def config() -> dict:
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def placed(config: dict, path: str, value) -> dict:
    """A copy of `config` in which the key at the dotted `path` is `value`."""
    changed = copy.deepcopy(config)
    *parents, last = path.split(".")
    owner = changed
    for parent in parents:
        owner = owner[parent]
    owner[last] = value
    return changed


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_config_that_we_ship_is_valid(path):
    whole = yaml.safe_load(path.read_text())
    resolve(whole, SCHEMA)


@pytest.mark.parametrize("name", ["speeds", "views"])
def test_an_overlay_of_triage_has_three_times_the_views_about_as_many_steps_and_the_same_warm_up(name):
    configs = ROOT / "workflow/configs"
    one, other = (yaml.safe_load((configs / "triage.yaml").read_text()) for _ in range(2))
    update_config(other, yaml.safe_load((configs / f"overlays/triage_{name}.yaml").read_text()))
    one, other = resolve(one, SCHEMA), resolve(other, SCHEMA)
    views = [
        each["views"]["per_utterance"] * (1 + len(each["sets"]["train"]["speeds"])) for each in (one, other)
    ]
    assert (other["run"], *views) == (f"triage_{name}", 2, 6)
    assert len(other["students"]) == len(one["students"])
    for model in [*one["teachers"], "xvector_s-nte", "xvector_s-warm"]:
        few, many = ((config["teachers"] | config["students"])[model] for config in (one, other))
        epochs = few["training"]["epochs"], 3 * many["training"]["epochs"]
        assert epochs[0] == pytest.approx(epochs[1], rel=0.15)
        if "distil" in few:
            share, of_more = few["distil"]["warmup_epochs"] / epochs[0], 3 * many["distil"]["warmup_epochs"]
            assert of_more / epochs[1] == pytest.approx(share, rel=0.05)


def test_the_config_of_triage_at_paper_size_has_its_papers_schedules():
    path = ROOT / "workflow/configs/voxceleb_triage.yaml"
    config = resolve(yaml.safe_load(path.read_text()), SCHEMA)
    assert len({(one["teacher"], one["student"]) for one in config["students"].values()}) == 6
    for one in config["students"].values():
        training, distil = one["training"], one["distil"]
        assert (training["epochs"], training["batch_size"], training["optimizer"]) == (150, 512, "sgd")
        rates = training["warmup_epochs"], training["learning_rate"], training["final_learning_rate"]
        assert rates == (6, 0.1, 5e-5)
        assert one["model"]["embedding"] == (512 if one["model"]["arch"] == "xvector" else 256)
        assert distil.get("temperature", 4) == 4
    trkd = config["students"]["mobilenet-trkd"]["distil"]
    assert (trkd["lambda_m"], trkd["lambda_f"], trkd["lambda_b"]) == (1, 8, 0)
    tau = build(TauSettings, tau_settings(trkd["tau"]), "tau")
    for epoch, expected in ((10, 1), (15, 0.526), (20, 0.289), (30, 0.110), (60, 0.05), (150, 0.05)):
        assert tau_at(epoch, tau) == pytest.approx(expected, abs=1e-3)
    assert all(one["distil"]["size"] == 240 for one in config["students"].values() if one["method"] == "gkd")
    fixed = config["students"]["redimnet_b2-tmkd_fixed"]["distil"]
    assert (fixed["tau"], fixed["class_term"]) == (0.05, "nckd")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sed", 1, "config: unknown key 'sed'; did you mean 'seed'?"),
        ("seed", -1, "seed: -1 is less than the minimum of 0"),
        ("shards", "two", "shards: 'two' is not of type 'integer'"),
        ("run", "../elsewhere", "run: '../elsewhere' does not match"),
        ("views.frmaes", 200, "views: unknown key 'frmaes'; did you mean 'frames'?"),
        ("teachers.xvector.model.arch", "resnt", "teachers.xvector.model.arch: 'resnt' is not one of"),
        ("teachers.xvector.training", {"epoch": 3}, "teachers.xvector.training: unknown key 'epoch'"),
        ("teachers.xvector.logits", {"form": "top"}, "teachers.xvector.logits.form: 'top' is not one of"),
        ("teachers.xvector.logits", {"k": 0}, "teachers.xvector.logits.k: 0 is less than the minimum of 1"),
        ("teachers.xvector.logits", {"temperatures": [0]}, "teachers.xvector.logits.temperatures.0: 0 is"),
        ("teachers.xvector.features", "fbank", "teachers.xvector.features: features has no entry 'fbank'"),
        (
            "students.fc8.teacher",
            "xvectr",
            "students.fc8.teacher: teachers has no entry 'xvectr'; did you mean",
        ),
        ("students.fc8.objectives", ["kdd"], "students.fc8.objectives: objectives has no entry 'kdd'"),
        (
            "objectives.kd.temperature",
            0,
            "objectives.kd.temperature: 0 is less than or equal to the minimum of 0",
        ),
        (
            "objectives.xvector.targets",
            ["xvector", "pooled"],
            "objectives.xvector.targets: 'pooled' is not known; choose from xvector, narrow_bn",
        ),
        ("objectives.trkd.tau", 2, "objectives.trkd.tau: 2 is greater than the maximum of 1"),
        ("objectives.trkd.tau", {"end": {"clases": 4}}, "objectives.trkd.tau.end: unknown key 'clases'; did"),
        (
            "objectives.trkd.tau",
            {"from": 10, "to": 60},
            "objectives.trkd.tau.to: 60 is a share of the training",
        ),
        ("objectives.trkd.lambda_m", -1, "objectives.trkd.lambda_m: -1 is less than the minimum of 0"),
        (
            "objectives.trkd.tau",
            {"unit": "epochs"},
            "objectives.trkd.tau.from 0.0667 to 0.4 are shares of the training; give both in epochs",
        ),
        (
            "objectives.trkd.tau",
            {"unit": "epochs", "from": 1, "to": 99},
            "students.fc8-trkd: tau falls until epoch 99 of a training of 10; lower tau.to",
        ),
        ("objectives.dkd", {"objective": "dkd", "alpha": 0, "beta": 0}, "objectives.dkd: alpha, beta are 0"),
        ("objectives.kd.gamma", 2, "objectives.kd: unknown key 'gamma'"),
        (
            "objectives.kd",
            {"objective": "sum", "of": [{"objective": "kd"}, {"objective": "dkd"}]},
            "objectives.kd.of: a sum is of one objective on logits and of one on embeddings",
        ),
        (
            "objectives.kd",
            {"objective": "sum", "of": [{"objective": "kd"}, {"objective": "embedding", "targets": ["x"]}]},
            "objectives.kd.of.1.targets: 'x' is not known; choose from xvector",
        ),
        (
            "objectives.kd",
            {
                "objective": "sum",
                "of": [{"objective": "kd"}, {"objective": "embedding", "targets_of": "utterance"}],
            },
            "objectives.kd.of: targets_of: logits are of views",
        ),
        ("objectives.xvector.targets", ["logits"], "objectives.xvector.targets: 'logits' is not known"),
        ("objectives.xvector.targets", ["layer:0"], "objectives.xvector.targets: 'layer:0' is not known"),
        ("objectives.xvector.form", "tail", "objectives.xvector.form: 'tail' is not one of"),
        (
            "objectives.xvector.targets_of",
            "speaker",
            "objectives.xvector.targets_of: 'speaker' is not one of",
        ),
        (
            "teachers.xvector.targets",
            ["xvector", "layer:6"],
            "teachers.xvector.targets: the teacher xvector lacks it: layer:6: xvector has 5 frame layers",
        ),
        (
            "objectives.xvector.targets",
            ["layer:99"],
            "students.fc8-xvector.targets: the teacher xvector lacks it: layer:99: xvector has 5 frame",
        ),
        (
            "teachers.xvector.model",
            {"arch": "fc8"},
            "teachers.xvector.targets: the teacher xvector lacks it: fc8 has no layer called narrow_bn; name",
        ),
        ("teachers.xvector.targets", ["layer:x"], "teachers.xvector.targets: 'layer:x' is not known; choose"),
        ("teachers.xvector.target_storage", "float16", "teachers.xvector.target_storage: 'float16' is not"),
        ("trials.trials.set", "test", "trials.trials.set: sets has no entry 'test'"),
        ("sets.bad name", {}, "sets: the name 'bad name' may hold"),
        ("features.mfcc.kind", "plp", "features.mfcc.kind: 'plp' is not one of"),
        (
            "features.mfcc.num_ceps",
            40,
            "features.mfcc.num_ceps: 40 is not allowed; expected from 1 to num_mel_bins",
        ),
        ("features.mfcc.frame_length", float("inf"), "features.mfcc.frame_length: inf"),
        ("cmn.window", 50, "cmn.min_window: 100 is not allowed"),
        ("features.mfcc.use_energy", False, "vad.features: voice activity needs features with use_energy"),
        (
            "metrics.duration_edges",
            [4, 2],
            "metrics.duration_edges: seconds above 0, ascending, found (4, 2)",
        ),
        ("metrics.p_targets", [0.01, 0.0100000001], "metrics.p_targets: give one prior or more, no two"),
        ("shards", 2.0, "shards: 2.0 is not of type 'integer'"),
        ("views.frames", True, "views.frames: True is not of type 'integer'"),
        (
            "training.aggregators.processes",
            50,
            r"teachers.xvector.aggregators.training.batch_size: 64 views in a step are too few for "
            "training.processes 50; 100 are needed",
        ),
        ("sets.train.seconds", [4, 2], "sets.train.seconds: the range 4 to 2 runs backwards"),
        ("sets.train.speeds", [0.4], "sets.train.speeds.0: 0.4 is less than the minimum of 0.5"),
        ("sets.train.speeds", [0.9, 0.9], "sets.train.speeds: [0.9, 0.9] has non-unique elements"),
        ("sets.train.speeds", [0.9, 1], "sets.train.speeds: 1, but copies have other speeds than 1"),
        ("sets.train.speeds", [0.955], "sets.train.speeds: 0.955, but copies have other speeds than 1"),
        ("sets.train.speeds", [float("nan")], "sets.train.speeds: nan, but"),
        (
            "trials.trials.file",
            "trails",
            "trials.trials.file: the set eval has no trials 'trails'; did you mean",
        ),
        ("sets.eval.trials", {"utt2spk": {}}, "sets.eval.trials: 'utt2spk' is another file"),
        ("backends.plda.kind", "gplda", "backends.plda.kind: 'gplda' is not one of"),
        (
            "sets.train",
            {"corpus": "kaldi", "directory": "s3://bucket/train"},
            "sets.train.archives: missing; name the archives",
        ),
        (
            "sets.train",
            {"corpus": "speechocean762", "directory": "s3://bucket/so762"},
            "sets.train.directory: on remote storage only `corpus: kaldi` is read",
        ),
    ],
)
def test_a_fault_is_one_line_that_names_the_key(config, path, value, said):
    with pytest.raises(ConfigError) as caught:
        resolve(placed(config, path, value), SCHEMA)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_missing_section_is_named(config):
    del config["teachers"]
    with pytest.raises(ConfigError, match="the key 'teachers' is missing"):
        resolve(config, SCHEMA)


def test_a_model_trains_by_its_own_settings_over_the_shared_ones(config):
    config["students"]["fc8"]["training"] = {"epochs": 99}
    resolved = resolve(config, SCHEMA)
    shared = resolved["students"]["tdnn-kd"]["training"]
    assert resolved["students"]["fc8-kd"]["training"] == {**shared, "epochs": 99}


def test_a_margin_on_logits_comes_from_the_heads_of_both_networks(config):
    config["objectives"] = {"kd": {"objective": "kd", "kd_logits": "margin"}}
    config["objectives"]["sum"] = {
        "objective": "sum",
        "of": [{"objective": "nte"}, {"objective": "embedding"}],
    }
    config["students"] = {"fc8": {**config["students"]["fc8"], "objectives": ["kd", "sum"]}}
    config["teachers"]["xvector"]["head"] = {"kind": "aam", "scale": 20, "margin": 0.3}
    config["experiments"] = {}
    students = resolve(copy.deepcopy(config), SCHEMA)["students"]
    assert students["fc8-kd"]["distil"]["teacher_head"] == {"kind": "aam", "scale": 20, "margin": 0.3}
    nte, embedding = students["fc8-sum"]["distil"]["of"]
    assert nte["teacher_head"]["margin"] == 0.3
    assert "teacher_head" not in embedding
    for section, name, said in (
        ("students", "fc8", "the student"),
        ("teachers", "xvector", "the teacher xv"),
    ):
        wrong = placed(config, f"{section}.{name}.head", {"kind": "softmax"})
        with pytest.raises(ConfigError, match=f"students.fc8-kd: kd_logits: margin, but {said}"):
            resolve(wrong, SCHEMA)


def test_students_are_crossed_with_their_objectives(config):
    config["students"]["fc8"]["objectives"] = ["none", "kd"]
    resolved = resolve(config, SCHEMA)
    names = [name for name in resolved["students"] if name.startswith("fc8-")]
    assert names == ["fc8-none", "fc8-kd"]
    assert resolved["students"]["fc8-kd"]["distil"]["temperature"] == 4


def test_two_models_of_one_name_are_refused(config):
    config["teachers"]["fc8-kd"] = config["teachers"]["xvector"]
    with pytest.raises(ConfigError, match=r"teachers\.fc8-kd: a student is called 'fc8-kd' too"):
        resolve(config, SCHEMA)


@pytest.mark.parametrize(
    ("objective", "said"),
    [({"objective": "kd", "standardise": True}, "standardise"), ({"objective": "dist"}, "objective: dist")],
)
def test_objectives_that_need_every_logit_are_refused_where_the_largest_are_cached(config, objective, said):
    config["objectives"]["kd"] = objective
    config["teachers"]["xvector"]["logits"] = {"form": "factored"}
    resolve(copy.deepcopy(config), SCHEMA)
    config["teachers"]["xvector"]["logits"] = {"form": "topk"}
    with pytest.raises(ConfigError) as caught:
        resolve(config, SCHEMA)
    assert re.fullmatch(
        rf"students\..*-kd: {said} needs every logit, but .*logits\.form is topk; .*", str(caught.value)
    )


@pytest.mark.parametrize(
    ("objective", "refused"),
    [
        ({"objective": "gkd", "size": 21}, None),
        ({"objective": "gkd", "size": 22}, "size: 22 needs the 21"),
        ({"objective": "trkd", "tau": 0.1}, None),
        ({"objective": "trkd", "tau": {"end": {"classes": 20}}}, None),
        ({"objective": "trkd", "tau": {"end": {"classes": 21}}}, r"tau\.end\.classes: 21 needs the 21"),
    ],
)
def test_a_group_of_more_than_the_largest_that_are_cached_is_refused(config, objective, refused):
    config["objectives"]["kd"] = objective
    config["teachers"]["xvector"]["logits"] = {"form": "topk", "k": 20}
    if not refused:
        resolve(config, SCHEMA)
        return
    said = rf"students\..*-kd: {refused} largest others, but .*\.logits\.k is 20; raise k.*"
    with pytest.raises(ConfigError) as caught:
        resolve(config, SCHEMA)
    assert re.fullmatch(said, str(caught.value))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"arch": "redimnet"}, "strides: their product does not divide the 30 features; .* multiple of 8 "),
        ({"arch": "redimnet", "strides": [1, 2]}, "strides, blocks, .*: expected .*, found 2, 6, 6, 6; give"),
        (
            {"arch": "redimnet", "strides": [1] * 6, "channels": 24, "group": 5},
            "reductions: 8 leaves 90 units",
        ),
        (
            {"arch": "redimnet", "strides": [1] * 6, "reductions": [0] * 6, "group": 5},
            "group: 5 does not divide 16 channels",
        ),
        (
            {"arch": "ecapa", "channels": 100},
            "channels: 100 is no multiple of model.scale 8; the next is 104",
        ),
        ({"arch": "res2net", "channels": 33}, "channels: 33 is no multiple of model.scale 2; the next is 34"),
        (
            {"arch": "conformer", "heads": 3},
            "channels: 256 is no multiple of twice model.heads 3; the next is 258",
        ),
        ({"arch": "conformer", "kernel": 4}, "kernel: expected an odd number of frames, found 4; say 5"),
    ],
)
def test_sizes_that_do_not_fit_are_found_before_any_job(config, model, said):
    config["students"]["fc8"]["model"] = model
    with pytest.raises(ConfigError) as caught:
        resolve(config, SCHEMA)
    assert re.match(rf"students\.fc8-\w+\.model\.{said}", str(caught.value))
    assert "\n" not in str(caught.value)


def test_sizes_are_those_of_the_features_of_the_model_and_of_what_an_experiment_varies(config):
    config["features"]["wide"] = {"kind": "fbank", "num_mel_bins": 72, "use_energy": False}
    config["teachers"]["xvector"] |= {"features": "wide", "model": {"arch": "redimnet"}}
    config["students"]["fc8"]["model"] = {"arch": "ecapa"}
    config["experiments"] = {"sizes": {"students": ["fc8"], "vary": {"channels": [512]}}}
    resolve(copy.deepcopy(config), SCHEMA)
    config["experiments"]["sizes"]["vary"]["channels"].append(500)
    with pytest.raises(
        ConfigError, match=r"students\.fc8.*\.model\.channels: 500 is no multiple of model.scale"
    ):
        resolve(config, SCHEMA)
    config["features"]["wide"]["use_energy"] = True
    with pytest.raises(ConfigError, match=r"teachers\.xvector\.model\.strides: .* the 73 features"):
        resolve(config, SCHEMA)


def test_every_key_of_the_schema_is_described():
    """A key is explained where it stands; sections of named entries explain themselves by their keys."""

    def undescribed(node: dict, path: str):
        for name, rule in node.get("properties", {}).items():
            where = f"{path}.{name}"
            if rule and "$ref" not in rule and "properties" not in rule and "description" not in rule:
                yield where
            yield from undescribed(rule, where)
            yield from undescribed(rule.get("additionalProperties") or {}, where)
        for branch in node.get("allOf", []):
            yield from undescribed(branch["then"], f"{path}[{branch['if']}]")

    schema = yaml.safe_load(SCHEMA.read_text())
    nodes = [("", schema), *((f"$defs.{name}", node) for name, node in schema["$defs"].items())]
    assert [path for name, node in nodes for path in undescribed(node, name)] == []


def test_aliases_that_multiply_are_refused_at_once():
    bomb = yaml.safe_load(
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    )
    with pytest.raises(ConfigError, match=r"look for aliases \(\*name\)"):
        resolve(bomb, SCHEMA)
    with pytest.raises(ConfigError, match=r"look for aliases \(\*name\)"):
        resolve(yaml.safe_load("run: &a [*a]"), SCHEMA)


def test_nesting_beyond_all_measure_is_refused():
    nested = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(ConfigError, match="nested deeper than"):
        resolve({"run": nested}, SCHEMA)


def test_a_key_that_is_no_text_is_named(config):
    with pytest.raises(ConfigError, match="the key 1 is not text"):
        resolve(config | {1: 2}, SCHEMA)
