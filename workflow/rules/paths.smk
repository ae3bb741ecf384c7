"""Which files and settings a rule reads where that depends on the config, in the order of the pipeline."""


def is_synthetic(set):
    """Whether the recordings of a set are made here."""
    return config["sets"][set]["corpus"] == "synthetic"


CORPUS_FILES = ["wav.scp", "utt2spk", "spk2utt", "utt2dur", "utt2speed", "segments", "spk2gender"]


def corpus_file(set, *names):
    """A file of a user's corpus as an input: on the storage that its directory names, or else on this machine."""
    path = os.path.join(config["sets"][set]["directory"], *names)
    return storage(path) if "://" in path else local(os.path.normpath(path))


@cache
def is_there(set, *names):
    """Whether a user's corpus has such a file; kept, because input functions may not ask remote storage."""
    return exists(corpus_file(set, *names))


def source_files(set):
    """The files of a user's corpus that say what is in it; a change in them prepares the set again."""
    lists = [file for name in config["sets"][set]["trials"] for file in (name, f"{name}.enrol")]
    return [] if is_synthetic(set) else existing(set, [*CORPUS_FILES, *lists])


def corpus_files(w):
    """Those that say what recordings there are."""
    return existing(w.set, CORPUS_FILES)


def existing(set, names):
    """The files of a user's corpus that are there."""
    places = product(corpora.folders(config["sets"][set]), names)
    return sorted(corpus_file(set, *place) for place in places if is_there(set, *place))


def corpus_settings(set, **others):
    """What reading a set depends on; a directory on remote storage is read where its local copy lies."""
    settings = {key: value for key, value in config["sets"][set].items() if key not in ("archives", "speeds")}
    if "://" in settings.get("directory", ""):
        directory = str(corpus_file(set))
        root = os.path.normpath(os.path.join(directory, settings["root"]))
        settings |= {"directory": directory, "root": root}
    return as_json({**settings, **others})


def speed_options(set):
    """The speeds of a set's copies."""
    speeds = config["sets"][set]["speeds"]
    return ["--speeds", *speeds] if speeds else []


def allowed_options(w):
    """What the config allows to a wav.scp."""
    keys = ("allow_pipes", "allow_outside")
    return [f"--{key.replace('_', '-')}" for key in keys if config["data"][key]]


def enrols_models(set, name):
    """Whether the enrolled side of a set's trial list names models, which lie beside it as `<list>.enrol`."""
    settings = config["sets"][set]
    lists = settings["trials"]
    draw = lists[name] if isinstance(lists, dict) else None
    if draw is not None:
        return draw["enrol_utterances"] > 1
    return is_there(set, settings.get("part", ""), f"{name}.enrol")


def data_files(set):
    """The files of a set's data directory; segments, sexes and speeds are there where the corpus has them."""
    optional = {"spk2gender"} if is_synthetic(set) else {Path(path).name for path in source_files(set)}
    if config["sets"][set]["speeds"]:
        optional.add("utt2speed")
    names = [
        "wav.scp",
        "utt2spk",
        "spk2utt",
        "utt2dur",
        "rejected.tsv",
        "rejected_trials.tsv",
        "manifest.json",
    ]
    names += sorted(optional & {"segments", "spk2gender", "utt2speed"})
    return of_run("results/{run}/data/{set}/{file}", set=set, file=names)


def utterance_files(w):
    """The files of a set's data directory that say which utterances there are, where, and how fast."""
    names = ("wav.scp", "utt2spk", "segments", "utt2speed")
    return [path for path in data_files(w.set) if Path(path).name in names]


def prepared_list(trials):
    """The checked trial list of that name."""
    settings = config["trials"][trials]
    return f"results/{RUN}/data/{settings['set']}/{settings['file']}"


def model_files(w):
    """The models of a job's trial list; nothing where it enrols utterances."""
    settings = config["trials"][w.trials]
    return [f"{prepared_list(w.trials)}.enrol"] if enrols_models(settings["set"], settings["file"]) else []


def trial_list(w):
    """The checked trial list of a job."""
    return prepared_list(w.trials)


