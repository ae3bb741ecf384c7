"""The commands `metrics` and `paired`, with their files, on lists like VoxCeleb1-E's and on larger ones.

`python -m benchmarks.backend.metrics`
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.backend.synthetic import TRIALS, Case, all_pairs, drawn_list
from benchmarks.timing import report, spkdistill

from spkdistill.data.scores import write_scores

METRICS = "metrics: EER, Cllr, minDCF and actDCF at 3 priors"
PAIRED = "paired: EER and minDCF of 2 systems"


def main() -> None:
    """The first two rows differ by the bootstrap; the last two show the start-up, and the growth."""
    with TemporaryDirectory() as name:
        folder, rows = Path(name), []
        case = drawn_list(TRIALS)
        case.write(folder)
        noise = np.random.default_rng(1).standard_normal(TRIALS)
        write_scores(folder / "other", case.trials, case.scores + noise)
        scores = ["--scores", folder / "scores"]
        rows += [run(METRICS, case, folder, "metrics", scores, samples) for samples in (1, 1000)]
        pair = ["--pair", f"a={folder / 'scores'}", f"b={folder / 'other'}"]
        rows.append(run(PAIRED, case, folder, "paired", pair, 1000))
        for other in (drawn_list(1000), all_pairs(250, 20)):
            other.write(folder)
            rows.append(run(METRICS, other, folder, "metrics", scores, 1))
    columns = ["command", "trials", "speakers", "resamples", "wall, s", "CPU, s", "peak, MB"]
    report("backend-metrics", columns, rows)


def run(
    name: str, case: Case, folder: Path, command: str, inputs: Sequence[object], samples: int
) -> list[object]:
    """A row of the table."""
    settings = {
        "bootstrap_samples": samples,
        "confidence": 0.95,
        "p_targets": [0.01, 0.001, 0.05],
        "conditions": [],
        "duration_edges": [],
    }
    used = spkdistill(
        *(command, *inputs, "--trials", folder / "trials", "--utt2spk", folder / "utt2spk"),
        *("--settings", json.dumps(settings), "--seed", 0, "--output", folder / "output"),
    )
    numbers = f"{used.wall:.3g}", f"{used.cpu:.3g}", f"{used.peak:.0f}"
    return [name, len(case.trials), len(set(case.speakers)), samples, *numbers]


if __name__ == "__main__":
    main()
