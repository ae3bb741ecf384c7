"""The config of a run: checked against its schema, defaults filled in, names resolved, before any job."""

import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from spkdistill import experiments
from spkdistill.errors import ConfigError
from spkdistill.settings import build

DEEPEST = 30  # mappings and lists inside each other
MOST_ENTRIES = 100_000  # of one depth
DATA_FILES = {
    *("wav.scp", "utt2spk", "spk2utt", "utt2dur", "utt2speed", "segments", "spk2gender"),
    *("rejected.tsv", "rejected_trials.tsv", "manifest.json"),
}

OBJECTIVE_WEIGHTS = {  # of an objective's terms
    "dkd": ("alpha", "beta"),
    "gkd": ("alpha", "beta"),
    "dist": ("beta", "gamma"),
    "trkd": ("lambda_m", "lambda_f", "lambda_b"),
}


def resolve(config: Mapping[str, Any], schema: str | Path) -> dict[str, Any]:
    """The complete config: every default in its place, `students` crossed with `objectives`, training merged.

    Raises ConfigError, one line that names the key, what was given and what is allowed. The `students` of the
    result have one entry per model that is trained, see `experiments.cross`.
    """
    check_size(config)
    config = copy.deepcopy(dict(config))
    share_training(config)
    give_every_objective(config)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times as fast
    rules = loader(Path(schema).read_text(encoding="utf-8")).get_single_data()
    check_against(config, rules)
    share_cmn(config)
    check_names(config)
    experiments.check_number(config)
    check_varied(config, rules)
    check_trials(config)
    check_values(config)
    check_remote(config)
    experiments.cross(config)
    check_targets(config)
    check_objectives(config)
    give_margins(config)
    check_logits(config)
    check_sizes(config)
    check_model_names(config)
    check_foreign(config)
    return config


def check_size(config: Mapping[str, Any]) -> None:
    """Raise a ConfigError for more than any config holds, as YAML aliases of aliases make it."""
    level: list[Any] = [config]
    for _ in range(DEEPEST):
        level = list(islice((part for value in level for part in parts(value)), MOST_ENTRIES))
        if not level:
            return
        if len(level) == MOST_ENTRIES:
            break
    raise ConfigError(
        f"config: nested deeper than {DEEPEST}, or {MOST_ENTRIES} entries and more; look for aliases (*name)"
    )


def parts(value: Any) -> Iterable[Any]:
    """The values in a mapping, whose keys must be text (ConfigError), or in a list."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"config: the key {key!r} is not text; put it in quotes")
        return value.values()
    return value if isinstance(value, list) else ()


def share_training(config: dict[str, Any]) -> None:
    """Lay each model's own `training` over the shared section of its role."""
    shared = config.get("training", {})
    for role, section in (("teacher", "teachers"), ("student", "students")):
        for model in mappings(config.get(section)):
            if "file" in model:
                continue  # nothing trains it
            lay_over(model, shared, role)
            if isinstance(model.get("aggregators"), dict):
                lay_over(model["aggregators"], shared, "aggregators")


def share_cmn(config: dict[str, Any]) -> None:
    """Lay each kind of features' own `cmn` over the shared one."""
    for settings in config["features"].values():
        settings["cmn"] = {**config["cmn"], **settings["cmn"]}


def lay_over(owner: dict[str, Any], shared: Any, role: str) -> None:
    """Complete `owner["training"]` with what `shared[role]` says and it does not."""
    common = shared.get(role) if isinstance(shared, dict) else None
    own = owner.get("training", {})
    if isinstance(common, dict) and isinstance(own, dict):
        owner["training"] = {**copy.deepcopy(common), **own}


def give_every_objective(config: dict[str, Any]) -> None:
    """Let a student that names no objectives learn by all of them."""
    objectives = config.get("objectives")
    for student in mappings(config.get("students")):
        if isinstance(objectives, dict):
            student.setdefault("objectives", list(objectives))


def mappings(section: Any) -> Iterator[dict[str, Any]]:
    """The mappings among a section's values; anything else is left for the schema to refuse."""
    if isinstance(section, dict):
        yield from (value for value in section.values() if isinstance(value, dict))