def audio_arks(set):
    """The archives of a set's recordings: made here, or those that the config names."""
    if is_synthetic(set):
        return of_run("results/{run}/data/{set}/wav.{job}.ark", set=set, job=JOBS)
    return [corpus_file(set, name) for name in config["sets"][set].get("archives", [])]


def used_features():
    """The kinds of features that a model or the voice activity detection reads."""
    return sorted({config["vad"]["features"], *(model["features"] for model in MODELS.values())})


def feature_settings(features, set):
    """The settings of a kind of features, and the channel that is read of a set's recordings."""
    settings = {key: value for key, value in config["features"][features].items() if key != "cmn"}
    return as_json({**settings, "channel": config["sets"][set].get("channel", -1)})


def raw(features, set):
    """The merged index of a set's raw features."""
    return f"results/{RUN}/feats/{features}/{set}/raw.scp"


def voiced(features, set):
    """The merged index of a set's normalised voiced frames."""
    return f"results/{RUN}/feats/{features}/{set}/voiced.scp"


def voiced_arks(features, set):
    """The archives that `voiced` points into."""
    return expand(f"results/{RUN}/feats/{features}/{set}/voiced.{{job}}.ark", job=JOBS)


def vad_settings():
    """The detector's settings, without the name of the features that it reads."""
    return {key: value for key, value in config["vad"].items() if key != "features"}


def model_settings(model):
    """What training or adopting a model depends on, other models' settings left out."""
    keys = ("features", "model", "head", "training", "distil", "output")
    return {key: MODELS[model][key] for key in keys if key in MODELS[model]}


def model_file(model, name):
    """A file of a teacher's or student's directory."""
    role = "teachers" if model in config["teachers"] else "students"
    return f"results/{RUN}/{role}/{model}/{name}"


def network_file(model):
    """The network of a model, trained here or a copy of the file that the config names."""
    suffix = Path(MODELS[model].get("file", "model.safetensors")).suffix
    return model_file(model, f"model{suffix}")


def trust_option(model):
    """The option that lets the program in a model's file run, where the config does."""
    return "--trust" if MODELS[model].get("trust") else ""


def cores(training):
    """The cores of a training's processes together."""
    return training["threads"] * training["processes"]


def targets_of(student):
    """The parts of the cache that a student's objective reads."""
    return learnt(config["students"][student]["distil"])


UNITS = {"": "view", "utterances/": "utterance"}  # folders of the cache, and what the targets in them are of


def cache_folder(student):
    """Where the cache that a student reads lies."""
    settings = config["students"][student]
    folder = {unit: folder for folder, unit in UNITS.items()}[parts.unit_of(settings["distil"])]
    return f"results/{RUN}/targets/{settings['teacher']}/train/{folder}"


def target_files(student, name):
    """Files of the cache that a student reads; `name` has a place for the part, and one for the shard if sharded."""
    archives = parts.stored(config, config["students"][student]["teacher"], targets_of(student))
    return expand(f"{cache_folder(student)}{name}", part=map(file_name, archives), job=JOBS)


def head_files(student):
    """The teacher's head, if the student's logits are factored."""
    factored = parts.is_factored(config, config["students"][student]["teacher"])
    wanted = factored and "logits" in targets_of(student)
    return [f"{cache_folder(student)}head.safetensors"] if wanted else []


def target_options(w, input):
    """PART=SCP for each part that a student reads, and head=FILE."""
    files = zip(targets_of(w.student), input.targets)
    return [f"{part}={scp}" for part, scp in files] + [f"head={head}" for head in input.head]


def cached_parts(teacher, folder):
    """The parts in a folder of a teacher's cache."""
    return parts.cached(config, teacher, UNITS[folder])


def with_every_embedding():
    """The teachers whose `targets` list all EMBEDDINGS, which one job dumps."""
    return [
        name for name, teacher in config["teachers"].items() if set(EMBEDDINGS) <= set(teacher["targets"])
    ]


def with_head():
    """The teachers with factored logits in their cache."""
    return [
        name
        for name in config["teachers"]
        if parts.is_factored(config, name) and "logits" in cached_parts(name, "")
    ]


