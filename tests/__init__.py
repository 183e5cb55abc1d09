"""The tests. They run side by side, so each process has one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
