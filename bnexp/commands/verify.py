"""Makes committed numbers again from committed tables, and compares them with what is committed."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.analysis.coverage import coverage
from bnexp.analysis.select import select
from bnexp.claims import all_claims
from bnexp.claims.report import as_json
from bnexp.commands import claims
from bnexp.errors import UserError
from bnexp.figures import figure, figure_ids
from bnexp.figures.style import style
from bnexp.report.documents import generated
from bnexp.report.numbers import Numbers, differing, numbers
from bnexp.runs import Run, find_runs, write_atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp verify``."""
    parser.add_argument(
        "results", type=Path, nargs="?", default=Path("results"), help="default: results"
    )
    parser.add_argument(
        "--document",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also the generated blocks of this Markdown file; may be repeated",
    )
    parser.add_argument("--write", action="store_true", help="write them instead of comparing")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp verify``; returns 1 where something differs."""
    results: Path = arguments.results
    if not results.is_dir():
        raise UserError(f"results: expected a folder of results; there is no {results}")
    problems = []
    for folder in sorted(path.parent for path in results.glob("*/runs")):
        runs = find_runs(folder)
        problems += [f"{run.path}: {problem}" for run in runs for problem in run.verify()]
        problems += list(verified(folder, runs, arguments.write))
    for document in arguments.document:
        text = document.read_text(encoding="utf-8")
        if (now := generated(text, results)) == text:
            continue
        if arguments.write:
            write_atomic(document, now)
        else:
            problems.append(f"{document}: a generated block differs from {results}")
    for problem in problems:
        print(f"bnexp: {problem}", file=sys.stderr)
    words = f"{len(problems)} differences" if problems else "all numbers as committed"
    print(f"{results}: {words}")
    return 1 if problems else 0


def verified(folder: Path, runs: list[Run], write: bool) -> Iterator[str]:
    """What of the numbers in ``folder`` differs from those of its ``runs``; or writes them."""
    judged = as_json(claims.judge(list(all_claims()), runs, folder))
    drawn = figure_numbers(runs)
    numbered = [int(name) for name in figure_ids() if name.isdecimal()]
    curves = pd.concat([coverage(number, runs).assign(figure=number) for number in numbered])
    files = {"claims": folder / "claims" / "claims.json", "numbers": folder / "numbers.json"}
    table = folder / "coverage.csv"
    if write:
        write_atomic(files["claims"], json.dumps(judged, indent=1) + "\n")
        write_atomic(files["numbers"], json.dumps(drawn, indent=0) + "\n")
        write_atomic(table, curves.to_csv(index=False, float_format="%.10g"))
        return
    for path in (*files.values(), table):
        if not path.exists():
            yield f"{path}: expected the numbers made by bnexp verify --write; it is missing"
            return
    before = json.loads(files["claims"].read_text(encoding="utf-8"))
    for now, was in zip(judged, before, strict=False):
        if not _same(now, was):
            yield f"{files['claims']}: claim {now['id']} differs"
    if len(judged) != len(before):
        yield f"{files['claims']}: expected {len(judged)} claims; it has {len(before)}"
    committed: dict[str, Numbers] = json.loads(files["numbers"].read_text(encoding="utf-8"))
    for number in sorted(drawn.keys() | committed.keys()):
        if names := differing(drawn.get(number, {}), committed.get(number, {})):
            yield f"{files['numbers']}: figure {number}: {len(names)} lines differ: {names[0]}"
    if not _same(curves.to_dict("list"), pd.read_csv(table).to_dict("list")):
        yield f"{table}: the coverage of the paper's curves differs"


def figure_numbers(runs: list[Run]) -> dict[str, Numbers]:
    """The numbers of every figure that the runs suffice for."""
    shown = {}
    for number in figure_ids():
        recipe = figure(number)
        selection = select(recipe.needs, runs)
        if not selection.empty:
            with style():
                shown[number] = numbers(recipe.draw(selection, True))
    return shown


def _same(a: Any, b: Any) -> bool:
    """Whether two plain values are equal, numbers to rounding; NaN and None are missing alike."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, int | float) and isinstance(b, int | float):
        both_nan = math.isnan(a) and math.isnan(b)
        return both_nan or math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-12)
    missing = [value is None or value != value for value in (a, b)]
    return bool(a == b) or all(missing)
