"""Planning by Snakemake: voxceleb.yaml by size and number of shards, and the default run with nothing to do.

`python -m benchmarks.scale.dag`
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from benchmarks.scale.synthetic import SIZES, utterance_ids, write_directory
from benchmarks.timing import Usage, report, run_main

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "workflow/configs/voxceleb.yaml"
SHARDS = (8, 16, 32, 64)


def main() -> None:
    """Every file of every job is planned, none is made; then a finished run is asked what there is to do."""
    with TemporaryDirectory() as name:
        folder, rows = Path(name), []
        for size in SIZES:
            write_directory(folder / str(size), utterance_ids(size))
            rows.append([f"voxceleb.yaml, dry run, {size} utterances", *planned(folder, size, 32)])
        rows += [[f"voxceleb.yaml, dry run, {jobs} shards", *planned(folder, size, jobs)] for jobs in SHARDS]
        rows.append(["config.yaml, finished, nothing to do", *nothing_to_do(folder / "default")])
    report("scale-dag", ["config", "jobs", "wall, s", "CPU, s", "peak, MB"], rows)


def planned(folder: Path, size: int, jobs: int) -> list[object]:
    """A dry run of the config at paper scale, its training set replaced by a made-up one."""
    config = yaml.safe_load(PAPER.read_text(encoding="utf-8")) | {"shards": jobs}
    config["sets"]["train"]["directory"] = str(folder / str(size))
    path = folder / f"{size}-{jobs}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    arguments = snakemake(folder / "run", path)
    return [
        count_jobs(arguments),
        *cells(run_main("snakemake.cli", *arguments, "--dry-run", "--quiet", "all")),
    ]


def nothing_to_do(folder: Path) -> list[object]:
    """The default run, all of whose files are there and empty, with Snakemake's records of them."""
    arguments = snakemake(folder, ROOT / "config.yaml")
    count = count_jobs(arguments)
    summary = subprocess.run([*command(arguments), "--summary"], capture_output=True, text=True, check=True)
    for line in summary.stdout.splitlines()[1:]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run([*command(arguments), "--touch", "--quiet", "all"], capture_output=True, check=True)
    return [count, *cells(run_main("snakemake.cli", *arguments, "--quiet", "all"))]


def snakemake(folder: Path, config: Path) -> list[object]:
    """The arguments of a run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*("--snakefile", ROOT / "Snakefile", "--directory", folder), "--configfile", config, "--cores", 2]


def command(arguments: list[object]) -> list[str]:
    """The command line of a run."""
    return [sys.executable, "-m", "snakemake", *map(str, arguments)]


def count_jobs(arguments: list[object]) -> int:
    """How many jobs a dry run names."""
    done = subprocess.run(
        [*command(arguments), "--dry-run", "--quiet", "rules"], capture_output=True, text=True, check=True
    )
    total = (line.split() for line in (done.stdout + done.stderr).splitlines())
    return next(int(words[1]) for words in total if words[:1] == ["total"] and len(words) == 2)


def cells(used: Usage) -> list[str]:
    """Times and memory, for a table."""
    return [f"{used.wall:.3g}", f"{used.cpu:.3g}", f"{used.peak:.0f}"]


if __name__ == "__main__":
    main()
