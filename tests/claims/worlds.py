"""Runs in memory whose tables are made from a few numbers each, so that the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis import read, select
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.select import Where
from bnexp.claims import Claim
from bnexp.runs import Run

STEPS, EVERY = 600, 6
FINER = [0.125, 0.25]
GRID = {family: list(experiment.etas) for family, experiment in EXPERIMENTS.items()}

USUAL: dict[str, float] = {
    "to_80": 0.2,  # share of the run at which train accuracy reaches 80 %
    "accuracy": 0.95,  # at the end
    "test": 0.8,
    "loss": 100.0,  # at the end; it starts at 1e4
    "l2": 1.0,
    "cos": 0.5,
    "mean_shift": 0.01,
    "var_shift": 0.01,
    "loss_band": 1.0,  # decades
    "late_loss_band": 1.0,  # decades, in the last third
    "change_band": 1.0,
    "change": 10.0,
    "beta": 20.0,
    "peak": 50.0,  # the greatest beta
    "finer": 1.0,  # how many times beta is that at lr/2 when the grid begins at lr/8
    "beta_0": 5.0,
    "weights": 10.0,  # ||w||
    "sharpness": 20.0,
    "data_loss": 1.0,  # times the loss
    "batch_sharpness": 20.0,
    "update": 0.1,  # ||dw||/||w||
    "mode_gap": 1.5,  # loss in test mode over that in training mode
    "gradients": 4.0,  # the largest gradient norm of a layer over the smallest
    "rank": 2.0,  # the least stable rank
    "gap": 2.0,  # test loss over train loss
    "first_spread": 1.0,  # of the layers' updates, at the first step
    "spread": 1.0,  # afterwards
    "fine": 0.0,  # 1: the grid of etas begins at lr/8
}

Knobs = Mapping[str, float]
Change = Callable[[str, float], Knobs]
"""The knobs of a run by its normalisation and learning rate; ``knob@value`` is for runs that have
the value in one of the settings that a claim tells them apart by."""


def table(
    name: str, knobs: Knobs, family: str, lr: float, rng: np.random.Generator
) -> dict[str, Any]:
    """One table of one run, with 1 % of noise on every number."""
    t = np.arange(0, STEPS + 1, EVERY)

    def noisy(value: float | np.ndarray) -> np.ndarray:
        return np.broadcast_to(value, t.shape) * np.exp(0.01 * rng.normal(size=len(t)))

    loss = np.geomspace(1e4, knobs["loss"], len(t))
    eta = np.array(_grid(family, knobs)) * lr
    layers, units = np.arange(1, 26), 3
    match name:
        case "train":
            data_loss = loss * knobs["data_loss"]
            accuracy = _accuracy(knobs, t)
            return {"step": t, "loss": loss, "data_loss": data_loss, "accuracy": accuracy}
        case "eval":
            split = {"step": t, "accuracy": np.full(len(t), knobs["test"])}
            test = {**split, "split": "test", "loss": loss * knobs["gap"]}
            both = test, {**split, "split": "train", "loss": loss}
            return pd.concat(map(pd.DataFrame, both)).to_dict("list")
        case "gradient_shift":
            return {
                "step": np.repeat(t, 25), "layer": np.tile(layers, len(t)),
                "l2": np.repeat(noisy(knobs["l2"]), 25),
                "cos": np.clip(np.repeat(noisy(knobs["cos"]), 25), -1, 1),
                "grad_norm": np.outer(noisy(1), np.geomspace(1, knobs["gradients"], 25)).ravel(),
            }  # fmt: skip
        case "mode_gap":
            return {"step": t, "train_mode": loss, "test_mode": noisy(loss * knobs["mode_gap"])}
        case "stable_rank":
            ranks = np.outer(noisy(knobs["rank"]), np.ones(25)).ravel()
            return {
                "step": np.repeat(t, 25),
                "layer": np.tile(layers, len(t)),
                "stable_rank": ranks,
            }
        case "moments":
            step, layer, unit = np.meshgrid(t, layers, np.arange(units), indexing="ij")
            sign = np.where((np.arange(len(t)) % 2)[:, None, None] == 0, 1.0, -1.0)
            jitter = sign * np.exp(0.01 * rng.normal(size=step.shape))
            return {
                "step": step.ravel(), "layer": layer.ravel(), "unit": unit.ravel(),
                "mean": (knobs["mean_shift"] / 2 * jitter).ravel(),
                "var": (1 + knobs["var_shift"] / 2 * jitter).ravel(),
            }  # fmt: skip
        case "smoothness":
            band = np.where(t > 2 * STEPS / 3, knobs["late_loss_band"], knobs["loss_band"])
            beta = noisy(knobs["beta"])
            beta[1] = max(knobs["peak"], beta.max())
            return {
                "step": t, "loss_min": loss, "loss_max": loss * 10 ** noisy(band),
                "predictiveness_min": knobs["change"] / 10 ** noisy(knobs["change_band"]),
                "predictiveness_max": np.full(len(t), knobs["change"]),
                "beta": beta, "beta_eta": np.full(len(t), eta[0]),
            }  # fmt: skip
        case "landscape":
            by_eta = np.where(eta < 0.2 * lr, knobs["finer"], 1.0)
            return {
                "step": np.repeat(t, len(eta)), "eta": np.tile(eta, len(t)),
                "beta": np.outer(noisy(knobs["beta"]), by_eta).ravel(),
            }  # fmt: skip
        case "curvature":
            return {
                "step": t, "beta_0": noisy(knobs["beta_0"]),
                "beta_0_scaled": noisy(knobs["beta_0"] * knobs["weights"] ** 2),
            }  # fmt: skip
        case "sharpness" | "batch_sharpness":
            return {"step": t, name: noisy(knobs[name])}
        case "updates":
            factor = np.ones((len(t), 9))
            factor[:, 1] = noisy(np.where(t == 0, knobs["first_spread"], knobs["spread"]))
            return {
                "step": np.repeat(t, 9), "layer": np.tile(np.arange(1, 10), len(t)),
                "relative_update": (noisy(knobs["update"])[:, None] * factor).ravel(),
            }  # fmt: skip
    raise KeyError(name)


def _grid(family: str, knobs: Knobs) -> list[float]:
    return [*(FINER if knobs["fine"] else []), *GRID[family]]


def _accuracy(knobs: Knobs, t: np.ndarray) -> np.ndarray:
    """It reaches 80 % at the share to_80 and rises on; one that ends below is there all along."""
    if knobs["accuracy"] < 0.8:
        return np.full(len(t), knobs["accuracy"])
    share = t / STEPS
    late = np.clip((share - knobs["to_80"]) / 0.1, 0, 1)
    rises = 0.1 + 0.7 * np.minimum(1.0, share / knobs["to_80"])
    return np.where(late > 0, 0.8 + late * (knobs["accuracy"] - 0.8), rises)


def config_of(
    family: str, norm: str, lr: float, seed: int, etas: list[float], direction: str = "gradient",
    where: Where = (),
) -> dict[str, Any]:  # fmt: skip
    """The config of a run, as far as it is read."""
    schedule = {"every": EVERY, "dense": 0}
    config: dict[str, Any] = {
        "model": {
            "name": family, "depth": 16, "k": 25, "d": 10,
            "width": 0.125 if family == "vgg" else None,
        },
        "norm": {"name": norm},
        "data": {"name": "digits", "label": "digits"},
        "optim": {"name": "sgd", "lr": lr, "weight_decay": 0.02},
        "probes": {
            "landscape": {**schedule, "etas": etas, "direction": direction},
            "moments": schedule,
        },
        "batch_size": 128, "steps": STEPS, "seed": seed, "preset": "quick",
    }  # fmt: skip
    for key, value in where:
        group, _, name = key.rpartition(".")
        (config[group] if group else config)[name] = value
    return config


class World:
    """Runs that `read` is made to see in place of what lies on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[Run] = []
        self._knobs: dict[str, Knobs] = {}
        self._frames: dict[tuple[object, ...], pd.DataFrame] = {}
        monkeypatch.setattr(read, "rows", self._rows)
        monkeypatch.setattr(select, "has_table", lambda *_: True)

    def add(
        self,
        family: str,
        norm: str,
        lr: float,
        seed: int,
        knobs: Knobs,
        direction: str = "gradient",
        state: str = "done",
        where: Where = (),
    ) -> None:
        """One run whose numbers are the `USUAL` ones but for ``knobs``."""
        name = f"{family}-{norm}-{lr:g}-{seed}-{direction}" + "-fine" * bool(knobs.get("fine"))
        name += "".join(f"-{value}" for _, value in where)
        settings = {str(value) for _, value in where}
        own = {k.partition("@")[0]: v for k, v in knobs.items() if k.partition("@")[2] in settings}
        self._knobs[name] = {**USUAL, **knobs, **own}
        grid = _grid(family, self._knobs[name])
        config = config_of(family, norm, lr, seed, grid, direction, where)
        status = {"state": state, "step": STEPS, "steps": STEPS}
        self.runs.append(Run(Path("/nowhere") / name, name, config, status))

    def _rows(self, run: Run, name: str, columns: list[str], **where: Any) -> pd.DataFrame:
        key = name, run.id, *sorted(self._knobs[run.id].items())
        if key not in self._frames:
            rng = np.random.default_rng(list(run.id.encode()))
            columns_of = table(name, self._knobs[run.id], run.family, run.lr, rng)
            self._frames[key] = pd.DataFrame(columns_of)
        frame = self._frames[key]
        for name, value in where.items():
            wanted = [value] if isinstance(value, int | str) else list(value)
            frame = frame[frame[name].isin(wanted)]
        return frame[columns].reset_index(drop=True)


def fill(world: World, claim: Claim, seeds: Iterable[int], change: Callable[[int], Change]) -> None:
    """Every run that the claim needs, for each seed."""
    kinds = dict.fromkeys((n.family, n.norm, n.lr, n.direction, n.where) for n in claim.needs)
    for seed in seeds:
        for family, norm, lr, direction, where in kinds:
            knobs = {**change(seed)(norm, lr), "fine": float(math.isfinite(claim.least_eta))}
            world.add(family, norm, lr, seed, knobs, direction, where=where)
