"""``bnexp figures``: only draws, from the runs that are there."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.analysis.select import option_matches
from bnexp.commands.runs import found, plugins_option, runs_option
from bnexp.errors import UserError
from bnexp.figures import FORMATS, Choice, draw_figures, drawable, figure, figure_ids, message
from bnexp.registry import load_plugins
from bnexp.runs import Run


def run(
    ids: Sequence[str],
    *,
    runs: Path,
    out: Path | None,
    formats: str,
    paper: bool,
    where: Sequence[str] = (),
    norms: str | None = None,
    lr: str | None = None,
) -> int:
    """Draw the figures ``ids`` (all by default) from the runs below ``runs``.

    Args:
        where: only runs with these values, each ``KEY=VALUE`` with a dotted key of the config.
        norms, lr: draw these, separated by commas, in place of the figures' own.

    Returns 0, or 1 when a figure was asked for by number and none of its runs are there.
    """
    wanted = chosen(ids)
    formats_of(formats)
    choice = choice_of(norms, lr)
    there = filtered(found(runs), where)
    if not ids:  # of our own figures those that there are runs for
        others = [name for name in figure_ids() if not figure(name).of_paper]
        wanted += [name for name in others if drawable(name, there)]
    target = out or (runs.parent if runs.name == "runs" else runs) / "figures"
    drawn = draw(wanted, there, target, formats, paper=paper, choice=choice)
    print(target)
    return 1 if ids and drawn < len(wanted) else 0


def chosen(ids: Sequence[str]) -> list[str]:
    """The figures named by ``ids`` (``4``, ``04``, ``fig4``, ``E5``, a plug-in's), each once.

    By default all of the paper's.

    Raises:
        UserError: there is no such figure.
    """
    known = figure_ids()
    names: list[str] = []
    for given in ids:
        name = given.strip()
        if name not in known:
            name = name.lower().removeprefix("fig").lstrip("0").upper()
        if name not in known:
            raise UserError(f"figures: expected all or some of {','.join(known)}; got '{given}'")
        if name in names:
            raise UserError(f"figures: expected each figure once; got {name} twice")
        names.append(name)
    return names or [name for name in known if figure(name).of_paper]


def choice_of(norms: str | None, lr: str | None) -> Choice:
    """The normalisations and learning rates named by ``--norms`` and ``--lr``.

    Raises:
        UserError: a learning rate is no positive number, or a name is empty.
    """
    names = tuple(name.strip() for name in (norms or "").split(",")) if norms is not None else ()
    if "" in names or len(set(names)) < len(names):
        raise UserError(f"--norms: expected different names separated by commas; got '{norms}'")
    rates = []
    for text in (lr or "").split(",") if lr is not None else ():
        try:
            rates.append(float(text))
        except ValueError:
            rates.append(math.nan)
        if not (math.isfinite(rates[-1]) and rates[-1] > 0):
            raise UserError(f"--lr: expected positive numbers separated by commas; got '{lr}'")
    return Choice(names, tuple(dict.fromkeys(rates)))


def filtered(runs: Sequence[Run], where: Sequence[str]) -> list[Run]:
    """Those of ``runs`` that have every ``KEY=VALUE`` of ``where`` in their config.

    Raises:
        UserError: a condition is no ``KEY=VALUE``, or no run meets them all.
    """
    kept = list(runs)
    for condition in where:
        key, sign, value = condition.partition("=")
        if not (key and sign):
            raise UserError(f"--where: expected KEY=VALUE; got '{condition}'")
        kept = [run for run in kept if option_matches(run, key.strip(), value.strip())]
        if runs and not kept:
            raise UserError(f"--where {condition}: expected a value that some run has; none does")
    return kept


def formats_of(formats: str) -> list[str]:
    """The file formats named by ``formats``, separated by commas.

    Raises:
        UserError: one of them is not known.
    """
    names = [name.strip() for name in formats.split(",")]
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format: expected some of {','.join(FORMATS)}; got '{name}'")
    return list(dict.fromkeys(names))


def draw(
    ids: Sequence[str],
    runs: Sequence[Run],
    out: Path,
    formats: str,
    *,
    paper: bool,
    choice: Choice = Choice(),  # noqa: B008  frozen
) -> int:
    """Draw, say on stderr what was drawn and what is missing; returns how many were drawn."""
    try:
        results = draw_figures(ids, runs, out, formats_of(formats), paper, choice)
    except OSError as error:
        raise UserError(
            f"--out {out}: expected a folder that can be written; {error.strerror}"
        ) from None
    for result in results:
        for path in result.paths:
            print(path, file=sys.stderr)
    if (words := message(results)) is not None:
        print(words, file=sys.stderr)
    return sum(bool(result.paths) for result in results)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp figures``."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="figures to draw (default: all)")
    runs_option(parser)
    parser.add_argument("--out", type=Path, help="where to put them (default: beside the runs)")
    parser.add_argument("--format", default="png,pdf", help="default: png,pdf")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's own curves out")
    parser.add_argument(
        "--where", action="append", default=[], metavar="KEY=VALUE",
        help="only runs with this value of a config key, as in batch_size=64; may be repeated",
    )  # fmt: skip
    parser.add_argument("--norms", help="draw these instead of the figure's own: none,bn,gn")
    parser.add_argument("--lr", help="draw these learning rates instead of the figure's own")
    plugins_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp figures``; returns the exit code."""
    load_plugins(arguments.plugins)
    return run(
        arguments.ids,
        runs=arguments.runs,
        out=arguments.out,
        formats=arguments.format,
        paper=not arguments.no_paper,
        where=arguments.where,
        norms=arguments.norms,
        lr=arguments.lr,
    )
