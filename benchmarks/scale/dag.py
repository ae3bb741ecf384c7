"""Planning by Snakemake: voxceleb.yaml by size and number of shards, and the default run with nothing to do.

`python -m benchmarks.scale.dag`
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from benchmarks.scale.synthetic import SIZES, utterance_ids, write_directory
from benchmarks.timing import Usage, report, run_main

ROOT = Path(__file__).parents[2]
SHARDS, OTHER_SHARDS = 32, (8, 16, 64)


def main() -> None:
    """Every file of every job is planned, none is made; then a finished run is asked what there is to do."""
    with TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for size in SIZES:
            write_directory(folder / str(size), utterance_ids(size))
            rows.append(planned(folder, size, SHARDS))
        rows += [planned(folder, SIZES[-1], shards) for shards in OTHER_SHARDS]
        rows.append(nothing_to_do(folder / "default"))
        jobs = count_jobs(snakemake(folder / "run", folder / f"{SIZES[-1]}-{SHARDS}.yaml"))
    report("scale-dag", ["config", "shards", "utterances", "jobs", "wall, s", "CPU, s", "peak, MB"], rows)
    report("scale-jobs", ["rule", "jobs"], sorted(jobs.items(), key=lambda row: (row[1], row[0])))


def planned(folder: Path, size: int, shards: int) -> list[object]:
    """A dry run of the config at paper scale, its training set replaced by a made-up one."""
    config = yaml.safe_load((ROOT / "workflow/configs/voxceleb.yaml").read_text(encoding="utf-8"))
    config["shards"] = shards
    config["sets"]["train"]["directory"] = str(folder / str(size))
    path = folder / f"{size}-{shards}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    arguments = snakemake(folder / "run", path)
    used = run_main("snakemake.cli", *arguments, "--dry-run", "--quiet", "all")
    return ["voxceleb.yaml, dry run", shards, size, count_jobs(arguments)["total"], *cells(used)]


def nothing_to_do(folder: Path) -> list[object]:
    """The default run, all of whose files are there and empty, with Snakemake's records of them."""
    arguments = snakemake(folder, ROOT / "config.yaml")
    jobs = count_jobs(arguments)["total"]
    summary = subprocess.run([*command(arguments), "--summary"], capture_output=True, text=True, check=True)
    for line in summary.stdout.splitlines()[1:]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run([*command(arguments), "--touch", "--quiet", "all"], capture_output=True, check=True)
    used = run_main("snakemake.cli", *arguments, "--quiet", "all")
    return ["config.yaml, finished, nothing to do", 2, 60 * 15, jobs, *cells(used)]


def snakemake(folder: Path, config: Path) -> list[object]:
    """The arguments of a run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*("--snakefile", ROOT / "Snakefile", "--directory", folder), "--configfile", config, "--cores", 2]


def command(arguments: list[object]) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "snakemake", *map(str, arguments)]


def count_jobs(arguments: list[object]) -> dict[str, int]:
    """The jobs of each rule that a dry run names, and their total."""
    planned = [*command(arguments), "--dry-run", "--quiet", "rules"]
    done = subprocess.run(planned, capture_output=True, text=True, check=True)
    stats = (done.stdout + done.stderr).rpartition("Job stats:")[2]
    return {rule: int(jobs) for rule, jobs in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}


def cells(used: Usage) -> list[str]:
    """Times and memory, for a table."""
    return [f"{used.wall:.3g}", f"{used.cpu:.3g}", f"{used.peak:.0f}"]


if __name__ == "__main__":
    main()
