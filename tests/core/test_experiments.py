"""Experiments expand to models: each once, under a name of its own, with the settings that the name says."""

import copy
import json
import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.comparisons import reference_pairs
from spkdistill.config import resolve
from spkdistill.errors import ConfigError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
CONFIG["teachers"]["other"] = copy.deepcopy(CONFIG["teachers"]["xvector"])
RESOLVED = resolve(CONFIG, SCHEMA)
OBJECTIVES = {json.dumps(of): name for name, of in RESOLVED["objectives"].items()}
EPOCHS = {one["student"]: one["training"]["epochs"] for one in RESOLVED["students"].values()}
NAME = re.compile(yaml.safe_load(SCHEMA.read_text())["$defs"]["name"]["pattern"])


def expanded(experiments: dict) -> tuple[dict, dict]:
    """The models, and those of each experiment."""
    config = resolve(CONFIG | {"experiments": experiments}, SCHEMA)
    return config["students"], {name: of["models"] for name, of in config["experiments"].items()}


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


EXPERIMENT = st.fixed_dictionaries(
    {},
    optional={
        "students": some(list(CONFIG["students"])),
        "teachers": some(list(CONFIG["teachers"])),
        "objectives": some(["none", "xvector", "concat", "kd"]),
        "seeds": some([0, 1, 7]),
    },
)
VARY = st.sampled_from([{}, {"channels": [64, 32]}, {"channels": [16], "epochs": [3, 8]}])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(EXPERIMENT, VARY), min_size=1, max_size=3))
def test_every_model_of_any_experiment_is_there_once_under_a_name_of_its_own(drawn):
    experiments = {f"e{index}": {**chosen, "vary": vary} for index, (chosen, vary) in enumerate(drawn)}
    students, models = expanded(experiments)
    assert list(students) == list(dict.fromkeys(name for names in models.values() for name in names))
    assert all(NAME.match(name) for name in students)

    def identity(student, teacher, objective, seed, model, epochs):
        without = CONFIG["objectives"][objective]["objective"] == "none"
        teacher = CONFIG["students"][student]["teacher"] if without else teacher
        return student, teacher, objective, seed, epochs, *sorted(model.items())

    expected = set()
    for chosen, vary in drawn:
        for student in chosen.get("students", CONFIG["students"]):
            own = CONFIG["students"][student]
            for teacher, objective, seed, *values in product(
                chosen.get("teachers", [own["teacher"]]),
                chosen.get("objectives", list(CONFIG["objectives"])),
                chosen.get("seeds", [0]),
                *vary.values(),
            ):
                varied = dict(zip(vary, values, strict=True))
                epochs = varied.pop("epochs", EPOCHS[student])
                expected.add(identity(student, teacher, objective, seed, own["model"] | varied, epochs))
    found = [
        identity(
            *(one["student"], one["teacher"], OBJECTIVES[json.dumps(one["distil"])], one["seed"]),
            *(one["model"], one["training"]["epochs"]),
        )
        for one in students.values()
    ]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_a_config_without_experiments_has_every_student_with_each_of_its_objectives():
    students, models = expanded({})
    assert list(students) == [
        f"{one}-{loss}" for one, loss in product(CONFIG["students"], CONFIG["objectives"])
    ]
    assert models == {}
    assert {(student["seed"], student["group"] == name) for name, student in students.items()} == {(0, True)}
    assert expanded({"all": {}})[0] == students


@pytest.mark.parametrize(
    ("experiment", "names"),
    [
        (
            {"students": ["fc8"], "objectives": ["none", "xvector"], "teachers": ["xvector", "other"]},
            ["fc8-none", "fc8-xvector", "fc8-other-xvector"],
        ),
        (
            {"students": ["fc8"], "objectives": ["concat"], "vary": {"layers": [8, 2]}, "seeds": [1, 0]},
            ["fc8-concat-s1", "fc8-concat", "fc8-layers2-concat-s1", "fc8-layers2-concat"],
        ),
        (
            {"students": ["tdnn"], "objectives": ["none", "concat"], "vary": {"mean_norm": [True, False]}},
            ["tdnn-none", "tdnn-concat", "tdnn-concat-mean_normfalse"],
        ),
        (
            {"students": ["fc8"], "objectives": ["xvector"], "vary": {"targets": [["wide_bn", "xvector"]]}},
            ["fc8-xvector-targetswide_bn_xvector"],
        ),
        (
            {"objectives": ["kd"], "vary": {"layers": [4], "temperature": [0.5]}},
            ["fc8-layers4-kd-temperature0.5", "tdnn-kd-temperature0.5"],
        ),
        (
            {"students": ["tdnn"], "objectives": ["dkd"], "vary": {"epochs": [3], "alpha": [2]}},
            ["tdnn-epochs3-dkd-alpha2"],
        ),
    ],
)
def test_a_name_says_what_differs_from_the_students_own(experiment, names):
    assert expanded({"one": experiment})[1] == {"one": names}


