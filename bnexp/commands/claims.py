"""``bnexp claims``: the verdict on every claim, from the runs that are there."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bnexp.claims import Judgement, all_claims, judge_claim
from bnexp.claims.forest import forest
from bnexp.claims.report import as_json, markdown, text
from bnexp.commands.figures import formats_of
from bnexp.commands.runs import found, plugins_option, runs_option
from bnexp.errors import UserError
from bnexp.figures.draw import write_figure
from bnexp.registry import load_plugins, unknown
from bnexp.runs import Run, write_atomic


def run(ids: Sequence[str], *, runs: Path, out: Path | None, json_only: bool, formats: str) -> int:
    """Judge the claims ``ids`` (all by default) from the runs below ``runs``; returns 0.

    Prints them, as JSON if asked. With ``out`` it writes there claims.md, claims.json and the
    figure of all effects.
    """
    formats_of(formats)
    wanted = chosen(ids)
    judgements = judge(wanted, found(runs), runs)
    print(json.dumps(as_json(judgements), indent=1) if json_only else text(judgements))
    report_left_out(judgements)
    if out is not None:
        write(judgements, out, formats)
    return 0


def chosen(ids: Sequence[str]) -> list[str]:
    """The claims named by ``ids``: one (``4.7``), or all of a claim of the paper (``4``, ``E1``).

    Raises:
        UserError: there is no such claim.
    """
    claims = list(all_claims())
    names: dict[str, None] = {}
    for given in ids:
        mine = [name for name in claims if given.upper() in (name.upper(), name.split(".")[0])]
        if not mine:
            raise UserError(f"claims: {unknown(given, claims)}")
        names.update(dict.fromkeys(mine))
    return list(names or claims)


def judge(ids: Sequence[str], runs: Sequence[Run], root: Path) -> list[Judgement]:
    """The judgements of the claims ``ids`` on ``runs``, which lie below ``root``."""
    where = root.parent if root.name == "runs" else root
    claims = all_claims()
    return [judge_claim(claims[name], runs, str(where)) for name in ids]


def report_left_out(judgements: Sequence[Judgement]) -> None:
    """Say on stderr which runs could have served and were left out, for which claims."""
    ids: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.left_out:
            ids.setdefault(judgement.left_out, []).append(judgement.claim.id)
    for words, names in ids.items():
        print(f"bnexp: claims {', '.join(names)}: left out {words}", file=sys.stderr)


def write(judgements: Sequence[Judgement], out: Path, formats: str) -> None:
    """Write claims.md, claims.json and the figure to ``out``, and say so on stderr."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "claims.md", markdown(judgements))
        write_atomic(out / "claims.json", json.dumps(as_json(judgements), indent=1) + "\n")
        figure = forest(judgements)
        paths = [write_figure(figure, out / f"claims.{name}") for name in formats_of(formats)]
    except OSError as error:
        raise UserError(
            f"--out {out}: expected a folder that can be written; {error.strerror}"
        ) from None
    for path in (out / "claims.md", out / "claims.json", *paths):
        print(path, file=sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp claims``."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="claims to judge (default: all)")
    runs_option(parser)
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write table and figure there")
    parser.add_argument("--format", default="png,pdf", help="of the figure (default: png,pdf)")
    plugins_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp claims``; returns the exit code."""
    load_plugins(arguments.plugins)
    return run(
        arguments.ids,
        runs=arguments.runs,
        out=arguments.out,
        json_only=arguments.json,
        formats=arguments.format,
    )
