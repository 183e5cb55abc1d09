"""Tables and sentences of README and docs, generated from committed results.

A document holds blocks between two marks, of which the first says what is generated::

    <!-- generated: claims dln 3.9,4.11 -->
    ..
    <!-- end -->

====================  ==================================================================
``claims SET IDS``    a row per part of a claim: the paper's number, ours, verdict
``count SET``         how many claims have every number where it is claimed
``coverage SET FIGS`` a row per curve of the paper: share of its points in our band
``panels SET SET``    the same per panel of the paper's figures, of two sets side by side
====================  ==================================================================

SET is a folder of ``results/``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.errors import UserError

BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
Row = dict[str, Any]


def generated(text: str, results: Path) -> str:
    """``text`` with its blocks made anew from ``results``.

    Raises:
        UserError: a mark asks for something unknown, or results lack it.
    """

    def block(match: re.Match[str]) -> str:
        kind, *arguments = match[2].split()
        if kind not in KINDS:
            raise UserError(f"generated: {kind}: expected one of {', '.join(KINDS)}")
        try:
            body = KINDS[kind](results, *arguments)
        except (TypeError, OSError, KeyError) as error:
            raise UserError(f"generated: {match[2]}: {type(error).__name__}: {error}") from error
        return f"{match[1]}{body}\n{match[3]}"

    return BLOCK.sub(block, text)


def table(rows: Sequence[Row]) -> str:
    """``rows`` as a Markdown table; the keys of the first are its head."""
    if not rows:
        return "(no rows)"
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def claims_block(results: Path, name: str, ids: str) -> str:
    """The claims ``ids`` (separated by commas) as judged in ``results/<name>``."""
    judged = {claim["id"]: claim for claim in _claims(results, name)}
    rows = []
    for claim in (judged[number] for number in ids.split(",")):
        for part in claim["parts"]:
            title = claim["statement"] + (f" ({part['name']})" if part["name"] else "")
            rows.append(
                {
                    "claim": f"{claim['id']} {title}",
                    "quantity": f"{claim['statistic']} ({claim['unit']})",
                    "claimed": claim["holds_if"],
                    "the paper": _number(part["paper"]),
                    "ours": _estimate(part),
                    "seeds": part["seeds"],
                    "verdict": part["verdict"],
                }
            )
    return table(rows)


def count_block(results: Path, name: str) -> str:
    """How many claims of ``results/<name>`` have every number where it is claimed."""
    claims = [claim for claim in _claims(results, name) if claim["where_claimed"] is not None]
    inside = sum(bool(claim["where_claimed"]) for claim in claims)
    verdicts = pd.Series([claim["verdict"] for claim in claims]).value_counts()
    words = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    return (
        f"Of the {len(claims)} claims with numbers there, {inside} have every number where it is "
        f"claimed. Verdicts: {words}."
    )


def coverage_block(results: Path, name: str, figures: str) -> str:
    """The curves of the paper's ``figures`` beside the seeds of ``results/<name>``."""
    frame = pd.read_csv(results / name / "coverage.csv")
    chosen = frame[frame["figure"].isin([int(number) for number in figures.split(",")])]
    return table(
        [
            {
                "panel": f"{row['figure']}{row['panel']}",
                "quantity": row["quantity"].replace("_", " "),
                "norm": row["norm"],
                "lr": f"{row['lr']:g}",
                "layer": "" if math.isnan(row["layer"]) else int(row["layer"]),
                "seeds": row["seeds"],
                "share inside": f"{row['inside']:.2f}",
                "distance": f"{row['distance']:.2g}",
            }
            for _, row in chosen.iterrows()
        ]
    )


def panels_block(results: Path, before: str, after: str) -> str:
    """Per panel, the share of the paper's points inside our band and the median distance."""
    shares, distances = {}, {}
    for name in (before, after):
        frame = pd.read_csv(results / name / "coverage.csv")
        frame["inside"] *= frame["points"]
        panels = frame.groupby(["figure", "panel"])
        shares[name] = panels["inside"].sum() / panels["points"].sum()
        distances[name] = panels["distance"].median()
    return table(
        [
            {
                "panel": "".join(map(str, panel)),
                **{f"share inside, {name}": f"{shares[name][panel]:.2f}" for name in shares},
                **{f"distance, {name}": f"{distances[name][panel]:.2g}" for name in shares},
            }
            for panel in shares[after].index
        ]
    )


KINDS: dict[str, Callable[..., str]] = {
    "claims": claims_block,
    "count": count_block,
    "coverage": coverage_block,
    "panels": panels_block,
}


def _claims(results: Path, name: str) -> list[Row]:
    claims: list[Row] = json.loads(
        (results / name / "claims" / "claims.json").read_text(encoding="utf-8")
    )
    return claims


def _number(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.3g}"


def _estimate(part: Row) -> str:
    if part["estimate"] is None:
        return "-"
    sign = {"at least": ">= ", "at most": "<= "}.get(next(iter(part["bounds"].values()), ""), "")
    interval = f" [{_number(part['low'])}, {_number(part['high'])}]"
    return sign + _number(part["estimate"]) + (interval if part["low"] is not None else "")
