"""Benchmarks: each module is one, `python -m benchmarks.backend.scoring`, and writes a table in results/.

One thread, in what loads after this as well: numpy reads these when it is imported.
"""

import os

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
