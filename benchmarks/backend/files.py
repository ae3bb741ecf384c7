"""Reading and writing of trial lists and score files of the size of VoxCeleb1-E.

`python -m benchmarks.backend.files`
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.backend.synthetic import TRIALS, drawn_list
from benchmarks.timing import report, timed

from spkdistill.data.scores import match_scores, read_scores, write_scores
from spkdistill.data.trials import read_trials, write_trials


def main() -> None:
    """Measure what the stages `score` and `metrics` do with files, after the disk cache has them."""
    case = drawn_list(TRIALS)
    with TemporaryDirectory() as name:
        folder = Path(name)
        case.write(folder)
        read = read_scores(folder / "scores")
        tasks = {
            "write_trials": partial(write_trials, folder / "trials", case.trials),
            "read_trials": partial(read_trials, folder / "trials"),
            "write_scores": partial(write_scores, folder / "scores", case.trials, case.scores),
            "read_scores": partial(read_scores, folder / "scores"),
            "match_scores, in memory": partial(match_scores, read, case.trials, folder / "scores"),
        }
        times = timed(tasks, 3)
    rows = [[task, TRIALS, *one.cells(), f"{TRIALS / one.seconds / 1e6:.2g}"] for task, one in times.items()]
    report("backend-files", ["task", "lines", "s", "units", "million lines a second"], rows)


if __name__ == "__main__":
    main()
