"""Judgements as text, Markdown and JSON."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnexp.claims.judge import Judgement, Part
from bnexp.claims.statistics import DEAD, EXACT, FEWEST, MIXED, OPEN, VERDICTS, Estimate

WIDTH = 100
TELLING = 3
"""Claims that a summary says in words."""

COLUMNS = (
    "claim", "statement", "statistic", "the paper", "ours", "seeds", "effect size", "verdict",
)  # fmt: skip
UNITS = {"points": " percentage points", "octaves": " octaves"}


def text(judgements: Sequence[Judgement]) -> str:
    """All judgements for the terminal, and the commands for what cannot be told."""
    blocks = [_block(judgement) for judgement in judgements]
    return "\n\n".join([*blocks, count(judgements), commands(judgements)]).strip()


def count(judgements: Sequence[Judgement]) -> str:
    """The number of claims of each verdict, in one line."""
    amounts = Counter(judgement.verdict for judgement in judgements)
    words = ", ".join(f"{amounts[verdict]} {verdict}" for verdict in VERDICTS if amounts[verdict])
    return f"{len(judgements)} claims: {words}"


def where_numbers_lie(judgements: Sequence[Judgement]) -> str:
    """The number of claims whose numbers so far lie where claimed, in one line."""
    known = [judgement for judgement in judgements if judgement.inside is not None]
    dead = sum(judgement.verdict == DEAD for judgement in known)
    inside = sum(bool(judgement.inside) for judgement in known)
    line = f"Of {len(known)} claims with numbers, {inside} have every number where it is claimed"
    if dead:
        line += f"; {dead} have nothing to compare with, because the baseline stayed at chance"
    lacking = len(judgements) - len(known)
    return line + (f"; {lacking} have no runs." if lacking else ".")


def telling(judgements: Sequence[Judgement]) -> list[str]:
    """The three most telling claims in words.

    At most one of each claim of the paper: first those that seeds decide, then those that have
    numbers; of these those that the paper plots, in the order of the claims.
    """

    def rank(judgement: Judgement) -> tuple[bool, bool, bool]:
        return judgement.verdict == OPEN, not judgement.paper, judgement.verdict == MIXED

    best: dict[str, Judgement] = {}
    for judgement in judgements:
        major = judgement.claim.id.split(".")[0]
        known = judgement.inside is not None and judgement.verdict != DEAD
        if known and (major not in best or rank(judgement) < rank(best[major])):
            best[major] = judgement
    return [in_words(judgement) for judgement in sorted(best.values(), key=rank)[:TELLING]]


def in_words(judgement: Judgement) -> str:
    """A claim, its number, ours and the paper's, and the verdict: one sentence."""
    part = judgement.parts[0]
    claim, seeds = judgement.claim, part.estimate.seeds
    at = f" in {part.name}" if part.name else ""
    numbers = f"{claim.statistic}{at}: {_amount(part.estimate.value, claim.unit)}"
    if not math.isnan(part.estimate.low):
        numbers += f" {_interval(part.estimate)}"
    numbers += f" from {seeds} seed{'s' * (seeds > 1)}"
    if not math.isnan(part.paper):
        numbers += f" (the paper {_amount(part.paper, claim.unit)})"
    verdict = judgement.verdict
    if verdict == OPEN:
        verdict = "where claimed so far" if judgement.inside else "not where claimed so far"
    return f"{claim.id} {claim.statement.rstrip('.')}: {verdict}. {numbers}."


def closing(judgements: Sequence[Judgement], report: Path | None = None) -> list[str]:
    """The last words of ``bnexp reproduce``: what lies where claimed, in words, and the report.

    Args:
        judgements: with one seed or more.
        report: where the report lies, if there is one.
    """
    lines = [where_numbers_lie(judgements), *(f"  {line}" for line in telling(judgements))]
    few = any(0 < part.estimate.seeds < FEWEST for each in judgements for part in each.parts)
    if few:
        lines.append(f"A verdict takes {FEWEST} seeds; `bnexp claims` says what makes more.")
    return [*lines, f"The report: {report}"] if report else lines


def commands(judgements: Sequence[Judgement]) -> str:
    """What to run for the claims that cannot be told, each command once; "" if there are none."""
    wanted: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.verdict == OPEN:
            for command in judgement.command.split(" && "):
                wanted.setdefault(command, []).append(judgement.claim.id)
    lines = [f"  {command}  # {', '.join(ids)}" for command, ids in wanted.items()]
    return "\n".join(["To tell what cannot be told:", *lines]) if lines else ""


def markdown(judgements: Sequence[Judgement]) -> str:
    """A page: a summary in words, then a table of all claims and their parts."""
    rows = [row for judgement in judgements for row in _rows(judgement)]
    table = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    scales = dict.fromkeys(f"{j.claim.family.upper()}: {_scale(j)}" for j in judgements if j.scale)
    notes = dict.fromkeys(
        f"{j.claim.family.upper()}: {note}"
        for j in judgements
        for note in (j.diverged, _left_out(j))
        if note
    )
    lines = [
        "# The claims, judged",
        "",
        where_numbers_lie(judgements),
        "",
        *(f"- {line}" for line in telling(judgements)),
        "",
        f"Made by `bnexp claims`. {count(judgements)}.",
        "",
        "In brackets: the 95 % interval over seeds, Student's of the mean from "
        f"{FEWEST} seeds, the exact one of the median from {EXACT}; >= and <= mark numbers that",
        "are bounds, because a net did not reach the accuracy in its run. r: the effect size, the",
        "rank-biserial correlation of paired samples against the edge of what is claimed. A claim",
        "holds when the interval of each of its parts lies in the range claimed, and does not hold",
        f'when each lies outside. It is "{DEAD}" where half or more of the runs to compare with',
        "diverged or ended below 1.5 times chance although the paper's trained.",
        "",
        *(f"- {line}" for line in (*scales, *notes)),
        "",
        *table,
    ]
    if wanted := commands(judgements):
        title, *each = wanted.splitlines()
        lines += ["", title, "", "```", *(line.strip() for line in each), "```"]
    return "\n".join([*lines, ""])


