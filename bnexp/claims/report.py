"""Judgements as text, Markdown and JSON."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnexp.claims.judge import Judgement, Part
from bnexp.claims.statistics import DEAD, EXACT, FEWEST, MIXED, OPEN, VERDICTS

WIDTH = 100
COLUMNS = (
    "claim", "statement", "statistic", "the paper", "ours", "seeds", "effect size", "verdict",
)  # fmt: skip
UNITS = {"points": " percentage points", "octaves": " octaves"}
HOW = f"""\
In brackets: the 95 % interval over seeds, Student's of the mean from {FEWEST} seeds, the exact one
of the median from {EXACT}; >= and <= mark numbers that are bounds, because a net did not reach the
accuracy in its run. r: the effect size, the rank-biserial correlation of paired samples against the
edge of what is claimed. A claim holds when the interval of each of its parts lies in the range
claimed, and does not hold when each lies outside. It is "{DEAD}" where half or more of
the runs to compare with diverged or ended below 1.5 times chance although the paper's trained."""


def text(judgements: Sequence[Judgement]) -> str:
    """All judgements for the terminal, and the commands for what cannot be told."""
    blocks = [_block(judgement) for judgement in judgements]
    return "\n\n".join([*blocks, count(judgements), "\n".join(commands(judgements))]).strip()


def count(judgements: Sequence[Judgement]) -> str:
    """The number of claims of each verdict, in one line."""
    amounts = Counter(judgement.verdict for judgement in judgements)
    words = ", ".join(f"{amounts[verdict]} {verdict}" for verdict in VERDICTS if amounts[verdict])
    return f"{len(judgements)} claims: {words}"


def closing(judgements: Sequence[Judgement], report: Path | None = None) -> list[str]:
    """The last words of ``bnexp reproduce``: what lies where claimed, in words, and the report."""
    lines = [where_numbers_lie(judgements), *(f"  {line}" for line in telling(judgements))]
    if any(0 < part.estimate.seeds < FEWEST for each in judgements for part in each.parts):
        lines.append(f"A verdict takes {FEWEST} seeds; `bnexp claims` says what makes more.")
    return [*lines, f"The report: {report}"] if report else lines


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
    """The three most telling claims in words, at most one of each claim of the paper.

    First those that seeds decide, then those that have numbers; of these those that the paper
    plots, in the order of the claims.
    """

    def rank(judgement: Judgement) -> tuple[bool, bool, bool]:
        return judgement.verdict == OPEN, not judgement.paper, judgement.verdict == MIXED

    known = [j for j in judgements if j.inside is not None and j.verdict != DEAD]
    best: dict[str, Judgement] = {}
    for judgement in sorted(known, key=rank):
        best.setdefault(judgement.claim.id.split(".")[0], judgement)
    return [in_words(judgement) for judgement in list(best.values())[:3]]


def in_words(judgement: Judgement) -> str:
    """A claim, its number, ours and the paper's, and the verdict."""
    claim, part, verdict = judgement.claim, judgement.parts[0], judgement.verdict
    if verdict == OPEN:
        verdict = "where claimed so far" if judgement.inside else "not where claimed so far"
    at = f" in {part.name}" if part.name else ""
    ours = f"{_amount(part.estimate.value, claim.unit)} {_interval(part)}".strip()
    paper = f" (the paper {_amount(part.paper, claim.unit)})" if not math.isnan(part.paper) else ""
    numbers = f"{claim.statistic}{at}: {ours} from {_seeds(part)}{paper}"
    return f"{claim.id} {claim.statement.rstrip('.')}: {verdict}. {numbers}."


def commands(judgements: Sequence[Judgement]) -> list[str]:
    """A title and what to run for the claims that cannot be told, each command once."""
    wanted: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.verdict == OPEN:
            wanted.setdefault(judgement.command, []).append(judgement.claim.id)
    lines = [f"  {command}  # {', '.join(ids)}" for command, ids in wanted.items()]
    return ["To tell what cannot be told:", *lines] if lines else []


