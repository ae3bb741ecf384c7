"""Planning by Snakemake: voxceleb.yaml by size and number of shards, and the default run with nothing to do.

`python -m benchmarks.scale.dag`
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT
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
        jobs = count_jobs(config_of(folder, SIZES[-1], SHARDS))
    report("scale-dag", ["config", "shards", "utterances", "wall, s", "CPU, s", "peak, MB"], rows)
    report("scale-jobs", ["rule", "jobs"], sorted(jobs.items(), key=lambda row: (row[1], row[0])))


def planned(folder: Path, size: int, shards: int) -> list[object]:
    """A dry run of the config at paper scale."""
    config = config_of(folder, size, shards)
    used = run_main("snakemake.cli", *snakemake(config), "--dry-run", "--quiet", "all")
    return ["voxceleb.yaml, dry run", shards, size, *cells(used)]


def config_of(folder: Path, size: int, shards: int) -> Path:
    """The config at paper scale, its training set replaced by a made-up one."""
    config = yaml.safe_load((ROOT / "workflow/configs/voxceleb.yaml").read_text(encoding="utf-8"))
    config["shards"] = shards
    config["sets"]["train"]["directory"] = str(folder / str(size))
    path = folder / f"run-{size}-{shards}/config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def nothing_to_do(folder: Path) -> list[object]:
    """The default run, all of whose files are there and empty, with Snakemake's records of them."""
    folder.mkdir()
    config = Path(shutil.copy(ROOT / "config.yaml", folder))
    outputs = (line.split("\t")[0] for line in run(config, "--summary").splitlines())
    for path in (folder / name for name in outputs if name.startswith("results/")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run(config, "--touch", "--quiet", "all")
    used = run_main("snakemake.cli", *snakemake(config), "--quiet", "all")
    return ["config.yaml, finished, nothing to do", 2, "", *cells(used)]


def count_jobs(config: Path) -> dict[str, int]:
    """The jobs of each rule that a dry run names, and their total."""
    stats = run(config, "--dry-run", "--quiet", "rules").rpartition("Job stats:")[2]
    return {rule: int(jobs) for rule, jobs in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}


def run(config: Path, *arguments: str) -> str:
    """What a run says."""
    command = [sys.executable, "-m", "snakemake", *map(str, snakemake(config)), *arguments]
    return subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, check=True).stdout


def snakemake(config: Path) -> list[object]:
    """The arguments of a run in the folder of its config file."""
    files = "--snakefile", ROOT / "Snakefile", "--directory", config.parent, "--configfile", config
    return [*files, "--cores", 2]


def cells(used: Usage) -> list[str]:
    """Times and memory, for a table."""
    return [f"{used.wall:.3g}", f"{used.cpu:.3g}", f"{used.peak:.0f}"]


if __name__ == "__main__":
    main()
