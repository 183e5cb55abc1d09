"""Judgements as text, Markdown and JSON."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bnexp.claims.claim import Judgement, Part
from bnexp.claims.statistics import EXACT, FEWEST, OPEN, VERDICTS, Estimate

WIDTH = 100
COLUMNS = (
    "claim",
    "statement",
    "statistic",
    "the paper",
    "ours",
    "seeds",
    "effect size",
    "verdict",
)


def text(judgements: Sequence[Judgement]) -> str:
    """All judgements for the terminal, and the commands for what cannot be told."""
    blocks = [_block(one) for one in judgements]
    return "\n\n".join([*blocks, counted(judgements), commands(judgements)]).strip()


def counted(judgements: Sequence[Judgement]) -> str:
    """How many claims there are of each verdict, in one line."""
    amounts = Counter(one.verdict for one in judgements)
    told = ", ".join(f"{amounts[verdict]} {verdict}" for verdict in VERDICTS if amounts[verdict])
    return f"{len(judgements)} claims: {told}"


def early(judgements: Sequence[Judgement]) -> str:
    """What runs of too few seeds for a verdict say so far, in one line; "" if there are none."""
    few = [
        one
        for one in judgements
        if any(0 < part.found.seeds < FEWEST for part in one.parts) and one.verdict == OPEN
    ]
    if not few:
        return ""
    inside = sum(
        all(
            one.claim.region.holds(effect) for part in one.parts for effect in part.effects.values()
        )
        for one in few
    )
    return (
        f"A verdict takes {FEWEST} seeds. Of {len(few)} claims with fewer, {inside} have every "
        f"number so far where it is claimed; `bnexp claims` prints them and what makes more seeds."
    )


def commands(judgements: Sequence[Judgement]) -> str:
    """What to run for the claims that cannot be told, each command once; "" if there are none."""
    wanted: dict[str, list[str]] = {}
    for one in judgements:
        if one.verdict == OPEN:
            for command in one.command.split(" && "):
                wanted.setdefault(command, []).append(one.claim.id)
    if not wanted:
        return ""
    lines = [f"  {command}  # {', '.join(ids)}" for command, ids in wanted.items()]
    return "\n".join(["To tell what cannot be told:", *lines])


def markdown(judgements: Sequence[Judgement]) -> str:
    """A page with a table of all claims and their parts."""
    rows = [row for one in judgements for row in _rows(one)]
    table = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    scales = dict.fromkeys(f"{one.claim.family.upper()}: {_scale(one)}" for one in judgements)
    lines = [
        "# The claims, judged",
        "",
        f"Made by `bnexp claims`. {counted(judgements)}.",
        "",
        "In brackets: the 95 % interval over seeds, Student's of the mean from "
        f"{FEWEST} seeds, the exact one of the median from {EXACT}. r: the effect size, the",
        "rank-biserial correlation of paired samples against the edge of what is claimed. A claim",
        "holds when the interval of each of its parts lies in the range claimed, and does not hold",
        "when each lies outside.",
        "",
        *(f"- {scale}" for scale in scales if not scale.endswith(": ")),
        "",
        *table,
    ]
    told = commands(judgements)
    if told:
        title, *wanted = told.splitlines()
        lines += ["", title, "", "```", *(line.strip() for line in wanted), "```"]
    return "\n".join([*lines, ""])


def as_json(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """All judgements as plain values; what is no number or infinite is null or a word."""
    return [
        {
            "id": one.claim.id,
            "statement": one.claim.statement,
            "criterion": one.claim.criterion,
            "place": one.claim.place,
            "statistic": one.claim.statistic,
            "unit": one.claim.unit,
            "holds_if": str(one.claim.region),
            "verdict": one.verdict,
            "where": one.where,
            "the_papers_curves": one.paper or None,
            "scale": one.scale or None,
            "at_paper_scale": one.paper_scale,
            "missing": one.missing or None,
            "command": one.command or None,
            "parts": [
                {
                    "name": part.name,
                    "verdict": part.verdict,
                    "paper": _plain(part.paper),
                    "estimate": _plain(part.found.value),
                    "low": _plain(part.found.low),
                    "high": _plain(part.found.high),
                    "seeds": part.found.seeds,
                    "effect_size": _plain(part.found.size),
                    "p": _plain(part.found.p),
                    "share_of_seeds": _plain(part.found.share),
                    "effects": {str(seed): _plain(v) for seed, v in part.effects.items()},
                }
                for part in one.parts
            ],
        }
        for one in judgements
    ]


def contradiction(one: Judgement) -> str:
    """What to say where the paper's own curves do not show what it claims; "" where they do."""
    if one.paper in ("", "holds"):
        return ""
    if one.paper == "contradicts":
        return "the paper's own curves contradict it"
    region = one.claim.region
    bad = [
        part.name
        for part in one.parts
        if not math.isnan(part.paper) and not region.holds(part.paper)
    ]
    return f"the paper's own curves contradict it in part ({', '.join(bad)})"


def number(value: float) -> str:
    """A number in three digits."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _block(one: Judgement) -> str:
    claim = one.claim
    head = f"{claim.id:5} {one.verdict.upper():14} {claim.statement} ({claim.place})"
    lines = textwrap.wrap(head, WIDTH, subsequent_indent=" " * 21)
    lines.append(f"      {claim.statistic}: claimed {claim.region}")
    size = max(len(part.name) for part in one.parts)
    for part in one.parts:
        lines.append(f"      {part.name:{size}}  {_numbers(part)}".rstrip())
    told = [one.where, contradiction(one), _scale(one)]
    if one.missing:
        told.append(f"no such run: {one.missing}")
    lines += [
        line
        for remark in told
        if remark
        for line in textwrap.wrap(
            remark, WIDTH, initial_indent="      ", subsequent_indent="        "
        )
    ]
    return "\n".join(lines)


def _numbers(part: Part) -> str:
    seeds = part.found.seeds
    told = f"paper {number(part.paper):>7}   ours {_ours(part.found)}"
    if seeds:
        told += f"   {seeds} seed{'s' * (seeds > 1)}"
    if not math.isnan(part.found.size):
        told += f"   r {number(part.found.size)}"
    return told


def _ours(found: Estimate) -> str:
    if math.isnan(found.low):
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _rows(one: Judgement) -> list[list[str]]:
    rows = []
    for index, part in enumerate(one.parts):
        first = index == 0
        verdict = f"**{one.verdict}**" if first else ""
        remarks = "; ".join(filter(None, [one.where, contradiction(one)])) if first else ""
        statistic = f"{one.claim.statistic}, claimed {one.claim.region}" if first else ""
        if part.name:
            statistic = f"{statistic}: {part.name}" if first else part.name
        rows.append(
            [
                one.claim.id if first else "",
                f"{one.claim.statement} ({one.claim.place})" if first else "",
                statistic,
                number(part.paper),
                _ours(part.found),
                str(part.found.seeds or "-"),
                number(part.found.size),
                f"{verdict} {remarks}".strip(),
            ]
        )
    return [[cell.replace("|", "\\|") for cell in row] for row in rows]


def _scale(one: Judgement) -> str:
    if not one.scale:
        return ""
    return one.scale + (", the paper's scale" if one.paper_scale else ", not the paper's scale")


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