def markdown(judgements: Sequence[Judgement]) -> str:
    """A page: a summary in words, then a table of all claims and their parts."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(row for j in judgements for row in _rows(j))]
    notes = dict.fromkeys(
        f"- {judgement.claim.family.upper()}: {note}"
        for notes in (_scale, lambda j: j.diverged, _left_out)
        for judgement in judgements
        if (note := notes(judgement))
    )
    lines = [
        "# The claims, judged",
        where_numbers_lie(judgements),
        "\n".join(f"- {line}" for line in telling(judgements)),
        f"Made by `bnexp claims`. {count(judgements)}.",
        HOW,
        "\n".join(notes),
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
    ]
    if wanted := commands(judgements):
        each = "\n".join(line.strip() for line in wanted[1:])
        lines += [wanted[0], f"```\n{each}\n```"]
    return "\n\n".join(filter(None, lines)) + "\n"


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
    found = part.estimate
    numbers = {
        "paper": part.paper, "estimate": found.value, "low": found.low, "high": found.high,
        "effect_size": found.size, "p": found.p, "share_of_seeds": found.share,
    }  # fmt: skip
    return {
        "name": part.name,
        "verdict": part.verdict,
        **{name: _plain(value) for name, value in numbers.items()},
        "seeds": found.seeds,
        "effects": {str(seed): _plain(effect.value) for seed, effect in part.effects.items()},
        "bounds": {str(seed): e.bound for seed, e in part.effects.items() if e.bound},
        "baseline_untrained": sorted(part.dead),
    }


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _remarks(judgement: Judgement) -> list[str]:
    """What to add to the verdict and the numbers; where the paper's own curves do not show it."""
    holds = judgement.claim.region.holds
    bad = [p.name for p in judgement.parts if not math.isnan(p.paper) and not holds(p.paper)]
    contradiction = "the paper's own curves contradict it" if bad else ""
    if judgement.paper == "mixed":
        contradiction += f" in part ({', '.join(bad)})"
    return [*filter(None, [judgement.where, contradiction, judgement.claim.note])]


def _block(judgement: Judgement) -> str:
    claim = judgement.claim
    head = f"{claim.id:5} {judgement.verdict.upper():14} {claim.statement} ({claim.source})"
    lines = textwrap.wrap(head, WIDTH, subsequent_indent=" " * 21)
    lines.append(f"      {claim.statistic}: claimed {claim.region}")
    size = max(len(part.name) for part in judgement.parts)
    for part in judgement.parts:
        words = [f"paper {number(part.paper):>7}", f"ours {_ours(part)}"]
        words += [_seeds(part)] if part.estimate.seeds else []
        words += [f"r {number(part.estimate.size)}"] if not math.isnan(part.estimate.size) else []
        lines.append(f"      {part.name:{size}}  {'   '.join(words)}")
    missing = f"no such run: {judgement.missing}" if judgement.missing else ""
    remarks = _remarks(judgement), _scale(judgement), judgement.diverged, _left_out(judgement)
    for remark in filter(None, [*remarks[0], *remarks[1:], missing]):
        lines += textwrap.wrap(f"      {remark}", WIDTH, subsequent_indent=" " * 8)
    return "\n".join(lines)


def _rows(judgement: Judgement) -> list[list[str]]:
    """The table's rows, one per part; the first says what all share."""
    claim, rows = judgement.claim, []
    first = [claim.id, f"{claim.statement} ({claim.source})"]
    statistic = f"{claim.statistic}, claimed {claim.region}"
    verdict = f"**{judgement.verdict}** {'; '.join(_remarks(judgement))}".strip()
    for part in judgement.parts:
        name = ": ".join(filter(None, [statistic, part.name]))
        seeds, size = str(part.estimate.seeds or "-"), number(part.estimate.size)
        rows.append([*first, name, number(part.paper), _ours(part), seeds, size, verdict])
        first, statistic, verdict = ["", ""], "", ""
    return [[cell.replace("|", "\\|") for cell in row] for row in rows]


def number(value: float) -> str:
    """A number in three digits."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _amount(value: float, unit: str) -> str:
    """A number with its unit; decades also as a factor."""
    factor = f" (x {10**value:.3g})" if unit == "decades" and abs(value) < 4 else ""
    return number(value) + (factor or UNITS.get(unit, ""))


def _ours(part: Part) -> str:
    """The estimate and its interval, marked where it is made of bounds."""
    bounds = {effect.bound for effect in part.effects.values()} - {""}
    sign = {"at least": ">= ", "at most": "<= "}[bounds.pop()] if len(bounds) == 1 else ""
    return f"{sign}{number(part.estimate.value)} {_interval(part)}".strip()


def _interval(part: Part) -> str:
    low, high = part.estimate.low, part.estimate.high
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def _seeds(part: Part) -> str:
    return f"{part.estimate.seeds} seed{'s' * (part.estimate.seeds > 1)}"


def _scale(judgement: Judgement) -> str:
    not_ = "" if judgement.paper_scale else "not "
    return f"{judgement.scale}, {not_}the paper's scale" if judgement.scale else ""


def _left_out(judgement: Judgement) -> str:
    return f"left out, though they could serve: {judgement.left_out}" * bool(judgement.left_out)
