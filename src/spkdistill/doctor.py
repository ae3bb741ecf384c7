"""`spkdistill doctor`: what in a run's folder is damaged, missing, stale or left over, and why.

Damage is what the records of provenance.py tell, and every file is read for it. What is missing or stale is
asked of Snakemake, by a dry run; the records then say which setting, code or input has changed since.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from spkdistill.codehash import code_hash
from spkdistill.errors import DataError
from spkdistill.files import private_parts, read_json, write_json
from spkdistill.provenance import (
    FOLDER,
    RUN_FILE,
    Records,
    Stage,
    is_record,
    oldest_first,
    sha256,
    signature,
    unchanged,
)
from spkdistill.resume.leftovers import has_writer

NOT_ARTIFACTS = ("logs", "benchmarks", "work", FOLDER, RUN_FILE)
OPERATORS = "();<>|&"
KEY = re.compile(r"[A-Za-z_][\w.-]*")  # of a config

ReadCommand = Callable[[list[str]], Stage | None]


class Finding(NamedTuple):
    """One thing that is wrong with a file of a run."""

    kind: str  # damaged, missing, stale, left over; "to do": not made yet; "follows" from another one
    path: Path
    why: str


class Record(NamedTuple):
    """A record's file, and what it says."""

    path: Path
    content: dict[str, Any]

    @property
    def outputs(self) -> dict[Path, dict[str, Any]]:
        """What the stage wrote, by path."""
        return {self.path.parents[1] / name: output for name, output in self.content["outputs"].items()}

    @property
    def maker(self) -> str:
        """The stage and its time, for messages."""
        return f"`spkdistill {self.content['command']}` wrote on {self.content['started'][:16]}"


class Plan(NamedTuple):
    """What Snakemake would do: the outputs of all rules, those that it would make, the stages that would."""

    outputs: set[Path]
    pending: set[Path]
    stages: list[Stage]


def examine(
    run: Path, quick: bool, snakefile: Path | None, config_files: Sequence[Path], read_command: ReadCommand
) -> Iterator[Finding]:
    """What is wrong with a run, worst first; `quick` trusts size and time of change of a file.

    To be called in the folder that Snakemake runs in; `run` is relative to it. `read_command` gives the stage
    of a command's words. Without a Snakefile only the records are compared, without config files those of the
    run are taken.
    """
    records, findings = read_run_records(run)
    if not records and not findings:
        raise DataError(f"{run}: no stage has left a record here")
    configs = configfile_options(config_files) or config_options(run)
    plan = None if snakefile is None else ask_snakemake(snakefile, configs, read_command)
    findings += damage(records, None if plan is None else plan.outputs, quick)
    yield from findings
    if plan is None:
        yield from outdated(records)
        return
    yield from pending(plan, records, {finding.path for finding in findings})
    yield from left_over(run, plan, records)


def read_run_records(run: Path) -> tuple[list[Record], list[Finding]]:
    """The records of a run, oldest first, and those that cannot be read."""
    records, damaged = [], []
    for path in sorted(run.rglob(f"{FOLDER}/*.json")):
        try:
            content = read_json(path)
        except DataError:
            content = None
        if is_record(content):
            records.append((path, content))
        else:
            damaged.append(Finding("damaged", path, "the record cannot be read"))
    return [Record(*found) for found in oldest_first(records)], damaged


def latest(records: Sequence[Record]) -> dict[Path, Record]:
    """The record of each artifact; a file that several name is as the last of them says."""
    return {path: record for record in records for path in record.outputs}


def damage(records: Sequence[Record], wanted: set[Path] | None, quick: bool) -> Iterator[Finding]:
    """Files that are not what a stage wrote, or that are gone though `wanted` (None: all ever made)."""
    for path, record in latest(records).items():
        output = record.outputs[path]
        if not path.is_file():
            if wanted is None or path in wanted:
                yield Finding("missing", path, f"{record.maker} and is gone")
        elif path.stat().st_size != output["bytes"]:
            found = f"{path.stat().st_size} bytes of the {output['bytes']}"
            yield Finding("damaged", path, f"{found} that {record.maker}")
        elif not (quick and unchanged(path, output)) and sha256(path) != output["sha256"]:
            yield Finding("damaged", path, f"other bytes than {record.maker}")


def outdated(records: Sequence[Record]) -> Iterator[Finding]:
    """Artifacts whose code or inputs are not those of their record."""
    ledger = Records()
    for record in records:
        if changes := [*code_changes(record), *input_changes(record, set(), ledger)]:
            yield Finding("stale", next(iter(record.outputs)), "; ".join(changes))


def config_options(run: Path) -> list[str]:
    """The options by which a run got its config.

    Results may be a stranger's, and a config can run code: one that lies among them is refused, and so is a
    key that Snakemake would take for an option of its own.
    """
    path = run / RUN_FILE
    content = read_json(path)
    kinds = {"config_files": list, "overrides": dict}
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kinds[key]) for key in kinds):
        raise DataError(f"{path}: damaged; start the run again to write it anew")
    files, overrides = list(map(str, content["config_files"])), content["overrides"]
    for key in overrides:
        if not KEY.fullmatch(key):
            raise DataError(f"{path}: {key!r} is no key of a config; start the run again to write it anew")
    for file in files:
        if Path(file).resolve().is_relative_to(run.resolve().parent):
            raise DataError(f"{path}: names {file} among the results; give --configfile if you trust it")
        if not Path(file).exists():
            raise DataError(f"{file}: the config of this run is not there; give --configfile")
    values = [f"{key}={value}" for key, value in overrides.items()]
    return [*configfile_options(files), *(["--config", *values] if values else [])]