def test_what_is_varied_is_set_in_the_models_that_have_it_alone():
    vary = {"layers": [4], "mean_norm": [False]}
    students, _ = expanded({"one": {"objectives": ["none", "concat"], "vary": vary, "seeds": [3]}})
    settings = students["fc8-layers4-concat-mean_normfalse-s3"]
    assert (settings["model"]["layers"], settings["distil"]["mean_norm"], settings["seed"]) == (4, False, 3)
    assert settings["group"] == "fc8-layers4-concat-mean_normfalse"
    assert "layers" not in students["tdnn-none-s3"]["model"]
    assert "mean_norm" not in students["tdnn-none-s3"]["distil"]


@pytest.mark.parametrize(
    ("experiment", "said"),
    [
        ({"student": ["fc8"]}, "experiments.one: unknown key 'student'; did you mean 'students'?"),
        ({"students": ["fc9"]}, "experiments.one.students: students has no entry 'fc9'; did you mean 'fc8'?"),
        ({"teachers": ["xvectr"]}, "experiments.one.teachers: teachers has no entry 'xvectr'; did you mean"),
        (
            {"objectives": ["noen"]},
            "experiments.one.objectives: objectives has no entry 'noen'; did you mean",
        ),
        ({"seeds": [1, 1]}, "experiments.one.seeds: [1, 1] has non-unique elements"),
        ({"seeds": []}, "experiments.one.seeds: [] "),
        (
            {"vary": {"layer": [2]}},
            "experiments.one.vary: no model, training or objective of it has 'layer'; did you mean",
        ),
        (
            {"students": ["tdnn"], "vary": {"layers": [2]}},
            "experiments.one.vary: no model, training or objective of it has 'layers'; ",
        ),
        ({"vary": {"layers": [2, "many"]}}, "experiments.one.vary.layers: 'many' is not of type 'integer'"),
        ({"vary": {"mean_norm": [1]}}, "experiments.one.vary.mean_norm: 1 is not of type 'boolean'"),
        (
            {"students": ["fc8"], "objectives": ["xvector"], "vary": {"targets": [["layer:0"]]}},
            "students.fc8-xvector-targetslayer_0.targets: 'layer:0' is not known; choose from xvector, ",
        ),
        ({"reference": "trkd-mass"}, "experiments.one.reference: no student of it is trained by 'trkd-mass'"),
        (
            {"objectives": ["kd"], "vary": {"temperature": [1, 2]}, "reference": "kd"},
            "experiments.one.reference: no student of it is trained by 'kd'; its methods are kd-",
        ),
        (
            {"objectives": ["kd"], "seeds": [0, 1], "reference": "kd"},
            "experiments.one.reference: no student is trained by 'kd' and by another method; nothing",
        ),
        (
            {"backend": "pldaa"},
            "experiments.one.backend: backends has no entry 'pldaa'; did you mean 'plda'?",
        ),
        ({"vary": {"epochs": [0]}}, "experiments.one.vary.epochs: 0 is less than the minimum of 1"),
        (
            {"objectives": ["none", "concat"], "vary": {"embedding": [32, 64]}},
            "experiments.one.vary: 'embedding' of a student that learns by form concat is that of its",
        ),
        (
            {"vary": {"layers": [2, 8]}, "reference": {"layers": 4}},
            "experiments.one.reference: layers=4 is not among what `vary` has",
        ),
        (
            {"vary": {"layers": [2]}, "reference": {"epochs": 4}},
            "experiments.one.reference: epochs=4 is not among what `vary` has",
        ),
        (
            {"vary": {"layers": [2]}, "reference": {"layers": 2}},
            "experiments.one.reference: no two students differ in 'layers' alone; nothing is to be tested",
        ),
        ({"vary": {"layers": [2]}, "reference": {}}, "experiments.one.reference: "),
        ({"vary": {"layers": 2}}, "experiments.one.vary.layers: 2 is not of type 'array'"),
        ({"seeds": list(range(1000))}, "experiments: 14000 combinations; there may be 1000, leave some out"),
    ],
)
def test_a_fault_in_an_experiment_is_one_line_that_names_it(experiment, said):
    with pytest.raises(ConfigError) as caught:
        expanded({"one": experiment})
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_more_students_without_experiments_than_anyone_can_train_are_refused():
    students = {
        f"s{number}": {**CONFIG["students"]["fc8"], "objectives": ["none", "kd"]} for number in range(501)
    }
    with pytest.raises(ConfigError, match=r"^students: 1002 combinations; there may be 1000, leave some out"):
        resolve(CONFIG | {"students": students, "experiments": {}}, SCHEMA)


def test_a_key_of_two_sections_is_not_varied():
    config = copy.deepcopy(CONFIG)
    config["objectives"]["nte"] = {"objective": "nte"}
    config["experiments"] = {"one": {"objectives": ["none", "nte"], "vary": {"warmup_epochs": [1, 2]}}}
    said = r"experiments\.one\.vary: 'warmup_epochs' is a key of the training and of the objective; write a "
    with pytest.raises(ConfigError, match=said):
        resolve(config, SCHEMA)