def top_options(w):
    """How much is kept of logits: k, and the temperatures of all who learn them."""
    settings = config["teachers"][w.teacher].get("logits", {})
    if settings.get("form") != "topk" or w.get("part") != "logits":
        return ""
    return f"--top {settings['k']} --temperatures {' '.join(map(str, parts.temperatures(config, w.teacher)))}"


def unit_option(w):
    """What an answer of the teacher is for."""
    return UNITS[w.get("unit", "")]


def with_aggregators():
    """The teachers that have an aggregated part in their cache."""
    return [
        teacher
        for teacher in config["teachers"]
        if any(set(AGGREGATED) & set(cached_parts(teacher, folder)) for folder in UNITS)
    ]


def aggregator_files(w):
    """The aggregators that dumping needs, if it needs them."""
    dumped = {part_of(w.part)} if w.get("part") else EMBEDDINGS
    names = ["aggregators.safetensors", "aggregators.json"] if set(AGGREGATED) & set(dumped) else []
    return [model_file(w.teacher, name) for name in names]


def part_options(w, output):
    """PART=ARK,SCP,JSON for each part that is dumped."""
    files = zip(output.arks, output.scps, output.rounding)
    return [f"{part_of(Path(paths[0]).name.split('.')[0])}={','.join(paths)}" for paths in files]


def target_keys(w):
    """What has targets: the views, or the utterances but for those without views."""
    views = f"results/{RUN}/views/{w.set}"
    if not w.unit:
        return [f"{views}/views.tsv"]
    return [voiced(config["teachers"][w.teacher]["features"], w.set), f"{views}/rejected.tsv"]


def analysed(teacher):
    """The parts of a teacher's cache of views that are compared; logits, a function of xvector, are not."""
    return [part for part in cached_parts(teacher, "") if part != "logits"]


def analysed_files(w, name):
    """Files of those parts; `name` has a place for the part, and one for the shard if sharded."""
    names = map(file_name, analysed(w.teacher))
    return expand(f"results/{RUN}/targets/{w.teacher}/{w.set}/{name}", part=names, job=JOBS)


def embedding_files(model, set, name):
    """Files of a set's embeddings; `name` has a place for the shard if it is sharded."""
    return expand(f"results/{RUN}/embeddings/{model}/{set}/{name}", job=JOBS)


def condition_files(w):
    """What the conditions of the metrics are read from."""
    set, conditions = config["trials"][w.trials]["set"], config["metrics"]["conditions"]
    names = {"sex": "spk2gender", "duration": "utt2dur"}
    there = {Path(path).name: path for path in data_files(set)}
    if "sex" in conditions and "spk2gender" not in there:
        raise WorkflowError(
            f"metrics.conditions: sex, but sets.{set} has no spk2gender; give it one, or remove sex"
        )
    return [there[names[condition]] for condition in conditions if condition in names]


BACKEND_OPTIONS = {"mean": "mean.vec", "transform": "transform.mat", "plda": "plda"}
COHORT_OPTIONS = {
    "cohort": "speakers_{utterances}.scp",
    "cohort-num-utts": "num_utts_{utterances}",
    "": "speakers_{utterances}.ark",
}


def options(names, paths):
    """The options `--name path` of a job; a file that comes with another has no name."""
    return [f"--{name} {path}" for name, path in zip(names, paths) if name]


def backend_files(w):
    """The files of a back-end, in the order of BACKEND_OPTIONS."""
    plda = config["backends"][w.backend]["kind"] == "plda"
    names = list(BACKEND_OPTIONS.values()) if plda else ["mean.vec"]
    return [f"results/{RUN}/backends/{w.model}/{w.backend}/{name}" for name in names]


SCORING = ("normalize_length", "simple_length_norm", "score_norm", "cohort_top")


def training_settings(w):
    """What training a back-end depends on."""
    settings = config["backends"][w.backend]
    return as_json(
        {key: settings[key] for key in settings if key not in (*SCORING, "cohort_set", "cohort_utterances")}
    )


def scoring_options(w):
    """What scoring depends on, as options."""
    settings = config["backends"][w.backend]
    given = {key.replace("_", "-"): settings[key] for key in SCORING if key in settings}
    switches = [f"--{'' if value else 'no-'}{key}" for key, value in given.items() if isinstance(value, bool)]
    return switches + [f"--{key} {value}" for key, value in given.items() if not isinstance(value, bool)]


