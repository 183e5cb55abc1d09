"""Tables and sentences of README and docs, generated from committed results.

A document holds blocks between two marks, of which the first says what is generated::

    <!-- generated: claims dln 3.9,4.11 -->
    ..
    <!-- end -->

====================  ==================================================================
``accuracy SET``      test accuracy at the end of each network's runs
``answers SET IDS ..`` a row per claim, of one set after the other, in few words and factors
``claims SET IDS``    a row per part of a claim: the paper's number, ours, verdict
``count SET``         how many claims have every number where it is claimed
``coverage SET FIGS`` a row per curve of the paper: share of its points in our band
``panels SET SET``    the same per panel of the paper's figures, of two sets side by side
``remarks SET FIG``   the sentences at the foot of a figure
====================  ==================================================================

SET is a folder of ``results/``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.claims.report import cells, markdown_table
from bnexp.errors import UserError
from bnexp.runs import load_runs

BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


_FACTORS = {
    "log10 of the ": "",
    "log10 of ": "",
    "log10(top/bottom)": "top/bottom",
    " less ": " / ",
}


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


def claims_block(results: Path, name: str, ids: str) -> str:
    """The claims ``ids`` (separated by commas) as judged in ``results/<name>``."""
    rows = []
    for claim in _claims(results, name, ids):
        quantity = f"{claim['statistic']} ({claim['unit']})"
        for part in claim["parts"]:
            title = claim["statement"] + (f" ({part['name']})" if part["name"] else "")
            row = [f"{claim['id']} {title}", quantity, claim["holds_if"], *cells(part)[:2]]
            rows.append([*row, part["seeds"], part["verdict"]])
    head = ["claim", "quantity", "claimed", "the paper", "ours", "seeds", "verdict"]
    return markdown_table(head, rows)


def answers_block(results: Path, *sets: str) -> str:
    """The claims of each set in turn: names of sets and their claims' ids, alternating."""
    rows = []
    for name, ids in zip(sets[::2], sets[1::2], strict=True):
        for claim in _claims(results, name, ids):
            measured, unit, parts = claim["statistic"], claim["unit"], claim["parts"]
            if unit == "decades":  # the cells give factors
                for words, factor in _FACTORS.items():
                    measured = measured.replace(words, factor)
            papers = dict.fromkeys(cells(part, unit)[0] for part in parts)
            ours = [
                cells(part, unit)[1] + f" ({part['name']})" * bool(part["name"]) for part in parts
            ]
            seeds = max(part["seeds"] for part in parts)
            where = f"{claim['scale'].split(', batch')[0]}, {seeds} seed{'s' * (seeds != 1)}"
            paper = ", ".join(value for value in papers if value != "-") or "-"
            row = [f"{claim['id']} {claim['statement']}", measured, paper, "; ".join(ours), where]
            rows.append([*row, f"**{claim['verdict']}**"])
    head = ["claim", "measured", "the paper", "ours", "on", "verdict"]
    return markdown_table(head, rows)


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
    frame = _coverage(results, name)
    frame = frame[frame["figure"].isin(figures.split(","))]
    frame = frame.assign(
        panel=frame["figure"] + frame["panel"],
        quantity=frame["quantity"].str.replace("_", " "),
        lr=frame["lr"].map("{:g}".format),
        layer=frame["layer"].map("{:.0f}".format).replace("nan", ""),
        inside=frame["inside"].map("{:.2f}".format),
        distance=frame["distance"].map("{:.2g}".format),
    )
    columns = ["panel", "quantity", "norm", "lr", "layer", "seeds", "inside", "distance"]
    rows = frame[columns].to_numpy().tolist()
    return markdown_table([*columns[:6], "share inside", "distance"], rows)


def panels_block(results: Path, before: str, after: str) -> str:
    """Per panel, the share of the paper's points inside our band and the median distance."""
    shares, distances = {}, {}
    for name in (before, after):
        frame = _coverage(results, name)
        frame["inside"] *= frame["points"]
        panels = frame.groupby(["figure", "panel"], sort=False)
        share = panels["inside"].sum() / panels["points"].sum()
        shares[f"share inside, {name}"] = share.map("{:.2f}".format)
        distances[f"distance, {name}"] = panels["distance"].median().map("{:.2g}".format)
    columns = pd.DataFrame(shares | distances).loc[share.index]
    rows = [["".join(panel), *row] for panel, *row in columns.itertuples()]
    return markdown_table(["panel", *columns], rows)


def accuracy_block(results: Path, name: str) -> str:
    """Test accuracy at the last evaluation of the runs of ``results/<name>``, over seeds."""
    rows = load_runs(results / name, "eval")["eval"]
    last = rows[rows["split"] == "test"].groupby("run", observed=True).tail(1)
    keys = ["model", "width", "norm", "lr", "steps"]
    last = last.drop_duplicates([*keys, "seed"])  # one run under several probes is one
    groups = last.groupby(keys, observed=True)["accuracy"]
    seeds = (100 * groups.agg(["median", "min", "max"])).assign(seeds=groups.size())
    cells = [
        [f"{value:g}" if type(value) is float else value for value in key] for key in seeds.index
    ]
    numbers = [
        [f"{r.median:.1f}", f"{r.min:.1f} to {r.max:.1f}", r.seeds] for r in seeds.itertuples()
    ]
    table = [[*map(str, [*key, *row])] for key, row in zip(cells, numbers, strict=True)]
    return markdown_table([*keys, "test accuracy (%)", "over seeds", "seeds"], table)


def remarks_block(results: Path, name: str, figure: str) -> str:
    """What the foot of ``figure`` of ``results/<name>`` says."""
    text = (results / name / "numbers.json").read_text(encoding="utf-8")
    words: str = json.loads(text)[figure]["remarks"]
    return words


KINDS: dict[str, Callable[..., str]] = {
    "accuracy": accuracy_block,
    "answers": answers_block,
    "claims": claims_block,
    "count": count_block,
    "coverage": coverage_block,
    "panels": panels_block,
    "remarks": remarks_block,
}


def _claims(results: Path, name: str, ids: str = "") -> list[dict[str, Any]]:
    """The claims ``ids``, in their order, or all."""
    text = (results / name / "claims" / "claims.json").read_text(encoding="utf-8")
    claims = {claim["id"]: claim for claim in json.loads(text)}
    return [claims[number] for number in (ids.split(",") if ids else claims)]


def _coverage(results: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(results / name / "coverage.csv", dtype={"figure": str})
