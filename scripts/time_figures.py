"""How long all figures take from runs of the paper's length measured at every step.

    python scripts/time_figures.py [FOLDER]

Makes stand-in runs (random numbers in the tables that ``probes=every`` writes: 15,000 steps for the
VGG, 10,000 for the DLN, 16 units per layer, 128 values per distribution) in FOLDER, default a
temporary one that is removed, then draws all twelve figures and prints seconds and peak memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bnexp.runs import RunDirectory, TableWriter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.figures.synthetic_runs import config_of

RUNS = [("vgg", norm, 0.1) for norm in ("none", "bn", "noisy_bn", "l1", "l2", "linf")]
RUNS += [("vgg", norm, lr) for norm in ("none", "bn") for lr in (0.5, 0.01)]
RUNS += [("dln", norm, 1e-6) for norm in ("none", "bn", "l1", "l2", "linf")]
RUNS += [("dln", norm, 1e-7) for norm in ("none", "bn")]
STEPS, LAYERS = {"vgg": 15_000, "dln": 10_000}, {"vgg": 14, "dln": 25}
UNITS, VALUES, AT_ONCE = 16, 128, 500


def make(root: Path, family: str, norm: str, lr: float) -> None:
    """One run with every table at every step."""
    steps, layers = STEPS[family], LAYERS[family]
    config = config_of(family, norm, lr, 0, steps, 1)
    run = RunDirectory(root / "runs" / f"{family}-{norm}-{lr:g}")
    run.create(config, {})
    writer, random = TableWriter(run.tables_dir), np.random.default_rng(0)
    etas = np.asarray(config["probes"]["landscape"]["etas"], dtype=float) * lr

    def positive(n: int) -> np.ndarray:
        return np.exp(random.normal(size=n))

    for first in range(0, steps + 1, AT_ONCE):
        t = np.arange(first, min(first + AT_ONCE, steps + 1))
        n, numbers = len(t), np.arange(1, layers + 1)
        by_layer = {"step": np.repeat(t, layers), "layer": np.tile(numbers, n)}
        by_unit = {
            "step": np.repeat(t, layers * UNITS),
            "layer": np.tile(np.repeat(numbers, UNITS), n),
            "unit": np.tile(np.arange(UNITS), n * layers),
        }
        by_eta = {"step": np.repeat(t, len(etas)), "eta": np.tile(etas, n)}
        low, high = positive(n), positive(n)
        tables: dict[str, dict[str, Any]] = {
            "train": {"step": t, "loss": high, "data_loss": high, "accuracy": random.random(n)},
            "landscape": {**by_eta, "loss": positive(n * len(etas))},
            "smoothness": {"step": t, "loss_min": low, "loss_max": low + high},
            "gradient_shift": {**by_layer, "l2": positive(n * layers)},
            "moments": {**by_unit, "mean": random.normal(size=n * layers * UNITS)},
            "activations": {**by_layer, "unit": np.zeros(n * layers, dtype=int)},
        }
        tables["train"]["grad_norm"] = low
        for name in ("predictiveness", "beta", "predictiveness_sum", "beta_sum"):
            tables["landscape"][name] = positive(n * len(etas))
        tables["smoothness"] |= {
            "lipschitz": low,
            "predictiveness_min": low,
            "predictiveness_max": low + high,
            "beta": high,
            "beta_eta": random.choice(etas, n),
        }
        tables["gradient_shift"] |= {
            "cos": random.uniform(-1, 1, n * layers),
            "grad_norm": positive(n * layers),
        }
        tables["moments"]["var"] = positive(n * layers * UNITS)
        values = random.normal(size=(n * layers, VALUES)).astype(np.float32).astype(float)
        tables["activations"]["values"] = values
        if family == "vgg":
            tables["eval"] = {"step": t[::100], "split": ["test"] * len(t[::100])}
            tables["eval"] |= {"loss": low[::100], "accuracy": random.random(len(t[::100]))}
        for name, columns in tables.items():
            writer.add(name, columns)
        writer.flush()
    run.write_status(state="done", step=steps, steps=steps)


def main() -> None:
    """Make the runs, draw, print."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        if not (root / "runs").exists():
            for run in RUNS:
                make(root, *run)
        size = sum(file.stat().st_size for file in root.rglob("*.parquet"))
        begin = time.perf_counter()
        command = [sys.executable, "-m", "bnexp.cli", "figures", "--runs", str(root)]
        subprocess.run(command, check=True)
        wall = time.perf_counter() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{size / 1e9:.2f} GB of tables; 12 figures as PNG and PDF: {wall:.1f} s, "
            f"{used.ru_utime + used.ru_stime:.1f} s of CPU, {used.ru_maxrss / 1e3:.0f} MB at most"
        )


if __name__ == "__main__":
    main()
