"""Run directories with made-up numbers of a plausible shape, written as training writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnexp.runs import Run, RunDirectory, TableWriter, find_runs

VGG_LAYERS = 14
CURVED = {"none": 1.0, "bn": 0.3, "noisy_bn": 0.4, "l1": 0.25, "l2": 0.3, "linf": 0.35}


def config_of(
    family: str, norm: str, lr: float, seed: int, steps: int, every: int, **extra: Any
) -> dict[str, Any]:
    """A resolved config as training stores it."""
    vgg = family == "vgg"
    etas = [0.5, 1, 2, 4] if vgg else [0.01, 0.1, 1, 10, 31.6227766]
    schedule = {"every": every, "dense": 0}
    config: dict[str, Any] = {
        "model": {"name": "vgg16", "family": "vgg", "width": 0.125}
        if vgg
        else {"name": "dln", "family": "dln", "k": 25, "d": 10},
        "norm": {"name": norm, "eps": 1e-5},
        "data": {"name": "digits", "label": "digits"}
        if vgg
        else {"name": "gaussian", "label": "Gaussian", "samples": 1000, "d": 10},
        "optim": {"name": "sgd", "lr": lr},
        "probes": {
            "train": schedule,
            "landscape": {**schedule, "etas": etas, "direction": "gradient"},
            "moments": {**schedule, "layers": "all"},
        },
        "batch_size": 128 if vgg else None,
        "steps": steps,
        "seed": seed,
    }
    for key, value in extra.items():
        group, _, name = key.partition("__")
        if name:
            config[group][name] = value
        else:
            config[group] = value
    return config


def make_run(
    root: Path,
    family: str,
    norm: str,
    lr: float,
    seed: int = 0,
    steps: int = 40,
    every: int = 2,
    stop: int | None = None,
    tables: Sequence[str] | None = None,
    layers: int | None = None,
    **extra: Any,
) -> Path:
    """Writes one run directory; `stop`: the step at which it diverged; `tables`: only those."""
    config = config_of(family, norm, lr, seed, steps, every, **extra)
    landscape = config["probes"]["landscape"]
    name = f"{config['model']['name']}-{norm}-{lr:g}-{seed}-{steps}"
    name += f"-{landscape.get('direction', 'gradient')}-{len(landscape['etas'])}"
    name += "".join(f"-{value}" for value in extra.values() if not isinstance(value, dict))
    directory = RunDirectory(root / "runs" / name)
    directory.create(config, {})
    writer = TableWriter(directory.tables_dir)
    rng = np.random.default_rng([seed, sum(map(ord, family + norm)), int(lr * 1e9)])
    recorded = np.arange(0, (steps if stop is None else stop) + 1, every)
    depth = layers or (VGG_LAYERS if family == "vgg" else 25)
    made = {
        **_training(family, norm, lr, recorded, steps, rng),
        **_landscape(family, norm, lr, recorded, steps, rng, config["probes"]["landscape"]["etas"]),
        **_layers(norm, lr, recorded, depth, rng),
        **_curvature(norm, lr, recorded, rng),
    }
    for table, columns in made.items():
        if tables is None or table in tables:
            writer.add(table, columns)
    writer.flush()
    state = "done" if stop is None else "diverged"
    directory.write_status(state=state, step=int(recorded[-1]), steps=steps)
    return directory.path


def runs_in(root: Path) -> list[Run]:
    """All runs written below root."""
    return find_runs(root)


def _training(
    family: str, norm: str, lr: float, t: np.ndarray, steps: int, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    learns = family == "dln" or norm != "none" or lr < 0.1
    progress = (1 - np.exp(-6 * t / steps)) * learns
    noise = rng.normal(size=len(t))
    accuracy = np.clip(0.1 + 0.88 * progress + 0.03 * noise, 0, 1)
    loss = 2.4 - 2.2 * progress + 0.05 * np.abs(noise)
    if family == "dln":
        accuracy = np.full(len(t), np.nan)
        loss = 3.5e4 * (0.01 + np.exp(-5 * progress)) * np.exp(0.1 * noise)
    kept = t % max(1, steps // 10 // max(t[1] - t[0], 1) * (t[1] - t[0])) == 0
    return {
        "train": {
            "step": t, "loss": loss, "data_loss": loss, "accuracy": accuracy,
            "grad_norm": np.abs(noise),
        },
        "eval": {
            "step": t[kept], "split": ["test"] * int(kept.sum()), "loss": loss[kept],
            "accuracy": accuracy[kept] * 0.95,
        },
    }  # fmt: skip


def _landscape(
    family: str,
    norm: str,
    lr: float,
    t: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    multiples: Sequence[float],
) -> dict[str, dict[str, Any]]:
    eta = np.array(multiples) * lr
    power = 1.0 if family == "vgg" else 1.0 + 3.0 * CURVED.get(norm, 0.5)
    scale = 20.0 if family == "vgg" else 2e3
    size = (
        scale
        * CURVED.get(norm, 0.5)
        * np.exp(rng.normal(0, 0.5, (len(t), 1)) - 2 * t[:, None] / steps)
    )
    predictiveness = size * (eta / eta[0]) ** (power / 2)
    loss = (2.0 if family == "vgg" else 2e3) + 0.1 * predictiveness
    beta = predictiveness / eta / (size if family == "vgg" else size * 2)
    flat = {"predictiveness_sum": predictiveness.ravel(), "beta_sum": beta.ravel()}
    return {
        "landscape": {
            "step": np.repeat(t, len(eta)), "eta": np.tile(eta, len(t)), "loss": loss.ravel(),
            "predictiveness": predictiveness.ravel(), "beta": beta.ravel(), **flat,
        },
        "smoothness": {
            "step": t, "loss_min": loss.min(1), "loss_max": loss.max(1), "lipschitz": loss.max(1),
            "predictiveness_min": predictiveness.min(1),
            "predictiveness_max": predictiveness.max(1),
            "beta": beta.max(1), "beta_eta": eta[beta.argmax(1)],
        },
    }  # fmt: skip


def _curvature(
    norm: str, lr: float, t: np.ndarray, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    beta = CURVED.get(norm, 0.5) / lr * np.exp(0.1 * rng.normal(size=len(t)))
    sharpness = 2 / lr * (1 - np.exp(-5 * t / t[-1])) + 0.01 / lr
    return {
        "curvature": {"step": t, "beta_0": beta, "beta_0_scaled": 9.0 * beta},
        "sharpness": {"step": t, "sharpness": sharpness},
    }


def _layers(
    norm: str, lr: float, t: np.ndarray, depth: int, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    n, number = len(t), np.arange(1, depth + 1)
    shift = np.exp(rng.normal(0, 1, (n, depth))) * lr
    cos = np.clip(rng.normal(0.5, 0.3, (n, depth)), -1, 1)
    drift = 0.02 if norm == "none" else (0.3 if norm == "noisy_bn" else 0.002)
    units = 4
    mean = np.cumsum(rng.normal(0, drift, (n, depth, units)), axis=0) * 0.3
    spread = np.exp(np.cumsum(rng.normal(0, drift / 2, (n, depth, units)), axis=0) * 0.2)
    step, layer, unit = np.meshgrid(t, number, np.arange(units), indexing="ij")
    chosen = number % units
    values = [
        mean[i, k - 1, chosen[k - 1]] + spread[i, k - 1, chosen[k - 1]] * rng.normal(size=200)
        for i in range(n)
        for k in number
    ]
    return {
        "gradient_shift": {
            "step": np.repeat(t, depth), "layer": np.tile(number, n), "l2": shift.ravel(),
            "cos": cos.ravel(), "grad_norm": shift.ravel(),
        },
        "moments": {
            "step": step.ravel(), "layer": layer.ravel(), "unit": unit.ravel(),
            "mean": mean.ravel(), "var": spread.ravel() ** 2,
        },
        "activations": {
            "step": np.repeat(t, depth), "layer": np.tile(number, n), "unit": np.tile(chosen, n),
            "values": values,
        },
    }  # fmt: skip
