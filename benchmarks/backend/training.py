"""Training of LDA and PLDA on 100,000 vectors of 5,000 speakers.

`python -m benchmarks.backend.training`
"""

from functools import partial

import numpy as np
from benchmarks.backend.synthetic import speaker_vectors
from benchmarks.timing import report, timed

from spkdistill.backend.lda import train_lda
from spkdistill.backend.plda import train_plda

SPEAKERS, UTTERANCES = 5_000, 20
KALDI = 14  # units of ivector-compute-plda for 100,000 x 200, 10 iterations (issue 3): not measured here


def main() -> None:
    """Measure speakers of 20 utterances each, and of 1 to 39."""
    rng = np.random.default_rng(0)
    even = np.full(SPEAKERS, UTTERANCES)
    uneven = rng.permutation(np.arange(SPEAKERS) % (2 * UTTERANCES - 1) + 1)
    rows = []
    for name, counts in {"20 each": even, "1 to 39 each": uneven}.items():
        vectors, speakers = speaker_vectors(counts, 200)
        one = timed({"plda": partial(train_plda, vectors, speakers, 10)}, 5)["plda"]
        rows.append(["PLDA, 10 iterations", *vectors.shape, name, *one.cells(), f"{KALDI / one.units:.1f}"])
    vectors, speakers = speaker_vectors(even, 512)
    one = timed({"lda": partial(train_lda, vectors, speakers, 200, 0.0)}, 3)["lda"]
    rows.append(["LDA to 200", *vectors.shape, "20 each", *one.cells(), "-"])
    columns = ["model", "vectors", "dimension", "utterances", "s", "units", "times as fast as Kaldi"]
    report("backend-training", columns, rows)


if __name__ == "__main__":
    main()
