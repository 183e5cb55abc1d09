"""What lower precision does: to every measured number, to accuracy and to speed.

Each measurement is made at the same parameters on the same batch in every precision, so nothing but
rounding differs. The runs that give the accuracies start alike and go apart, as runs with another
order of sums do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bnexp.bench.comparisons import Bench, _thrown_away, make_trainer
from bnexp.bench.machine import machine
from bnexp.bench.timing import side_by_side
from bnexp.probes import Rows
from bnexp.training.loop import Trainer
from bnexp.training.precision import set_up_cuda

EXACT = "float32"
"""What the others are held against."""

PRECISIONS = {
    "float64": ("precision=float64",),
    "float32": ("precision=float32",),
    "tf32": ("precision=float32", "tf32=true"),
    "bf16": ("precision=bf16",),
}
"""As a run is told; float64 shows what float32 itself leaves out."""

NETWORK = ("model=vgg16", "model.width=0.125", "data=digits", "batch_size=128")
"""The network of preset=quick."""

NORMS = ("none", "bn")
LAST = 10
"""The accuracy of a run is the mean over so many training steps at its end."""

Columns = dict[str, dict[str, list[float]]]
"""Measured numbers by table and column."""


def report(
    device: str,
    *,
    steps: int,
    lr: float = 0.05,
    warm_up: int = 20,
    seconds: float = 4.0,
    norms: Sequence[str] = NORMS,
    network: Sequence[str] = NETWORK,
) -> dict[str, Any]:
    """All there is to say, on ``device`` (cpu or cuda), as plain values for JSON.

    Args:
        steps: of each run that is made for its accuracy.
        lr: the learning rate of all runs.
        warm_up: steps in float32 before the measurements are compared.
        seconds: for the timing of the steps of each norm.
        norms: the normalisations to do it with.
        network: the overrides that choose network, data and batch.

    Returns:
        ``machine``; ``measurements``: rows of norm, precision, table, column, ``rms`` and
        ``largest``, as `difference` gives them; ``runs``: rows of norm, precision, train_accuracy,
        train_loss, test_accuracy (None without a test split), seconds_per_step (of a bare step).
        tf32 is among the precisions on a CUDA device only.
    """
    chosen = [name for name in PRECISIONS if name != "tf32" or device == "cuda"]
    found: dict[str, Any] = {
        "machine": machine(torch.device(device)),
        "settings": {"network": list(network), "lr": lr, "warm_up": warm_up, "steps": steps},
        "measurements": [],
        "runs": [],
    }
    for norm in norms:
        common = [*network, f"norm={norm}", f"optim.lr={lr}", f"device={device}"]
        found["measurements"] += [
            {"norm": norm, **row} for row in measurements(common, chosen, warm_up)
        ]
        bare = {name: Bench(_trainer(name, common)).step() for name in chosen}
        times = {}
        for name, step in bare.items():
            with products_in(name, device):
                times[name] = side_by_side({name: step}, seconds=seconds / len(bare))[name]
        for name in chosen:
            with products_in(name, device):
                end = outcome([*common, *PRECISIONS[name]], steps)
            row = {"norm": norm, "precision": name, **end, "seconds_per_step": times[name]}
            found["runs"].append(row)
    return found


def measurements(
    common: Sequence[str], precisions: Sequence[str], warm_up: int
) -> Iterator[dict[str, Any]]:
    """How every measured column differs from float32's, after ``warm_up`` steps in float32."""
    every = ("probes.landscape.etas=[0.5,1,2,4]", "measure.eval_every=1")
    exact = _trainer(EXACT, [*common, "probes=none"])
    for number in range(warm_up):
        exact.step(number, _thrown_away)
    device = exact.batches.at(0).inputs.device.type
    tables = {}
    for name in precisions:
        trainer = _trainer(name, [*common, *every])
        trainer.setting.model.load_state_dict(exact.setting.model.state_dict())
        trainer.optimizer.load_state_dict(exact.optimizer.state_dict())
        with products_in(name, device):
            tables[name] = measured(trainer, warm_up)
    for name in precisions:
        if name == EXACT:
            continue
        for table, columns in tables[EXACT].items():
            for column, expected in columns.items():
                rms, largest = difference(tables[name][table][column], expected)
                where = {"precision": name, "table": table, "column": column}
                yield {**where, "rms": rms, "largest": largest}


def difference(found: Sequence[float], expected: Sequence[float]) -> tuple[float, float]:
    """||found - expected|| / ||expected|| in the 2-norm, and in the norm of the largest entry.

    Not divided where nothing but 0 is expected.
    """
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return tuple(  # type: ignore[return-value]
        float(np.linalg.norm(a - b, order) / (np.linalg.norm(b, order) or 1.0))
        for order in (2, np.inf)
    )


def measured(trainer: Trainer, number: int) -> Columns:
    """What all probes of ``trainer`` measure at step ``number``, without what only says where."""
    found: Columns = {}

    def record(rows: Rows) -> None:
        for table, columns in rows.items():
            if table != "activations":  # its values are those that moments are taken of
                found[table] = {
                    name: [float(value) for value in values]
                    for name, values in columns.items()
                    if name not in ("step", "layer", "unit", "split", "eta", "beta_eta")
                }

    trainer.step(number, record)
    trainer.look(record)
    return found


def outcome(overrides: Sequence[str], steps: int) -> dict[str, float | None]:
    """How a run of ``steps`` steps ends: its last training accuracies, its test accuracy."""
    trainer = make_trainer(*overrides, "probes=none", f"steps={steps}")
    found: dict[str, list[float]] = {"train": [], "loss": [], "eval": []}

    def record(rows: Rows) -> None:
        if "train" in rows:
            found["train"] += [float(value) for value in rows["train"]["accuracy"]]
            found["loss"] += [float(value) for value in rows["train"]["loss"]]
        if "eval" in rows:
            found["eval"] += [float(value) for value in rows["eval"]["accuracy"]]

    for number in range(steps + 1):
        trainer.step(number, record)
        if trainer.diverged is not None:
            break
    trainer.look(record)
    return {
        "train_accuracy": float(np.mean(found["train"][-LAST:])),
        "train_loss": float(np.mean(found["loss"][-LAST:])),
        "test_accuracy": found["eval"][-1] if found["eval"] else None,
    }


@contextmanager
def products_in(precision: str, device: str) -> Iterator[None]:
    """Within it a CUDA device multiplies float32 as ``precision`` says; exactly after it."""
    if device != "cuda":
        yield
        return
    set_up_cuda(tf32=precision == "tf32", deterministic=True)
    try:
        yield
    finally:
        set_up_cuda(tf32=False, deterministic=True)


def _trainer(precision: str, common: Sequence[str]) -> Trainer:
    return make_trainer(*common, *PRECISIONS[precision])