def scoring_files(w, input):
    """The options that name the files of a back-end, of its cohort and of the models of the list."""
    return (
        options(BACKEND_OPTIONS, input.backend)
        + options(COHORT_OPTIONS, input.cohort)
        + options(["enrol-spk2utt"], input.models)
    )


def shard_options(w):
    """The options that name a shard of a trial list; none where one job scores it."""
    jobs = config["trials"][w.trials]["shards"]
    return f"--job {w.shard[1:]} --jobs {jobs}" if w.shard else ""


def score_shards(w, name):
    """Files of the shards of a trial list's scores; `name` has a place for the shard."""
    jobs = range(1, config["trials"][w.trials]["shards"] + 1)
    return expand(f"results/{RUN}/scores/{w.model}/{w.backend}/{w.trials}/{name}", job=jobs)


def adapt_files(w):
    """The index, and then the archives, of the embeddings that a back-end is adapted to."""
    adapted = config["backends"][w.backend]["adapt_set"]
    names = ["xvector.scp", "xvector.{job}.ark"] if adapted else []
    return [path for name in names for path in embedding_files(w.model, adapted, name)]


def adapt_option(w, input):
    """The option that names the index."""
    return f"--adapt {input.adapt[0]}" if input.adapt else ""


def cohort_backends():
    """The settings of the back-ends that normalise their scores."""
    return [backend for backend in config["backends"].values() if backend.get("score_norm", "none") != "none"]


def cohort_of(model, settings):
    """The cohort of a back-end that normalises its scores, in the order of COHORT_OPTIONS."""
    utterances = settings["cohort_utterances"] or "all"
    names = [name.format(utterances=utterances) for name in COHORT_OPTIONS.values()]
    return [f"results/{RUN}/embeddings/{model}/{settings['cohort_set']}/{name}" for name in names]


def cohort_files(w):
    """The cohort that scoring needs, if it needs one."""
    settings = config["backends"][w.backend]
    return cohort_of(w.model, settings) if settings in cohort_backends() else []


def at_most_option(w):
    """The option that bounds the utterances that a speaker's mean is over."""
    return "" if w.utterances == "all" else f"--at-most {w.utterances}"


def fused_scores(w, trials):
    """The score files of a trial list that a fusion sums."""
    systems = config["backends"][w.backend]["systems"]
    return [f"results/{RUN}/scores/{w.model}/{system}/{trials}/scores" for system in systems]


def named_systems(w, input):
    """SYSTEM=SCORES for the score files that a fusion sums."""
    return [f"{name}={path}" for name, path in zip(config["backends"][w.backend]["systems"], input.scores)]


# In the place of the name of a back-end, which never begins so:
ACROSS = "_backends"  # each model's back-ends
STUDENTS = "_students"  # an experiment's students without a teacher and with theirs, before the back-end


@cache
def trainings(group):
    """The models of a group, which differ in the seed of their training alone."""
    return [model for model in MODELS if group_of(config, model) == group]


def compared(w):
    """The systems (name, groups, back-end) that a table of paired tests compares, in pairs."""
    if w.compared == ACROSS:
        groups = dict.fromkeys(group_of(config, model) for model in MODELS)
        return [
            ((group, (group,), one), (group, (group,), other))
            for group in groups
            for one, other in derived_backends(config)
        ]
    *path, backend = w.compared.split("/")
    if path and path[-1] != STUDENTS:
        pairs = reference_pairs(config, path[0])
    else:
        pairs = student_pairs(
            config, config["experiments"][path[0]]["models"] if path else config["students"]
        )
    return [((*one, backend), (*other, backend)) for one, other in pairs]


def with_reference(experiments):
    """EXPERIMENT/BACKEND for the tables of those experiments that have a reference."""
    with_one = [name for name in experiments if "reference" in config["experiments"][name]]
    return [f"{name}/{shown.figures_backend(config, name)}" for name in with_one]


def compared_tables():
    """The tables of paired tests: for each back-end, and across them where one derives from another."""
    tables = [*config["backends"], ACROSS] if derived_backends(config) else config["backends"]
    return of_run("results/{run}/metrics/paired/{compared}/{trials}.tsv", compared=tables, trials=MEASURED)


