"""Run directories with made-up numbers of a plausible shape, written as training writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnexp.analysis.scales import EXPERIMENTS
from bnexp.runs import RunDirectory, TableWriter
from bnexp.runs import find_runs as runs_in

__all__ = ["make_run", "runs_in"]
MODELS = {
    "vgg": {"name": "vgg16", "family": "vgg", "width": 0.125},
    "dln": {"name": "dln", "family": "dln", "k": 25, "d": 10},
}
DATA = {
    "vgg": {"name": "digits", "label": "digits"},
    "dln": {"name": "gaussian", "label": "Gaussian", "samples": 1000, "d": 10},
}


def make_run(
    root: Path, family: str, norm: str, lr: float, seed: int = 0, steps: int = 40, every: int = 2,
    stop: int | None = None, tables: Sequence[str] | None = None, layers: int | None = None,
    **extra: Any,
) -> Path:  # fmt: skip
    """Writes one run directory; `stop`: the step at which it diverged; `tables`: only those.

    ``extra`` goes into the config, with ``__`` for a dot.
    """
    schedule = {"every": every, "dense": 0}
    landscape = {**schedule, "etas": list(EXPERIMENTS[family].etas), "direction": "gradient"}
    probes = {"train": schedule, "landscape": landscape, "moments": {**schedule, "layers": "all"}}
    config: dict[str, Any] = {
        "model": {**MODELS[family]}, "norm": {"name": norm, "eps": 1e-5},
        "data": {**DATA[family]}, "optim": {"name": "sgd", "lr": lr}, "probes": probes,
        "batch_size": 128 if family == "vgg" else None, "steps": steps, "seed": seed,
    }  # fmt: skip
    for key, value in extra.items():
        group, _, name = key.partition("__")
        (config[group] if name else config)[name or group] = value
    landscape = config["probes"].get("landscape", landscape)
    name = f"{config['model']['name']}-{norm}-{lr:g}-{seed}-{steps}"
    name += f"-{landscape.get('direction', 'gradient')}-{len(landscape['etas'])}"
    name += "".join(f"-{value}" for value in extra.values() if not isinstance(value, dict))
    directory = RunDirectory(root / "runs" / name)
    directory.create(config, {})
    writer = TableWriter(directory.tables_dir)
    rng = np.random.default_rng([seed, sum(map(ord, family + norm)), int(lr * 1e9)])
    recorded = np.arange(0, (steps if stop is None else stop) + 1, every)
    eta = np.array(landscape["etas"]) * lr
    depth = layers or (14 if family == "vgg" else 25)
    made = _made_up(family, norm, lr, eta, recorded, depth, rng)
    for table, columns in made.items():
        if tables is None or table in tables:
            writer.add(table, columns)
    writer.flush()
    state = "done" if stop is None else "diverged"
    directory.write_status(state=state, step=int(recorded[-1]), steps=steps)
    return directory.path


def add_table(path: Path, name: str, rows: dict[str, Any]) -> None:
    """Adds a table, or rows to one, to the run at ``path``."""
    writer = TableWriter(path / "tables")
    writer.add(name, rows)
    writer.flush()


def _made_up(
    family: str, norm: str, lr: float, eta: np.ndarray, t: np.ndarray, depth: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """All tables at steps ``t``; the VGG without BN learns nothing at rates of 0.1 and above."""
    learns = family == "dln" or norm != "none" or lr < 0.1
    progress, noise = learns * (1 - np.exp(-6 * t / t[-1])), rng.normal(size=len(t))
    accuracy = np.clip(0.1 + 0.88 * progress + 0.03 * noise, 0, 1)
    loss = 2.4 * np.exp(-5 * progress) * np.exp(0.1 * noise)
    kept = slice(None, None, 4)
    test = {"loss": loss[kept], "accuracy": 0.95 * accuracy[kept]}
    change = np.exp(rng.normal(0, 0.5, (len(t), 1)) - 2 * t[:, None] / t[-1]) * eta / eta[0]
    losses, betas = 2.0 + 0.1 * change, change / eta**1.2
    n, layers, units = len(t), np.arange(1, depth + 1), np.arange(4)
    by_layer = {"step": np.repeat(t, depth), "layer": np.tile(layers, n)}
    step, layer, unit = (grid.ravel() for grid in np.meshgrid(t, layers, units, indexing="ij"))
    return {
        "train": {"step": t, "loss": loss, "accuracy": accuracy},
        "eval": {"step": t[kept], "split": ["test"] * len(t[kept]), **test},
        "landscape": {
            "step": np.repeat(t, len(eta)), "eta": np.tile(eta, n), "loss": losses.ravel(),
            "predictiveness": change.ravel(), "beta": betas.ravel(),
        },
        "smoothness": {
            "step": t, "loss_min": losses.min(1), "loss_max": losses.max(1),
            "predictiveness_min": change.min(1), "predictiveness_max": change.max(1),
            "beta": betas.max(1), "beta_eta": eta[betas.argmax(1)],
        },
        "curvature": {"step": t, "beta_0": betas[:, 0], "beta_0_scaled": 9.0 * betas[:, 0]},
        "sharpness": {"step": t, "sharpness": 2 / lr * (1.01 - np.exp(-5 * t / t[-1]))},
        "gradient_shift": {
            **by_layer, "l2": np.exp(rng.normal(size=n * depth)),
            "cos": rng.uniform(-1, 1, n * depth),
        },
        "moments": {
            "step": step, "layer": layer, "unit": unit, "mean": rng.normal(size=len(step)),
            "var": np.exp(rng.normal(size=len(step))),
        },
        "activations": {
            **by_layer, "unit": np.tile(layers % 4, n),
            "values": list(rng.normal(size=(n * depth, 200))),
        },
    }  # fmt: skip
