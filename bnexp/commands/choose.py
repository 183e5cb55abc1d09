"""Which runs a command is about: conditions, names, order, and what tells runs apart."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bnexp.errors import UserError
from bnexp.registry import expect, unknown
from bnexp.runs import Run, differing, order, written


def where_option(parser: argparse.ArgumentParser) -> None:
    """``--where``, as commands have it that choose among runs."""
    where = "only runs with this value of a config key, as in batch_size=64 or norm=bn,none"
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE", help=f"{where}; repeatable"
    )


def known(option: str, key: str, keys: Iterable[str]) -> None:
    """Raise the `UserError` that names the nearest of ``keys`` unless ``key`` is one of them."""
    if key not in (names := list(keys)):
        near = difflib.get_close_matches(key, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{option}: no run has the key '{key}'{hint}")


def values(run: Run, key: str) -> list[Any]:
    """What ``key`` says of the run: a config key, a group (its name counts), state or step."""
    if key in ("state", "step"):
        return [run.state if key == "state" else run.status.get("step", 0)]
    return [run.settings[k] for k in (key, f"{key}.name") if k in run.settings] or [None]


def equals(value: Any, text: str) -> bool:
    """Whether ``text`` is how ``value`` can be written on the command line."""
    try:
        return math.isclose(float(value), float(text), rel_tol=1e-9)
    except (TypeError, ValueError):
        return written(value) == text


def filtered(runs: Sequence[Run], where: Sequence[str]) -> list[Run]:
    """Those of ``runs`` that meet every ``KEY=VALUE[,VALUE]`` of ``where``; there must be some.

    Raises:
        UserError: no run has the key, or none has the value.
    """
    rest = list(runs)
    keys = dict.fromkeys(k for run in runs for k in (*run.settings, *run.config, "state", "step"))
    for condition in where:
        key, _, text = map(str.strip, condition.partition("="))
        expect(bool(key and text), "--where", "KEY=VALUE", condition)
        if runs:
            known("--where", key, keys)
        texts = {text, *text.split(",")}
        there = dict.fromkeys(written(value) for run in rest for value in values(run, key))
        rest = [r for r in rest if any(equals(v, t) for v in values(r, key) for t in texts)]
        some = f"one of {key}={', '.join([*there][:9])}"
        expect(bool(rest or not runs), "--where", some, condition)
    return rest


def picked(runs: Sequence[Run], name: str) -> Run:
    """The run that is called ``name``: its id, the beginning of one, or its directory."""
    name = Path(name).name
    mine = [run for run in runs if run.id.startswith(name) and name]
    mine = [run for run in mine if run.id == name] or mine
    if len(mine) > 1:
        ids = ", ".join(run.id for run in mine[:9])
        raise UserError(f"RUN: expected the beginning of one id; {name} begins {ids}")
    if not mine:
        raise UserError(f"RUN: {unknown(name, [run.id for run in runs])}")
    return mine[0]


def columns(runs: Sequence[Run]) -> list[str]:
    """The config keys in which ``runs`` differ, less what `bnexp runs` always shows."""
    shown = {
        "model.name",
        "model.depth",
        "norm.name",
        "data.name",
        "data.label",
        "optim.lr",
        "seed",
    }
    return [key for key in differing(runs) if key not in shown]


def ordered(runs: Sequence[Run], key: str) -> list[Run]:
    """``runs`` by the key, numbers before texts; those without it last; downwards after a -."""
    name, down = key.removeprefix("-"), key.startswith("-")
    known("--sort", name, [*(k for run in runs for k in run.settings), "state", "step"])
    its = {run.id: values(run, name)[0] for run in runs}
    there = [run for run in runs if its[run.id] not in (None, math.nan)]
    lacking = [run for run in runs if its[run.id] in (None, math.nan)]
    return [*sorted(there, key=lambda run: order(its[run.id]), reverse=down), *lacking]
