"""Judgements as text, Markdown and JSON."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bnexp.claims.judge import Judgement, Part
from bnexp.claims.statistics import DEAD, EXACT, FEWEST, MIXED, OPEN, VERDICTS

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
    """Three claims in words, each of another of the paper's claims.

    First those that seeds decide, of these those that the paper plots, in the order of the claims.
    """

    def rank(judgement: Judgement) -> tuple[bool, bool, bool]:
        return judgement.verdict == OPEN, not judgement.paper, judgement.verdict == MIXED

    known = [j for j in judgements if j.inside is not None and j.verdict != DEAD]
    best: dict[str, Judgement] = {}
    for judgement in sorted(known, key=rank):
        best.setdefault(judgement.claim.id.split(".")[0], judgement)
    lines = []
    for judgement in list(best.values())[:3]:
        claim, part, verdict = judgement.claim, judgement.parts[0], judgement.verdict
        if verdict == OPEN:
            verdict = "where claimed so far" if judgement.inside else "not where claimed so far"
        what = f"{claim.statistic} in {part.name}" if part.name else claim.statistic
        ours = f"{_amount(part.estimate.value, claim.unit)} {_interval(part)}".strip()
        paper = "" if math.isnan(part.paper) else f" (the paper {_amount(part.paper, claim.unit)})"
        statement = claim.statement.rstrip(".")
        numbers = f"{what}: {ours} from {_seeds(part)}{paper}"
        lines.append(f"{claim.id} {statement}: {verdict}. {numbers}.")
    return lines


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
    about = [(j.claim.family.upper(), note) for j in judgements for note in _notes(j)]
    wanted = [line.strip() for line in commands(judgements)]
    paragraphs = [
        "# The claims, judged",
        where_numbers_lie(judgements),
        "\n".join(f"- {line}" for line in telling(judgements)),
        f"Made by `bnexp claims`. {count(judgements)}.",
        HOW,
        "\n".join(dict.fromkeys(f"- {family}: {note}" for family, note in about)),
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        "\n".join([wanted[0], "", "```", *wanted[1:], "```"]) if wanted else "",
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def as_json(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """All judgements as plain values; NaN are null, infinite numbers words."""
    words = "scale", "missing", "left_out", "diverged", "command"
    return [
        {
            **{name: getattr(j.claim, name) for name in ("id", "statement", "criterion")},
            "place": j.claim.source,
            "statistic": j.claim.statistic,
            "unit": j.claim.unit,
            "holds_if": str(j.claim.region),
            "verdict": j.verdict,
            "where": j.where,
            "where_claimed": j.inside,
            "the_papers_curves": j.paper or None,
            "at_paper_scale": j.paper_scale,
            **{name: getattr(j, name) or None for name in words},
            "parts": [_plain_part(part) for part in j.parts],
        }
        for j in judgements
    ]


def _plain_part(part: Part) -> dict[str, Any]:
    names = {"value": "estimate", "size": "effect_size", "share": "share_of_seeds"}
    found = {names.get(k, k): v for k, v in asdict(part.estimate).items() if k != "censored"}
    return {
        "name": part.name,
        "verdict": part.verdict,
        **{name: _plain(value) for name, value in {"paper": part.paper, **found}.items()},
        "effects": {str(seed): _plain(effect.value) for seed, effect in part.effects.items()},
        "bounds": {str(seed): e.bound for seed, e in part.effects.items() if e.bound},
        "baseline_untrained": sorted(part.dead),
    }


def _plain(value: float) -> float | str | None:
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)


def _remarks(judgement: Judgement) -> list[str]:
    """What to add to the verdict: on its parts, and where the paper's own curves contradict it."""
    holds = judgement.claim.region.holds
    bad = [p.name for p in judgement.parts if not math.isnan(p.paper) and not holds(p.paper)]
    contradiction = "the paper's own curves contradict it" if bad else ""
    if judgement.paper == "mixed":
        contradiction += f" in part ({', '.join(bad)})"
    return [*filter(None, [judgement.where, contradiction, judgement.claim.note])]


def _notes(judgement: Judgement) -> list[str]:
    """What to add on the runs."""
    scale = f"{judgement.scale}, {'not ' * (not judgement.paper_scale)}the paper's scale"
    left_out = f"left out, though they could serve: {judgement.left_out}"
    pairs = (judgement.scale, scale), (judgement.diverged,) * 2, (judgement.left_out, left_out)
    return [note for there, note in pairs if there]


def _block(judgement: Judgement) -> str:
    claim, indent = judgement.claim, " " * 6
    head = f"{claim.id:5} {judgement.verdict.upper():14} {claim.statement} ({claim.source})"
    lines = textwrap.wrap(head, 100, subsequent_indent=" " * 21)
    lines.append(f"{indent}{claim.statistic}: claimed {claim.region}")
    width = max(len(part.name) for part in judgement.parts)
    for part in judgement.parts:
        paper, ours, seeds, size = _cells(part)
        more = f"   {_seeds(part)}   r {size}" if seeds != "-" else ""
        lines.append(f"{indent}{part.name:{width}}  paper {paper:>7}   ours {ours}{more}")
    missing = [f"no such run: {judgement.missing}"] if judgement.missing else []
    for remark in [*_remarks(judgement), *_notes(judgement), *missing]:
        lines += textwrap.wrap(indent + remark, 100, subsequent_indent=" " * 8)
    return "\n".join(lines)


def _rows(judgement: Judgement) -> list[list[str]]:
    """The table's rows, one per part; the first says what all share."""
    claim, rows = judgement.claim, []
    verdict = f"**{judgement.verdict}** {'; '.join(_remarks(judgement))}".strip()
    shared = [claim.id, f"{claim.statement} ({claim.source})"]
    statistic = f"{claim.statistic}, claimed {claim.region}"
    for part in judgement.parts:
        name = ": ".join(filter(None, [statistic, part.name]))
        rows.append([*shared, name, *_cells(part), verdict])
        shared, statistic, verdict = ["", ""], "", ""
    return [[cell.replace("|", "\\|") for cell in row] for row in rows]


def _cells(part: Part) -> tuple[str, str, str, str]:
    """The paper's number, ours with its interval (marked if made of bounds), seeds, effect size."""
    bounds = {effect.bound for effect in part.effects.values()} - {""}
    sign = {"at least": ">= ", "at most": "<= "}[bounds.pop()] if len(bounds) == 1 else ""
    ours = f"{sign}{number(part.estimate.value)} {_interval(part)}".strip()
    return number(part.paper), ours, str(part.estimate.seeds or "-"), number(part.estimate.size)


def number(value: float) -> str:
    """A number in three digits."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _amount(value: float, unit: str) -> str:
    """A number with its unit; decades also as a factor."""
    factor = f" (x {10**value:.3g})" if unit == "decades" and abs(value) < 4 else ""
    return number(value) + (factor or UNITS.get(unit, ""))


def _interval(part: Part) -> str:
    low, high = part.estimate.low, part.estimate.high
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def _seeds(part: Part) -> str:
    return f"{part.estimate.seeds} seed{'s' * (part.estimate.seeds > 1)}"
