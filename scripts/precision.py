"""What bf16 (and, on a GPU, tf32) does to every measurement, to accuracy and to speed.

python scripts/precision.py --out precision.json --steps 100 --device cpu
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from bnexp.bench.precision import report
from bnexp.runs.files import write_json


def table(found: dict[str, Any]) -> str:
    """The report as text: each measurement's relative difference from float32, then the runs."""
    lines = [f"{'norm':6}{'precision':11}{'measured':34}{'rms':>9}{'largest':>9}"]
    for row in found["measurements"]:
        what = f"{row['table']}.{row['column']}"
        where = f"{row['norm']:6}{row['precision']:11}{what:34}"
        lines.append(f"{where}{row['rms']:9.1e}{row['largest']:9.1e}")
    lines += ["", f"{'norm':6}{'precision':11}{'train acc.':>11}{'test acc.':>11}{'ms/step':>9}"]
    for row in found["runs"]:
        test = "-" if row["test_accuracy"] is None else f"{row['test_accuracy']:.3f}"
        where = f"{row['norm']:6}{row['precision']:11}"
        times = f"{1e3 * row['seconds_per_step']:9.1f}"
        lines.append(f"{where}{row['train_accuracy']:11.3f}{test:>11}{times}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the numbers as JSON")
    parser.add_argument("--steps", type=int, default=100, help="of each run (default: 100)")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=default)
    parser.add_argument("--threads", type=int, help="CPU threads (default: as torch chooses)")
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    found = report(given.device, steps=given.steps)
    print(table(found))
    if given.out is not None:
        write_json(given.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
