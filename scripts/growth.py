"""What many runs cost: sweeps of 100, 1,000 and 10,000 tiny runs, and reading them.

    python scripts/growth.py [--runs 100,1000,10000] [--out DIR] [--document FILE.md]

Prints a Markdown table of seconds of processor time, milliseconds a run, the most memory, and the
files and KiB that a run leaves; with --document it also replaces the table between the markers of
that page.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

TINY = (
    "train -m model=dln model.k=2 model.d=2 data.samples=8 steps=4 measure.eval_every=4 threads=1 "
    "probes=every probes.gradient_shift.layers=all norm=none,bn seed=range({seeds}) out={out}"
)
COMMANDS = {
    "train -m": TINY,
    "train -m, all there": TINY,
    "runs": "runs --runs {out}",
    "load_runs": "",
    "claims": "claims --runs {out} --out {out}/claims",
    "figures": "figures 3 5 --runs {out} --out {out}/figures --format png",
}
LOAD = "import sys; from bnexp.runs import load_runs; load_runs(sys.argv[1])"


def measured(command: list[str]) -> tuple[float, float]:
    """Processor seconds, and the most MiB that a process of ``command`` held."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"growth: {' '.join(command)}: {said[-300:].decode()}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def rows(count: int, out: Path) -> list[str]:
    """One line of the table per command, for a sweep of ``count`` runs."""
    lines = []
    for name, text in COMMANDS.items():
        arguments = text.format(seeds=count // 2, out=out).split()
        command = [sys.executable, "-m", "bnexp.cli", *arguments]
        seconds, memory = measured(command if text else [sys.executable, "-c", LOAD, str(out)])
        sizes = [path.stat().st_size for path in (out / "runs").rglob("*") if path.is_file()]
        lines.append(
            f"| {name} | {count} | {seconds:.1f} | {1000 * seconds / count:.1f} | {memory:.0f} "
            f"| {len(sizes) / count:.0f} | {sum(sizes) / count / 1024:.0f} |"
        )
        print(lines[-1], file=sys.stderr)
    return lines


def main() -> int:
    """Measure and print; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", default="100,1000,10000")
    options.add_argument("--out", type=Path, help="default: a temporary folder")
    options.add_argument("--document", type=Path, help="a page whose table to replace")
    given = options.parse_args()
    busy = f"{os.cpu_count()} processors, of which others wanted {os.getloadavg()[1]:.0f}"
    head = [
        f"{date.today()}, Python {platform.python_version()}, {platform.machine()}, {busy}.\n",
        "| command | runs | processor seconds | ms a run | MiB | files a run | KiB a run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    with TemporaryDirectory(dir=given.out) as folder:
        sweeps = [rows(int(n), Path(folder) / n) for n in given.runs.split(",")]
    lines = [line for lines in zip(*sweeps, strict=True) for line in lines]
    text = "\n".join([*head, *lines]) + "\n"
    print(text, end="")
    if given.document is not None:
        from benchmark import fill  # imports torch: the memory of a child counts from its parent's

        fill(given.document, text, "growth")
    return 0


if __name__ == "__main__":
    sys.exit(main())