def reference_tables(experiments):
    """Those of experiments that have a reference."""
    return of_run(
        "results/{run}/metrics/paired/{compared}/{trials}.tsv",
        compared=with_reference(experiments),
        trials=MEASURED,
    )


def student_tables(experiment):
    """That of an experiment's students with themselves without a teacher, and with their teachers."""
    compared = f"{experiment}/{STUDENTS}/{shown.figures_backend(config, experiment)}"
    return of_run("results/{run}/metrics/paired/{compared}/{trials}.tsv", compared=compared, trials=MEASURED)


def score_files(system, trials):
    """The scores of a trial list by each model of a system."""
    _, groups, backend = system
    models = [model for group in groups for model in trainings(group)]
    return [f"results/{RUN}/scores/{model}/{backend}/{trials}/scores" for model in models]


def compared_systems(w):
    """The systems of a table, each once."""
    return sorted({system for pair in compared(w) for system in pair})


def compared_scores(w):
    """Their score files."""
    return [path for system in compared_systems(w) for path in score_files(system, w.trials)]


def pair_options(w, input):
    """The options of a table: its pairs, and whether the systems of a pair score the same models."""
    paths, named = iter(input.scores), {}
    for system in compared_systems(w):
        name, groups, backend = system
        students = [",".join(islice(paths, len(trainings(group)))) for group in groups]
        named[system] = f"{name}/{backend}={'+'.join(students)}"
    options = [f"--pair {named[one]} {named[other]}" for one, other in compared(w)]
    return options + (["--shared-seeds"] if w.compared == ACROSS else [])


def runs_settings(students):
    """What a table of runs shows."""
    return in_pieces(json.dumps(shown.runs_settings(config, students)))


def runs_metrics(students, backends=config["backends"]):
    """Their metrics with some back-ends on every trial list."""
    pattern = "results/{run}/metrics/{model}/{backend}/{trials}.json"
    return of_run(pattern, model=shown.table_models(config, students), backend=backends, trials=MEASURED)


def runs_configs(students):
    """Their config.json."""
    return [model_file(model, "config.json") for model in shown.table_models(config, students)]


def page_logs(experiment):
    """The training logs of the models of an experiment; a foreign teacher has none."""
    models = shown.table_models(config, shown.experiment_students(config, experiment))
    return [model_file(model, "log.tsv") for model in models if model not in FOREIGN]


def rejected_files():
    """Every list of what a stage rejected."""
    features = {"features": used_features(), "set": config["sets"]}
    return (
        of_run("results/{run}/data/{set}/rejected.tsv", set=config["sets"])
        + of_run("results/{run}/feats/{features}/{set}/rejected.tsv", **features)
        + of_run("results/{run}/feats/{features}/{set}/voiced_rejected.tsv", **features)
        + of_run("results/{run}/views/train/rejected.tsv")
    )


def manifest_files():
    """The manifests that say how much data there is."""
    return of_run("results/{run}/data/{set}/manifest.json", set=config["sets"])


def in_run(path):
    """The path below results/<run>, which lies in the copy of a bucket where results are on remote storage."""
    return Path(str(path).rpartition(f"results/{RUN}/")[2])


def by_system(paths):
    """MODEL/BACKEND/TRIALS=PATH for metrics."""
    return [f"{in_run(path).relative_to('metrics').with_suffix('')}={path}" for path in paths]


def by_reference(paths):
    """EXPERIMENT/BACKEND/TRIALS=PATH for tables of paired tests."""
    return [f"{in_run(path).relative_to('metrics/paired').with_suffix('')}={path}" for path in paths]


def by_model(paths):
    """NAME=PATH for files in models' directories."""
    return [f"{Path(path).parent.name}={path}" for path in paths]


def by_teacher(paths):
    """NAME=PATH for files in the folders of teachers' targets."""
    return [f"{Path(path).parents[1].name}={path}" for path in paths]


def by_stage(paths):
    """STAGE/SET=PATH, the stage being the path between the run and the set."""
    return [f"{in_run(path).with_suffix('')}={path}" for path in paths]