def as_json(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """All judgements as plain values; NaN are null, infinite numbers words."""
    return [
        {
            "id": judgement.claim.id,
            "statement": judgement.claim.statement,
            "criterion": judgement.claim.criterion,
            "place": judgement.claim.source,
            "statistic": judgement.claim.statistic,
            "unit": judgement.claim.unit,
            "holds_if": str(judgement.claim.region),
            "verdict": judgement.verdict,
            "where": judgement.where,
            "where_claimed": judgement.inside,
            "the_papers_curves": judgement.paper or None,
            "scale": judgement.scale or None,
            "at_paper_scale": judgement.paper_scale,
            "missing": judgement.missing or None,
            "left_out": judgement.left_out or None,
            "diverged": judgement.diverged or None,
            "command": judgement.command or None,
            "parts": [_plain_part(part) for part in judgement.parts],
        }
        for judgement in judgements
    ]


def _plain_part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "verdict": part.verdict,
        "paper": _plain(part.paper),
        "estimate": _plain(part.estimate.value),
        "low": _plain(part.estimate.low),
        "high": _plain(part.estimate.high),
        "seeds": part.estimate.seeds,
        "effect_size": _plain(part.estimate.size),
        "p": _plain(part.estimate.p),
        "share_of_seeds": _plain(part.estimate.share),
        "effects": {str(seed): _plain(effect.value) for seed, effect in part.effects.items()},
        "bounds": {str(seed): e.bound for seed, e in part.effects.items() if e.bound},
        "baseline_untrained": sorted(part.dead),
    }


def contradiction(judgement: Judgement) -> str:
    """What to say where the paper's own curves do not show what it claims; "" where they do."""
    if judgement.paper in ("", "holds"):
        return ""
    if judgement.paper == "contradicts":
        return "the paper's own curves contradict it"
    region, parts = judgement.claim.region, judgement.parts
    bad = [p.name for p in parts if not math.isnan(p.paper) and not region.holds(p.paper)]
    return f"the paper's own curves contradict it in part ({', '.join(bad)})"


def number(value: float) -> str:
    """A number in three digits."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _amount(value: float, unit: str) -> str:
    """A number with its unit; decades also as a factor."""
    if unit == "decades" and abs(value) < 4:
        return f"{number(value)} (x {10**value:.3g})"
    return number(value) + UNITS.get(unit, "")


def _left_out(judgement: Judgement) -> str:
    return f"left out, though they could serve: {judgement.left_out}" * bool(judgement.left_out)


def _block(judgement: Judgement) -> str:
    claim = judgement.claim
    head = f"{claim.id:5} {judgement.verdict.upper():14} {claim.statement} ({claim.source})"
    lines = textwrap.wrap(head, WIDTH, subsequent_indent=" " * 21)
    lines.append(f"      {claim.statistic}: claimed {claim.region}")
    size = max(len(part.name) for part in judgement.parts)
    for part in judgement.parts:
        lines.append(f"      {part.name:{size}}  {_numbers(part)}".rstrip())
    remarks = [
        judgement.where, contradiction(judgement), claim.note, _scale(judgement),
        judgement.diverged, _left_out(judgement),
        judgement.missing and f"no such run: {judgement.missing}",
    ]  # fmt: skip
    for remark in filter(None, remarks):
        lines += textwrap.wrap(
            remark, WIDTH, initial_indent="      ", subsequent_indent="        "
        )  # fmt: skip
    return "\n".join(lines)


def _numbers(part: Part) -> str:
    seeds = part.estimate.seeds
    words = f"paper {number(part.paper):>7}   ours {_ours(part)}"
    if seeds:
        words += f"   {seeds} seed{'s' * (seeds > 1)}"
    if not math.isnan(part.estimate.size):
        words += f"   r {number(part.estimate.size)}"
    return words


def _ours(part: Part) -> str:
    """The estimate and its interval, marked where it is made of bounds."""
    bounds = {effect.bound for effect in part.effects.values()} - {""}
    sign = {"at least": ">= ", "at most": "<= "}.get(bounds.pop(), "") if len(bounds) == 1 else ""
    value = sign + number(part.estimate.value)
    return value if math.isnan(part.estimate.low) else f"{value} {_interval(part.estimate)}"


def _interval(estimate: Estimate) -> str:
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def _rows(judgement: Judgement) -> list[list[str]]:
    claim, rows = judgement.claim, []
    for index, part in enumerate(judgement.parts):
        statistic, front, verdict = part.name, ["", ""], ""
        if index == 0:
            front = [claim.id, f"{claim.statement} ({claim.source})"]
            statistic = f"{claim.statistic}, claimed {claim.region}"
            statistic += f": {part.name}" if part.name else ""
            remarks = filter(None, [judgement.where, contradiction(judgement), claim.note])
            verdict = f"**{judgement.verdict}** {'; '.join(remarks)}".strip()
        seeds = str(part.estimate.seeds or "-")
        size = number(part.estimate.size)
        rows.append([*front, statistic, number(part.paper), _ours(part), seeds, size, verdict])
    return [[cell.replace("|", "\\|") for cell in row] for row in rows]


def _scale(judgement: Judgement) -> str:
    if not judgement.scale:
        return ""
    not_ = "" if judgement.paper_scale else "not "
    return f"{judgement.scale}, {not_}the paper's scale"


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
