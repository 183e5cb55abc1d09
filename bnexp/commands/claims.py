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
from bnexp.commands.choose import filtered, where_option
from bnexp.commands.runs import found, plugins_option, runs_option
from bnexp.errors import UserError
from bnexp.figures.draw import write_figure
from bnexp.registry import load_plugins, unknown
from bnexp.runs import Run, write_atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp claims``."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="claims to judge (default: all)")
    runs_option(parser)
    where_option(parser)
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write them there")
    plugins_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp claims``: judge, print, and with ``--out`` write; returns 0."""
    load_plugins(arguments.plugins)
    ids, runs = chosen(arguments.ids), filtered(found(arguments.runs), arguments.where)
    judgements = judge(ids, runs, arguments.runs)
    print(json.dumps(as_json(judgements), indent=1) if arguments.json else text(judgements))
    if arguments.out is not None:
        write(judgements, arguments.out)
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
    return list(names)


def judge(ids: Sequence[str], runs: Sequence[Run], root: Path) -> list[Judgement]:
    """The judgements of the claims ``ids`` on ``runs``, which lie below ``root``.

    Without ``ids`` of all, less the optional ones without numbers.
    """
    where = root.parent if root.name == "runs" else root
    claims = all_claims()
    judged = [judge_claim(claims[name], runs, str(where)) for name in ids or claims]
    return [j for j in judged if ids or not j.claim.optional or j.numbers]


def write(judgements: Sequence[Judgement], out: Path) -> None:
    """Write claims.md, claims.json and claims.png to ``out``, and say so on stderr."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "claims.md", markdown(judgements))
        write_atomic(out / "claims.json", json.dumps(as_json(judgements), indent=1) + "\n")
        write_figure(forest(judgements), out / "claims.png")
    except OSError as error:
        raise UserError(
            f"--out {out}: expected a folder that can be written; {error.strerror}"
        ) from None
    print(*(out / f"claims.{name}" for name in ("md", "json", "png")), sep="\n", file=sys.stderr)