def configfile_options(files: Sequence[str | Path]) -> list[str]:
    """Snakemake's option for some config files."""
    return ["--configfile", *map(str, files)] if files else []


def ask_snakemake(snakefile: Path, configs: Sequence[str], read_command: ReadCommand) -> Plan:
    """What Snakemake would do with this config as it is now."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *configs, "--cores", "1"]
    outputs, waiting = set(), set()
    for line in said_by([*command, "--summary"]).splitlines()[1:]:
        path, *_, plan = line.split("\t")
        outputs.add(Path(path))
        if plan == "update pending":
            waiting.add(Path(path))
    planned = said_by([*command, "--dry-run", "--printshellcmds", "--rerun-incomplete"])
    return Plan(outputs, waiting, list(stages_in(planned, read_command)))


def said_by(command: Sequence[str]) -> str:
    """What a command prints; DataError with what it complains of."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = " ".join((done.stderr or done.stdout).split())
        raise DataError(f"snakemake cannot say what is stale: {complaint[-500:]}")
    return done.stdout


def stages_in(text: str, read_command: ReadCommand) -> Iterator[Stage]:
    """The stages whose commands a dry run prints."""
    for line in text.splitlines():
        if line.startswith("Shell command:"):
            for words in simple_commands(line):
                if "spkdistill" in words and (stage := read_command(words[words.index("spkdistill") + 1 :])):
                    yield stage


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words between a shell line's operators."""
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace_split = True
    for word in lexer:
        if set(word) <= set(OPERATORS):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def pending(plan: Plan, records: Sequence[Record], reported: set[Path]) -> Iterator[Finding]:
    """Why each stage that Snakemake would run is to be run, a finding for each."""
    made_by, ledger = latest(records), Records()
    waiting = plan.pending | reported
    for stage in plan.stages:
        first = next((path for path in stage.writes if path in plan.pending), stage.writes[0])
        record = made_by.get(first)
        if any(path in reported for path in stage.writes):
            continue
        if not first.exists():
            yield Finding("missing" if record else "to do", first, "not made yet")
        elif changes := changes_of(stage, record, waiting, ledger):
            yield Finding("stale", first, "; ".join(changes))
        else:
            cause = next((path for path in stage.reads if path in waiting), None)
            yield Finding("follows", first, f"follows from {cause}" if cause else "an input is newer")


def changes_of(stage: Stage, record: Record | None, waiting: set[Path], ledger: Records) -> list[str]:
    """What is different now from when an artifact was made, inputs that will be made anew left out."""
    if record is None:
        return ["nothing says how it was made"]
    before, now = record.content["arguments"], dict(stage.arguments)
    settings = [f"{key}: {old} -> {new}" for key, old, new in differences(before, now)]
    return settings + code_changes(record) + input_changes(record, waiting, ledger)


def differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, old and new value of each setting that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            inner = f"{key}.{name}" if key else name
            yield from differences(before.get(name), now.get(name), inner)
    elif before != now:
        yield key.removeprefix("settings."), str(before), str(now)


def code_changes(record: Record) -> list[str]:
    """Whether the code that made an artifact is the code that is here."""
    code = record.content["code"]
    modules = ", ".join(code["modules"])
    try:
        same = code_hash(*code["modules"]) == code["hash"]
    except OSError:
        return [f"there is no code {modules} here"]
    return [] if same else [f"the code of {modules} has changed"]


def input_changes(record: Record, waiting: set[Path], ledger: Records) -> list[str]:
    """The inputs of an artifact that are not there or have other bytes now, those that wait left out."""
    changes = []
    for name, digest in record.content["inputs"].items():
        path = Path(name)
        if path in waiting:
            continue
        if not path.exists():
            changes.append(f"its input {path} is gone")
        elif ledger.digest(path) != digest:
            changes.append(f"made from another {path}")
    return changes


def left_over(run: Path, plan: Plan, records: Sequence[Record]) -> Iterator[Finding]:
    """Files of a run that no rule makes, and records of such that are gone."""
    for record in records:
        if not any(path in plan.outputs or path.exists() for path in record.outputs):
            yield Finding("left over", record.path, "a record of files that are gone and not wanted")
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run)
        if not path.is_file() or path in plan.outputs:
            continue
        if private_parts(path):
            if not has_writer(path):
                yield Finding("left over", path, "the private file of a process that is gone")
        elif not set(inside.parts) & set(NOT_ARTIFACTS):
            yield Finding("left over", path, "no rule makes it with this config")


def repair(findings: Sequence[Finding]) -> list[Path]:
    """Remove what is damaged and what dead processes left; returns what was removed."""
    removed = [finding.path for finding in findings if finding.kind == "damaged" or is_debris(finding)]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def is_debris(finding: Finding) -> bool:
    """Whether what is left over is nobody's work: half-written, or a record of files that are gone."""
    of_nobody = private_parts(finding.path) is not None or finding.path.parent.name == FOLDER
    return finding.kind == "left over" and of_nobody


def accept(path: Path) -> None:
    """Record a file as it is now, as one that a person has edited; DataError if no stage wrote it."""
    found = Records().of(path)
    if found is None:
        raise DataError(f"{path}: has no record, so that nothing objects to it")
    where, record = found
    record["outputs"][path.name] = {
        "sha256": sha256(path),
        **signature(path),
        "edited": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(where, record)
