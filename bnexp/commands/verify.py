"""Makes committed numbers again from committed tables, and compares them with what is committed."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from bnexp.analysis.coverage import coverage
from bnexp.analysis.select import select
from bnexp.claims.report import as_json
from bnexp.commands import claims
from bnexp.errors import UserError
from bnexp.figures import figure, figure_ids
from bnexp.figures.page import Page
from bnexp.report import generated
from bnexp.runs import Run, find_runs, write_atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bnexp verify``."""
    add = parser.add_argument
    add("results", type=Path, nargs="?", default=Path("results"), help="default: results")
    document = "also the generated blocks of this Markdown file; may be repeated"
    add("--document", type=Path, action="append", default=[], metavar="FILE", help=document)
    add("--write", action="store_true", help="write them instead of comparing")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp verify``; returns 1 where something differs."""
    results: Path = arguments.results
    if not results.is_dir():
        raise UserError(f"results: expected a folder of results; there is no {results}")
    settle = written if arguments.write else differences
    problems = list[str]()
    for folder in sorted(path.parent for path in results.glob("*/runs")):
        runs = find_runs(folder)
        problems += [f"{run.path}: {problem}" for run in runs for problem in run.verify()]
        for path, text in remade(folder, runs).items():
            problems += settle(path, text)
    for document in arguments.document:
        problems += settle(document, generated(document.read_text(encoding="utf-8"), results))
    for problem in problems:
        print(f"bnexp: {problem}", file=sys.stderr)
    words = f"{len(problems)} differences" if problems else "all numbers as committed"
    print(f"{results}: {words}")
    return 1 if problems else 0


def remade(folder: Path, runs: list[Run]) -> dict[Path, str]:
    """The files of numbers that belong to the ``runs`` in ``folder``, and what they should hold."""
    judged = as_json(claims.judge([], runs, folder))
    selections = {name: select(figure(name).needs, runs) for name in figure_ids()}
    drawn = {
        name: numbers(figure(name).page(selection))
        for name, selection in selections.items()
        if not selection.empty
    }
    of_paper = [int(name) for name in figure_ids() if name.isdecimal()]
    curves = pd.concat([coverage(number, runs).assign(figure=number) for number in of_paper])
    return {
        folder / "claims" / "claims.json": json.dumps(judged, indent=1) + "\n",
        folder / "numbers.json": json.dumps(drawn, indent=0) + "\n",
        folder / "coverage.csv": curves.to_csv(index=False, float_format="%.10g"),
    }


def numbers(page: Page) -> dict[str, Any]:
    """What a drawn figure shows, so that it can be compared without its pixels.

    By line or band: how many points it has, then the mean, least and greatest of x and of y; and
    its ``remarks``, the sentences at its foot.
    """
    shown: dict[str, Any] = {"remarks": " ".join(page.remarks)}
    for place, axes in enumerate(page.figure.axes):
        artists: list[tuple[Any, Any]] = []
        for artist in axes.get_children():
            if isinstance(artist, Line2D):
                artists.append((artist, artist.get_xydata()))
            elif isinstance(artist, PolyCollection):
                artists += [(artist, path.vertices) for path in artist.get_paths()]
        for rank, (artist, points) in enumerate(artists):
            finite = np.asarray(points, dtype=np.float64)
            finite = finite[np.isfinite(finite).all(axis=1)]
            if len(finite):
                columns = np.concatenate([finite.mean(0), finite.min(0), finite.max(0)])
                name = f"{place}:{axes.get_label()}:{artist.get_gid() or ''}:{rank}"
                shown[name] = [float(len(finite)), *columns.tolist()]
    return shown


def written(path: Path, text: str) -> list[str]:
    """Write the file; no problems."""
    write_atomic(path, text)
    return []


def differences(path: Path, text: str) -> list[str]:
    """What of the file at ``path`` differs from ``text``: claims, figures or columns by name."""
    if not path.exists():
        return [f"{path}: expected the numbers made by bnexp verify --write; it is missing"]
    now, was = _items(path, text), _items(path, path.read_text(encoding="utf-8"))
    tiny = 1e-300 if path.name == "numbers.json" else 1e-12  # a claim's number may be a difference
    names = [name for name in now | was if not same(now.get(name), was.get(name), tiny)]
    return [f"{path}: expected what the runs give; {', '.join(names)} differ"] * bool(names)


def _items(path: Path, text: str) -> dict[str, Any]:
    """What the file holds by the claim's id, by the figure or by the column."""
    if path.suffix == ".md":
        return {"generated blocks": text}
    if path.suffix == ".csv":
        return {str(k): v for k, v in pd.read_csv(io.StringIO(text)).to_dict("list").items()}
    plain = json.loads(text)
    return {c["id"]: c for c in plain} if isinstance(plain, list) else plain


def same(a: Any, b: Any, tiny: float) -> bool:
    """Whether two plain values are equal, numbers to 1e-8 or ``tiny``; NaN equals NaN."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tiny) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, tiny) for x, y in zip(a, b, strict=True))
    if isinstance(a, int | float) and isinstance(b, int | float):
        both_nan = math.isnan(a) and math.isnan(b)
        return both_nan or math.isclose(a, b, rel_tol=1e-8, abs_tol=tiny)
    return bool(a == b)
