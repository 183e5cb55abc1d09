from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bnexp.runs import RunDirectory

VGG: dict[str, Any] = {
    "model": {"name": "vgg", "depth": 16, "loss": "cross_entropy", "width": 0.125},
    "norm": {"name": "bn", "eps": 1e-5},
    "data": {"name": "digits", "label": "digits", "augment": False},
    "optim": {"name": "sgd", "lr": 0.1, "momentum": 0.0},
    "probes": {"landscape": {"every": 100, "etas": [0.5, 1, 2, 4]}},
    "batch_size": 128,
    "steps": 400,
    "seed": 0,
    "device": "cpu",
    "precision": "float32",
    "threads": 2,
    "out": "results",
}
DLN: dict[str, Any] = {
    **VGG,
    "model": {"name": "dln", "loss": "half_sum_squares", "k": 25, "d": 10},
    "data": {"name": "gaussian", "label": "Gaussian", "A": "normal", "A_std": 1.0},
    "optim": {"name": "sgd", "lr": 1e-6},
    "batch_size": None,
    "steps": 10_000,
}


def changed(config: dict[str, Any], **options: Any) -> dict[str, Any]:
    """``config`` with options such as ``optim__lr=0.5`` set."""
    config = copy.deepcopy(config)
    for key, value in options.items():
        *groups, name = key.split("__")
        group = config
        for part in groups:
            group = group[part]
        group[name] = value
    return config


@contextmanager
def forked(work: Callable[..., None], *arguments: Any) -> Iterator[tuple[int, Connection]]:
    """``work(*arguments, pipe)`` in a process of its own, killed at the end; its id and a pipe."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe()
    process = context.Process(target=work, args=(*arguments, its), daemon=True)
    process.start()
    assert process.pid is not None
    try:
        yield process.pid, mine
    finally:
        process.kill()
        process.join()


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Makes ``<tmp>/runs/<name>`` with a config changed as asked for."""

    def make(name: str, base: dict[str, Any] = VGG, **options: Any) -> RunDirectory:
        directory = RunDirectory(tmp_path / "runs" / name)
        directory.create(changed(base, **options), {"torch": "2"})
        return directory

    return make
