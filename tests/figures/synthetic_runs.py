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
CURVED = {"none": 1.0, "bn": 0.3, "noisy_bn": 0.4, "l1": 0.25, "l2": 0.3, "linf": 0.35}
MODELS = {
    "vgg": {"name": "vgg16", "family": "vgg", "width": 0.125},
    "dln": {"name": "dln", "family": "dln", "k": 25, "d": 10},
}
DATA = {
    "vgg": {"name": "digits", "label": "digits"},
    "dln": {"name": "gaussian", "label": "Gaussian", "samples": 1000, "d": 10},
}
Tables = dict[str, dict[str, Any]]


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
    made = {
        **_training(family, norm, lr, recorded, steps, rng),
        **_landscape(family, norm, eta, recorded, steps, rng),
        **_layers(norm, lr, recorded, layers or (14 if family == "vgg" else 25), rng),
        **_curvature(norm, lr, recorded, rng),
    }
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


def _training(
    family: str, norm: str, lr: float, t: np.ndarray, steps: int, rng: np.random.Generator
) -> Tables:
    learns = family == "dln" or norm != "none" or lr < 0.1
    progress = (1 - np.exp(-6 * t / steps)) * learns
    noise = rng.normal(size=len(t))
    accuracy = np.clip(0.1 + 0.88 * progress + 0.03 * noise, 0, 1)
    loss = 2.4 - 2.2 * progress + 0.05 * np.abs(noise)
    if family == "dln":
        accuracy = np.full(len(t), np.nan)
        loss = 3.5e4 * (0.01 + np.exp(-5 * progress)) * np.exp(0.1 * noise)
    kept = slice(None, None, 4)
    test = {"loss": loss[kept], "accuracy": 0.95 * accuracy[kept]}
    return {
        "train": {"step": t, "loss": loss, "accuracy": accuracy},
        "eval": {"step": t[kept], "split": ["test"] * len(t[kept]), **test},
    }


def _landscape(
    family: str, norm: str, eta: np.ndarray, t: np.ndarray, steps: int, rng: np.random.Generator
) -> Tables:
    vgg, curved = family == "vgg", CURVED.get(norm, 0.5)
    power = 1.0 if vgg else 1.0 + 3.0 * curved
    size = np.exp(rng.normal(0, 0.5, (len(t), 1)) - 2 * t[:, None] / steps)
    size *= (20.0 if vgg else 2e3) * curved
    change = size * (eta / eta[0]) ** (power / 2)
    loss = (2.0 if vgg else 2e3) + 0.1 * change
    beta = change / eta / (size if vgg else size * 2)
    return {
        "landscape": {
            "step": np.repeat(t, len(eta)), "eta": np.tile(eta, len(t)), "loss": loss.ravel(),
            "predictiveness": change.ravel(), "beta": beta.ravel(),
        },
        "smoothness": {
            "step": t, "loss_min": loss.min(1), "loss_max": loss.max(1), "lipschitz": loss.max(1),
            "predictiveness_min": change.min(1), "predictiveness_max": change.max(1),
            "beta": beta.max(1), "beta_eta": eta[beta.argmax(1)],
        },
    }  # fmt: skip


def _curvature(norm: str, lr: float, t: np.ndarray, rng: np.random.Generator) -> Tables:
    beta = CURVED.get(norm, 0.5) / lr * np.exp(0.1 * rng.normal(size=len(t)))
    sharpness = 2 / lr * (1 - np.exp(-5 * t / t[-1])) + 0.01 / lr
    return {
        "curvature": {"step": t, "beta_0": beta, "beta_0_scaled": 9.0 * beta},
        "sharpness": {"step": t, "sharpness": sharpness},
    }


def _layers(norm: str, lr: float, t: np.ndarray, depth: int, rng: np.random.Generator) -> Tables:
    n, number, units = len(t), np.arange(1, depth + 1), 4
    shift = np.exp(rng.normal(0, 1, (n, depth))) * lr
    cos = np.clip(rng.normal(0.5, 0.3, (n, depth)), -1, 1)
    drift = {"none": 0.02, "noisy_bn": 0.3}.get(norm, 0.002)
    mean = np.cumsum(rng.normal(0, drift, (n, depth, units)), axis=0) * 0.3
    spread = np.exp(np.cumsum(rng.normal(0, drift / 2, (n, depth, units)), axis=0) * 0.2)
    step, layer, unit = np.meshgrid(t, number, np.arange(units), indexing="ij")
    chosen = number % units
    values = [
        mean[i, k - 1, chosen[k - 1]] + spread[i, k - 1, chosen[k - 1]] * rng.normal(size=200)
        for i in range(n)
        for k in number
    ]
    by_layer = {"step": np.repeat(t, depth), "layer": np.tile(number, n)}
    by_unit = {"step": step.ravel(), "layer": layer.ravel(), "unit": unit.ravel()}
    return {
        "gradient_shift": {**by_layer, "l2": shift.ravel(), "cos": cos.ravel()},
        "moments": {**by_unit, "mean": mean.ravel(), "var": spread.ravel() ** 2},
        "activations": {**by_layer, "unit": np.tile(chosen, n), "values": values},
    }
