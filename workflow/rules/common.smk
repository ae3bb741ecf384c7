"""The checked config, the names that wildcards may take, and the few helpers that rules share."""

import json
import os
import re
import sys
from functools import cache
from itertools import islice, product
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from spkdistill.cli import stage_code
from spkdistill.comparisons import derived_backends, group_of, reference_pairs, student_pairs
from spkdistill.config import measured_lists, resolve
from spkdistill.data import corpora
from spkdistill.distill import parts
from spkdistill.distill.parts import AGGREGATED, EMBEDDINGS, PARTS, file_name, learnt, part_of
from spkdistill.errors import ConfigError
from spkdistill.provenance import start_run
from spkdistill.report import settings as shown
from spkdistill.resume import processes, records

try:
    config = resolve(config, Path(workflow.basedir) / "workflow/schemas/config.schema.yaml")
except ConfigError as error:
    raise WorkflowError(str(error))

# Jobs find `spkdistill` beside the Python that runs snakemake, here and on a cluster's nodes. Slurm's SIGTERM goes to
# every process of a job: a shell that died of it would end the job while a training still saves its checkpoint.
shell.prefix(f"trap : TERM; export PATH={Path(sys.executable).parent}:$PATH; ")


# They only join what others made: on a cluster they run where snakemake does.
localrules:
    merge_features,
    merge_vad,
    merge_voiced,
    merge_targets,
    merge_embeddings,
    experiment,
    runs,


# By this, `spkdistill resume` finds the jobs of a Snakemake that was killed.
os.environ[processes.MARK] = os.getcwd()

RUN = config["run"]
JOBS = range(1, config["shards"] + 1)
FOREIGN = [name for name, teacher in config["teachers"].items() if "file" in teacher]
TRAINED = [name for name in config["teachers"] if name not in FOREIGN]
MODELS = config["teachers"] | config["students"]
MEASURED = measured_lists(config)


def named(names):
    """A wildcard constraint: exactly one of `names`, or nothing at all where there is none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    run=re.escape(RUN),
    job=r"\d+",
    set=named(config["sets"]),
    features=named(config["features"]),
    teacher=named(config["teachers"]),
    student=named(config["students"]),
    model=named(MODELS),
    part=named(PARTS) + r"|layer_\d+",
    unit="|utterances/",
    backend=named(config["backends"]),
    trials=named(config["trials"]),


def of_run(*patterns, **names):
    """The files of this run that `patterns` stand for, one for each combination of `names`."""
    return expand(patterns, run=RUN, **names)


def there(paths):
    """Those of some files that exist: pages that somebody asked for are kept up to date."""
    return [path for path in paths if Path(path).exists()]


def artifacts(*rules, **names):
    """Every output of `rules`, for each combination of the wildcards that it has; `run` and `job` need not be given."""
    values = {name: [given] if isinstance(given, str) else list(given) for name, given in names.items()}
    values |= {"run": [RUN], "job": JOBS}
    patterns = [pattern for rule in rules for pattern in rule.output]
    files = set()
    for pattern in patterns:
        wildcards = sorted(pattern.get_wildcard_names())
        for combination in product(*map(values.get, wildcards)):
            # not expand(), which refuses outputs on remote storage
            files.add(pattern.apply_wildcards(dict(zip(wildcards, combination))))
    return sorted(files)


def shards(pattern):
    """`pattern` for every shard, other wildcards left for the rule."""
    return expand(pattern, job=JOBS, allow_missing=True)


def as_json(settings):
    """Settings as the text of a `--settings` argument, the same whatever the order of the config's keys."""
    return json.dumps(settings, sort_keys=True)


PIECE = 100_000  # characters; Linux takes arguments of 131,071 bytes


def in_pieces(text):
    """A text as several arguments."""
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def kind_of(section, kind):
    """The names in a config section whose `kind` is `kind`."""
    return [name for name, settings in config[section].items() if settings["kind"] == kind]