def test_two_models_that_would_share_a_name_are_refused():
    config = copy.deepcopy(CONFIG)
    config["students"]["fc8-layers4"] = copy.deepcopy(config["students"]["fc8"])
    config["experiments"] = {"all": {}, "depth": {"students": ["fc8"], "vary": {"layers": [4]}}}
    with pytest.raises(
        ConfigError, match=r"experiments\.depth: two models would be called 'fc8-layers4-none'"
    ):
        resolve(config, SCHEMA)
    config["experiments"]["depth"]["seeds"] = [1]  # two groups, then
    with pytest.raises(
        ConfigError, match=r"experiments\.depth: two models would be called 'fc8-layers4-none'"
    ):
        resolve(config, SCHEMA)


def test_names_too_long_for_files_are_refused():
    config = copy.deepcopy(CONFIG)
    config["students"]["x" * 199] = config["students"].pop("fc8")
    config["experiments"] = {}
    with pytest.raises(
        ConfigError, match=r"students: the name of a model, x+\.\.\., would have 20\d characters"
    ):
        resolve(config, SCHEMA)
    config["experiments"] = {"all": {"students": ["tdnn"]}}
    resolve(config, SCHEMA)


def test_a_teacher_called_like_a_group_is_refused():
    config = copy.deepcopy(CONFIG)
    config["teachers"]["fc8-kd"] = config["teachers"]["xvector"]
    config["experiments"] = {"seeds": {"seeds": [1, 2]}}
    with pytest.raises(ConfigError, match=r"teachers\.fc8-kd: a student is called 'fc8-kd' too"):
        resolve(config, SCHEMA)


def test_a_reference_is_paired_with_every_other_method_for_each_student_and_over_all():
    config = copy.deepcopy(CONFIG)
    config["experiments"] = {
        "one": {"objectives": ["none", "kd", "dkd"], "vary": {"alpha": [1, 2]}, "reference": "dkd"},
        "alone": {"students": ["fc8"], "objectives": ["kd", "dkd"], "seeds": [0, 1], "reference": "dkd"},
    }
    config = resolve(config, SCHEMA)
    pairs = reference_pairs(config, "one")
    for other in ("none", "kd", "dkd-alpha2"):
        for student in ("fc8", "tdnn"):
            one, against = f"{student}-dkd", f"{student}-{other}"
            assert ((one, (one,)), (against, (against,))) in pairs
        groups = [tuple(f"{student}-{each}" for student in ("fc8", "tdnn")) for each in ("dkd", other)]
        assert (("one:dkd", groups[0]), (f"one:{other}", groups[1])) in pairs
    assert len(pairs) == 9
    assert reference_pairs(config, "alone") == [(("fc8-dkd", ("fc8-dkd",)), ("fc8-kd", ("fc8-kd",)))]


def test_a_varied_value_is_paired_with_each_other_of_students_that_differ_in_it_alone():
    config = copy.deepcopy(CONFIG)
    config["experiments"] = {
        "norm": {
            "objectives": ["none", "xvector", "concat"],
            "vary": {"mean_norm": [True, False], "epochs": [3, 4]},
            "seeds": [0, 1],
            "reference": {"mean_norm": False},
        },
        "layers": {"objectives": ["none", "kd"], "vary": {"layers": [2, 4, 8]}, "reference": {"layers": 4}},
    }
    config = resolve(config, SCHEMA)
    assert {(one[0], other[0]) for one, other in reference_pairs(config, "norm")} == {
        (f"{student}-epochs{epochs}-{objective}-mean_normfalse", f"{student}-epochs{epochs}-{objective}")
        for student, epochs, objective in product(("fc8", "tdnn"), (3, 4), ("xvector", "concat"))
    }
    own = CONFIG["students"]["fc8"]["model"]["layers"]
    assert [(one[0], other[0]) for one, other in reference_pairs(config, "layers")] == [
        tuple("fc8" + ("" if layers == own else f"-layers{layers}") + f"-{objective}" for layers in both)
        for objective in ("none", "kd")
        for both in ((4, 2), (4, 8))
    ]


def test_a_student_without_a_teacher_is_compared_beside_every_teacher():
    config = copy.deepcopy(CONFIG)
    config["teachers"]["other"] = config["teachers"]["xvector"]
    config["experiments"] = {
        "one": {
            "students": ["fc8"],
            "teachers": ["xvector", "other"],
            "objectives": ["none", "kd"],
            "reference": "kd",
        }
    }
    pairs = reference_pairs(resolve(config, SCHEMA), "one")
    assert [(one[0], other[0]) for one, other in pairs] == [
        ("fc8-kd", "fc8-none"),
        ("fc8-other-kd", "fc8-none"),
        ("one:kd", "one:none"),
    ]
