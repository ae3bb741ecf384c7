"""The tiny config in a working directory, and ways to run and compare it."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MERGED = "teachers/", "students/", "scores/", "metrics/", "views/"  # the same for any number of shards
NOT_ARTIFACTS = {"logs", "benchmarks", "work", "provenance", "run.json"}


@dataclass(frozen=True)
class Run:
    """A working directory with a config file, in which Snakemake runs this project's Snakefile."""

    directory: Path
    executor: tuple[str, ...] = ("--cores", "2")

    @property
    def config_file(self) -> Path:
        return self.directory / "run.yaml"

    @property
    def results(self) -> Path:
        return self.directory / "results/tiny"

    def config(self) -> dict:
        return yaml.safe_load(self.config_file.read_text())

    def write_config(self, config: dict) -> None:
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
            *("--directory", str(self.directory), "--configfile", str(self.config_file)),
            *(*self.executor, "--show-failed-logs", *arguments),
        ]

    def start(self, *arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(self.command(*arguments), **pipes, env=environment)

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments)
        said = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, *said)

    def finish(self, *arguments: str) -> str:
        """Run to the end; the output of a run that fails becomes the test's."""
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *targets: str) -> dict[str, int]:
        """How many jobs of each rule a dry run names."""
        stats = self.finish("--dry-run", "--quiet", "rules", "--", *targets).partition("Job stats:")[2]
        jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}
        return {rule: count for rule, count in jobs.items() if rule not in ("all", "total")}

    def digests(self) -> dict[str, str]:
        """A hash of every artifact; logs, timings and records of when and where are not artifacts."""
        return {
            str(path.relative_to(self.results)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.results.rglob("*"))
            if path.is_file() and not NOT_ARTIFACTS & set(path.relative_to(self.results).parts)
        }


def with_one_student(config: dict) -> dict:
    """The tiny config with fewer models, each as it is there."""
    student = config["students"]["fc8"] | {"objectives": ["heads"]}
    return config | {"students": {"fc8": student}, "experiments": {}}