def check_against(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Fill in the schema's defaults, then raise a ConfigError for the first fault."""
    validator = filling_validator()(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        raise ConfigError(in_words(errors[0]))


def filling_validator() -> type:
    """A JSON schema validator that writes the defaults of missing properties into what it checks.

    To it 2.0 is no integer, as no job would take it for one.
    """
    check_properties = jsonschema.Draft202012Validator.VALIDATORS["properties"]
    types = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )

    def fill_then_check(validator: Any, properties: dict, instance: Any, schema: dict) -> Iterator[Any]:
        if isinstance(instance, dict):
            for name, rule in properties.items():
                if "default" in rule:
                    instance.setdefault(name, copy.deepcopy(rule["default"]))
        yield from check_properties(validator, properties, instance, schema)

    return jsonschema.validators.extend(
        jsonschema.Draft202012Validator, {"properties": fill_then_check}, type_checker=types
    )


def in_words(error: jsonschema.ValidationError) -> str:
    """One line for a schema error: the key, what was given, what is allowed."""
    where = ".".join(map(str, error.absolute_path)) or "config"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        return f"{where}: unknown key {unknown!r}; {nearest(unknown, known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{where}: the key {missing!r} is missing"
    if "propertyNames" in error.absolute_schema_path:
        return f"{where}: the name {error.instance!r} may hold letters, digits, '_', '.' and '-' only"
    return f"{where}: {error.message}"


def nearest(word: str, known: list[str]) -> str:
    """A hint at what was meant."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed are {', '.join(known)}"


def check_names(config: dict[str, Any]) -> None:
    """Raise a ConfigError where one section names an entry that another does not have."""
    must_know(config, "sets", "train", "sets")
    must_know(config, "features", config["vad"]["features"], "vad.features")
    for name, trials in config["trials"].items():
        must_know(config, "sets", trials["set"], f"trials.{name}.set")
    for section in ("teachers", "students"):
        for name, model in config[section].items():
            must_know(config, "features", model["features"], f"{section}.{name}.features")
    for name, backend in config["backends"].items():
        check_backend(config, name, backend)
    if not measured_lists(config):
        raise ConfigError(
            "trials: every list serves a fusion, so none is measured; add one of other speakers"
        )
    for name, student in config["students"].items():
        must_know(config, "teachers", student["teacher"], f"students.{name}.teacher")
        for objective in student["objectives"]:
            must_know(config, "objectives", objective, f"students.{name}.objectives")
    for name, experiment in config["experiments"].items():
        for section in ("students", "teachers", "objectives"):
            for chosen in experiment.get(section, []):
                must_know(config, section, chosen, f"experiments.{name}.{section}")
        if "backend" in experiment:
            must_know(config, "backends", experiment["backend"], f"experiments.{name}.backend")


def check_varied(config: dict[str, Any], rules: dict[str, Any]) -> None:
    """Raise a ConfigError where an experiment varies a key that nothing of it has, or by a wrong value."""
    for name, experiment in config["experiments"].items():
        students = [config["students"][key] for key in experiment.get("students", config["students"])]
        own = dict.fromkeys(key for student in students for key in student["objectives"])
        objectives = [config["objectives"][key] for key in experiment.get("objectives", own)]
        owners = [("model", student["model"]) for student in students]
        owners += [("training", student["training"]) for student in students]
        owners += [("objective", objective) for objective in objectives]
        known = sorted({key for _, owner in owners for key in owner} - {"arch", "objective", "of"})
        for key, values in experiment["vary"].items():
            if key not in known:
                raise ConfigError(
                    f"experiments.{name}.vary: no model, training or objective of it has {key!r}; "
                    f"{nearest(key, known)}"
                )
            kinds = dict.fromkeys(kind for kind, owner in owners if key in owner)
            if len(kinds) > 1:
                raise ConfigError(
                    f"experiments.{name}.vary: {key!r} is a key of the {' and of the '.join(kinds)}; "
                    "write a student or an objective for each value"
                )
            if key == "embedding" and any(objective.get("form") == "concat" for objective in objectives):
                raise ConfigError(
                    f"experiments.{name}.vary: {key!r} of a student that learns by form concat is that of "
                    "its targets; leave those objectives out"
                )
            for (kind, owner), value in product(owners, values):
                if key in owner:
                    rule = {"$ref": f"#/$defs/{kind}", "$defs": rules["$defs"]}
                    try:
                        check_against({**owner, key: value}, rule)
                    except ConfigError as error:
                        raise ConfigError(f"experiments.{name}.vary.{error}") from None


def check_backend(config: dict[str, Any], name: str, settings: dict[str, Any]) -> None:
    """Raise a ConfigError where a back-end names a set, a list or another back-end that is not there."""
    for key in ("adapt_set", "cohort_set"):
        if settings.get(key) is not None:
            must_know(config, "sets", settings[key], f"backends.{name}.{key}")
    if settings["kind"] == "fusion":
        must_know(config, "trials", settings["trials"], f"backends.{name}.trials")
        for system in settings["systems"]:
            must_know(config, "backends", system, f"backends.{name}.systems")
            if config["backends"][system]["kind"] == "fusion":
                raise ConfigError(
                    f"backends.{name}.systems: {system!r} is a fusion itself; name what it fuses"
                )


def calibration_lists(config: dict[str, Any]) -> set[str]:
    """The trial lists that fusions learn from. They are not measured: error rates on them would flatter."""
    return {backend["trials"] for backend in config["backends"].values() if backend["kind"] == "fusion"}


def measured_lists(config: Mapping[str, Any]) -> list[str]:
    """The trial lists that are measured."""
    calibration = calibration_lists(config)
    return [name for name in config["trials"] if name not in calibration]


def check_trials(config: dict[str, Any]) -> None:
    """Raise a ConfigError for trials that a set does not have, or that are called like another file of it."""
    for name, settings in config["sets"].items():
        lists = set(settings["trials"])
        for reserved in (DATA_FILES | {f"{trials}.enrol" for trials in lists}) & lists:
            raise ConfigError(
                f"sets.{name}.trials: {reserved!r} is another file of a data directory; rename it"
            )
    for name, trials in config["trials"].items():
        known = list(config["sets"][trials["set"]]["trials"])
        if trials["file"] not in known:
            there = nearest(trials["file"], known) if known else "it has none"
            raise ConfigError(
                f"trials.{name}.file: the set {trials['set']} has no trials {trials['file']!r}; {there}"
            )


def check_targets(config: dict[str, Any]) -> None:
    """Raise a ConfigError for parts that a teacher's cache cannot have, or that no student can regress."""
    from spkdistill.distill.parts import KNOWN, is_embedding, is_part, lacks, learnt

    listed = {f"teachers.{name}": teacher for name, teacher in config["teachers"].items()}
    regressed = dict(single_objectives(config))
    for owners, is_known, known in ((listed, is_part, f"{KNOWN}, logits"), (regressed, is_embedding, KNOWN)):
        for where, settings in owners.items():
            for part in settings.get("targets", []):
                if not is_known(part):
                    raise ConfigError(f"{where}.targets: {part!r} is not known; choose from {known}")
    wanted = [(f"teachers.{name}", name, teacher["targets"]) for name, teacher in config["teachers"].items()]
    wanted += [
        (f"students.{name}", student["teacher"], learnt(student["distil"]))
        for name, student in config["students"].items()
    ]
    for where, teacher, parts_of in wanted:
        model = config["teachers"][teacher].get("model")  # of a foreign one another check speaks
        for part in parts_of if model else ():
            if reason := lacks(model, part):
                raise ConfigError(f"{where}.targets: the teacher {teacher} lacks it: {reason}")


def single_objectives(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every objective of the config and of its students, those of a sum each for itself, and its place."""
    named = [(f"objectives.{name}", objective) for name, objective in config["objectives"].items()]
    named += [(f"students.{name}", student["distil"]) for name, student in config["students"].items()]
    for where, objective in named:
        if objective["objective"] == "sum":
            yield from ((f"{where}.of.{place}", one) for place, one in enumerate(objective["of"]))
        else:
            yield where, objective


def check_objectives(config: dict[str, Any]) -> None:
    """Raise a ConfigError for objectives whose settings are sound alone and not together."""
    from spkdistill.distill.curriculum import TauSettings, tau_settings

    for where, objective in single_objectives(config):
        weights = OBJECTIVE_WEIGHTS.get(objective["objective"], ())
        if weights and not any(objective[key] for key in weights):
            raise ConfigError(f"{where}: {', '.join(weights)} are 0, so it learns nothing; raise one")
        if "tau" in objective:
            try:
                build(TauSettings, tau_settings(objective["tau"]), f"{where}.tau")
            except ConfigError as error:
                raise ConfigError(f"{where}.tau.{str(error).removeprefix(f'{where}.tau.')}") from None
    for name, objective in config["objectives"].items():
        if objective["objective"] == "sum":
            check_sum(objective["of"], f"objectives.{name}.of")
    for name, student in config["students"].items():
        until, epochs = last_epoch(student["distil"]), student["training"]["epochs"]
        if until > epochs:
            raise ConfigError(
                f"students.{name}: tau falls until epoch {until:g} of a training of {epochs}; lower tau.to"
            )


def last_epoch(distil: dict[str, Any]) -> float:
    """The epoch at which the curriculum of an objective ends; 0 where it has none, or not in epochs."""
    taus = [one.get("tau") for one in distil.get("of", [distil])]
    return max(tau["to"] if isinstance(tau, dict) and tau["unit"] == "epochs" else 0 for tau in taus)


def check_sum(objectives: list[dict[str, Any]], where: str) -> None:
    """Raise a ConfigError unless it is one objective on logits and one on embeddings of the same views."""
    for one in objectives:
        if one["objective"] in ("none", "sum"):
            raise ConfigError(f"{where}: {one['objective']!r} is nothing to add up; leave it out")
        if one.get("targets_of") == "utterance":
            raise ConfigError(
                f"{where}: targets_of: logits are of views, so the embeddings of a sum must be; say view"
            )
    if sorted("targets" in one for one in objectives) != [False, True]:
        raise ConfigError(
            f"{where}: a sum is of one objective on logits and of one on embeddings (multilevel, embedding)"
        )


def check_logits(config: dict[str, Any]) -> None:
    """Raise a ConfigError for students whose objective needs more logits than the largest that are cached."""
    from spkdistill.distill.parts import on_logits

    for name, student in config["students"].items():
        teacher = student["teacher"]
        cache = config["teachers"][teacher].get("logits", {})
        if cache.get("form") != "topk":
            continue
        for one in on_logits(student["distil"]):
            if one["objective"] == "dist" or one.get("standardise"):
                what = "objective: dist" if one["objective"] == "dist" else "standardise"
                raise ConfigError(
                    f"students.{name}: {what} needs every logit, but teachers.{teacher}.logits.form is topk; "
                    "say factored or dense"
                )
            for setting, needed in largest_needed(one):
                if needed > cache["k"]:
                    raise ConfigError(
                        f"students.{name}: {setting} needs the {needed} largest others, but "
                        f"teachers.{teacher}.logits.k is {cache['k']}; raise k, or say factored or dense"
                    )


def largest_needed(objective: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """A setting of an objective on logits, and how many of the largest others it asks for, if it says so."""
    if objective["objective"] == "gkd":
        yield f"size: {objective['size']}", objective["size"] - 1
    tau = objective.get("tau")
    if isinstance(tau, dict) and isinstance(tau["end"], dict) and "classes" in tau["end"]:
        yield f"tau.end.classes: {tau['end']['classes']}", tau["end"]["classes"]


def give_margins(config: dict[str, Any]) -> None:
    """Tell students that learn from logits with a margin which one their teacher's head has."""
    for name, student in config["students"].items():
        distil = student["distil"]
        if distil["objective"] == "sum":
            of = [margin_given(config, name, one) for one in distil["of"]]
            student["distil"] = {**distil, "of": of}
        else:
            student["distil"] = margin_given(config, name, distil)


def margin_given(config: dict[str, Any], name: str, objective: dict[str, Any]) -> dict[str, Any]:
    """An objective of a student, with its teacher's head where it needs that; ConfigError for no margin."""
    if objective.get("kd_logits") != "margin":
        return objective
    student = config["students"][name]
    # a file has no head, nor logits: see check_foreign
    head = config["teachers"][student["teacher"]].get("head")
    for whose, one in (("the student", student["head"]), (f"the teacher {student['teacher']}", head)):
        if one is not None and one["kind"] != "aam":
            raise ConfigError(
                f"students.{name}: kd_logits: margin, but {whose} has a {one['kind']} head, which has none; "
                "give it `head: {kind: aam}` or use plain logits"
            )
    return {**objective, "teacher_head": head}


def check_values(config: dict[str, Any]) -> None:
    """Raise a ConfigError for values that are sound alone and not together."""
    from spkdistill.features.cmn import CmnSettings
    from spkdistill.features.settings import check_voiced, configured
    from spkdistill.metrics.settings import MetricsSettings
    from spkdistill.training.settings import TrainingSettings

    build(MetricsSettings, config["metrics"], "metrics")
    build(CmnSettings, config["cmn"], "cmn")
    for name, settings in config["features"].items():
        try:
            configured(settings)
            build(CmnSettings, settings["cmn"], "features.cmn")
        except ConfigError as error:
            where = str(error).removeprefix("features.")
            raise ConfigError(f"features.{name}.{where}") from None
    check_voiced(configured(config["features"][config["vad"]["features"]]))
    check_frames(config)
    for name, training in trainings(config):
        try:
            build(TrainingSettings, training, "training")
        except ConfigError as error:
            raise ConfigError(f"{name}.{error}") from None
    for name, settings in config["sets"].items():
        for key in ("seconds", "snr"):
            low, high = settings.get(key, (0, 0))
            if low > high:
                raise ConfigError(f"sets.{name}.{key}: the range {low} to {high} runs backwards")
        for speed in settings["speeds"]:
            if speed == 1 or speed != round(speed, 2):
                raise ConfigError(
                    f"sets.{name}.speeds: {speed}, but copies have other speeds than 1, "
                    "with two decimals at most"
                )


def check_sizes(config: dict[str, Any]) -> None:
    """Raise a ConfigError for networks whose sizes do not fit together, or not their features."""
    from spkdistill.features.settings import configured, feature_dim
    from spkdistill.models.sizes import misfit

    dims = {name: feature_dim(configured(settings)) for name, settings in config["features"].items()}
    for section in ("teachers", "students"):
        for name, network in config[section].items():
            if "model" in network and (fault := misfit(network["model"], dims[network["features"]])):
                raise ConfigError(f"{section}.{name}.model.{fault}")


def check_frames(config: dict[str, Any]) -> None:
    """Raise a ConfigError where a model's features have other frames than those that speech is found in."""
    reference = config["vad"]["features"]
    expected = config["features"][reference]
    keys = ["frame_shift", "snip_edges", *(["frame_length"] if expected["snip_edges"] else [])]
    for name in {model["features"] for role in ("teachers", "students") for model in config[role].values()}:
        for key in keys:
            if (value := config["features"][name][key]) != expected[key]:
                raise ConfigError(
                    f"features.{name}.{key}: {value}, but {expected[key]} for {reference}, in which speech "
                    "is found (vad.features); all features of a run have the same frames"
                )


def trainings(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every `training` of a model or of a teacher's aggregators, and what it belongs to."""
    for section in ("teachers", "students"):
        for name, model in config[section].items():
            if "file" in model:
                continue
            yield f"{section}.{name}", model["training"]
            if "aggregators" in model:
                yield f"{section}.{name}.aggregators", model["aggregators"]["training"]


def check_remote(config: dict[str, Any]) -> None:
    """Raise a ConfigError for a set that cannot lie on remote storage, or that names no archives there."""
    for name, settings in config["sets"].items():
        if "://" not in settings.get("directory", ""):
            continue
        if settings["corpus"] != "kaldi":
            raise ConfigError(
                f"sets.{name}.directory: on remote storage only `corpus: kaldi` is read; "
                "store it as a Kaldi data directory"
            )
        if not settings["archives"]:
            raise ConfigError(
                f"sets.{name}.archives: missing; name the archives there that wav.scp points into, "
                "which are fetched for the jobs that read recordings"
            )


def must_know(config: dict[str, Any], section: str, name: str, where: str) -> None:
    """Raise a ConfigError unless `config[section]` has an entry called `name`."""
    if name not in config[section]:
        raise ConfigError(f"{where}: {section} has no entry {name!r}; {nearest(name, list(config[section]))}")


def check_model_names(config: dict[str, Any]) -> None:
    """Raise a ConfigError where a teacher and a student, or students of several seeds, would share a name."""
    groups = {student["group"] for student in config["students"].values()}
    for name in config["teachers"]:
        if name in groups or name in config["students"]:
            raise ConfigError(f"teachers.{name}: a student is called {name!r} too; rename one of them")


def check_foreign(config: dict[str, Any]) -> None:
    """Raise a ConfigError where a program is not trusted, or more is asked of a file than its embedding."""
    from spkdistill.distill.parts import learnt

    foreign = {name: teacher for name, teacher in config["teachers"].items() if "file" in teacher}
    for name, teacher in foreign.items():
        if not teacher["file"].endswith(".onnx") and not teacher["trust"]:
            raise ConfigError(
                f"teachers.{name}.trust: {teacher['file']} is TorchScript, a program, which may do anything; "
                "say `trust: true` if you trust its maker, or use ONNX"
            )
    for name, student in config["students"].items():
        other = [part for part in learnt(student["distil"]) if part != "xvector"]
        if student["teacher"] in foreign and other:
            raise ConfigError(
                f"students.{name}: learns from {other[0]}, but the teacher {student['teacher']}, a file, "
                "has `xvector` alone; choose other objectives"
            )
