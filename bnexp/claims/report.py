"""Judgements as text, Markdown and JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bnexp.claims.judge import Judgement, Part
from bnexp.claims.statistics import DEAD, EXACT, FEWEST, MIXED, OPEN, VERDICTS

HOW = f"""\
In brackets: the 95 % interval over seeds, Student's of the mean from {FEWEST} seeds, the exact one
of the median from {EXACT}; >= and <= mark numbers that are bounds, because a net did not reach the
accuracy in its run. r: the effect size, the rank-biserial correlation of paired samples against the
edge of what is claimed. A claim holds when the interval of each of its parts lies in the range
claimed, and does not hold when each lies outside. It is "{DEAD}" where half or more of
the runs to compare with diverged or ended below 1.5 times chance although the paper's trained."""


def text(judgements: Sequence[Judgement]) -> str:
    """A table for the terminal, what the runs are, and commands for what cannot be told."""
    names = ["claim", "verdict", "", "claimed", "", "paper", "ours", "seeds", "r", ""]
    rows = [names]
    for j in judgements:
        missing = [f"no such run: {j.missing}"] if j.missing else []
        first = [j.claim.id, j.verdict.upper(), j.claim.short, str(j.claim.region)]
        rows += _rows(j, first, [part.name for part in j.parts], "; ".join(remarks(j) + missing))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    blocks = [table, _notes(judgements), [count(judgements)], commands(judgements)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def markdown(judgements: Sequence[Judgement]) -> str:
    """A page: a summary in words, then a table of all claims and their parts."""
    head = ["claim", "statement", "statistic", "the paper", "ours", "seeds", "effect size"]
    rows = []
    for j in judgements:
        first = [j.claim.id, f"{j.claim.statement} ({j.claim.source})"]
        name, *others = [part.name for part in j.parts]
        labels = [f"{j.claim.statistic}, claimed {j.claim.region}" + f": {name}" * bool(name)]
        verdict = f"**{j.verdict}** {'; '.join(remarks(j))}".strip()
        rows += _rows(j, first, [*labels, *others], verdict)
    wanted = [line.strip() for line in commands(judgements)]
    paragraphs = [
        "# The claims, judged",
        where_numbers_lie(judgements),
        "\n".join(f"- {line}" for line in telling(judgements)),
        f"Made by `bnexp claims`. {count(judgements)}.",
        HOW,
        "\n".join(f"- {note}" for note in _notes(judgements)),
        markdown_table([*head, "verdict"], rows),
        "\n".join([wanted[0], "", "```", *wanted[1:], "```"]) if wanted else "",
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """``rows`` of cells as a Markdown table."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *cells])


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


def closing(judgements: Sequence[Judgement], report: Path) -> list[str]:
    """The last words of ``bnexp reproduce``: what lies where claimed, in words, and the report."""
    lines = [where_numbers_lie(judgements), *(f"  {line}" for line in telling(judgements))]
    if any(0 < part.estimate.seeds < FEWEST for each in judgements for part in each.parts):
        lines.append(f"A verdict takes {FEWEST} seeds; `bnexp claims` says what makes more.")
    return [*lines, f"The report: {report}"]


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
    known = [j for j in judgements if j.inside is not None and j.verdict != DEAD]
    known.sort(key=lambda j: (j.verdict == OPEN, not j.paper, j.verdict == MIXED))
    best: dict[str, Judgement] = {}
    for judgement in known:
        best.setdefault(judgement.claim.id.split(".")[0], judgement)
    lines = []
    for judgement in list(best.values())[:3]:
        claim, part, verdict = judgement.claim, judgement.parts[0], judgement.verdict
        if verdict == OPEN:
            verdict = "where claimed so far" if judgement.inside else "not where claimed so far"
        found = part.estimate
        what = f"{claim.statistic} in {part.name}" if part.name else claim.statistic
        ours = f"{_amount(found.value, claim.unit)} {_interval(found.low, found.high)}".strip()
        seeds = f"{found.seeds} seed{'s' * (found.seeds > 1)}"
        paper = "" if math.isnan(part.paper) else f" (the paper {_amount(part.paper, claim.unit)})"
        words = f"{claim.id} {claim.statement.rstrip('.')}: {verdict}"
        lines.append(f"{words}. {what}: {ours} from {seeds}{paper}.")
    return lines


def count(judgements: Sequence[Judgement]) -> str:
    """The number of claims of each verdict, in one line."""
    amounts = Counter(judgement.verdict for judgement in judgements)
    words = ", ".join(f"{amounts[verdict]} {verdict}" for verdict in VERDICTS if amounts[verdict])
    return f"{len(judgements)} claims: {words}"


def commands(judgements: Sequence[Judgement]) -> list[str]:
    """A title and what to run for the claims that cannot be told, each command once."""
    wanted: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.verdict == OPEN:
            wanted.setdefault(judgement.command, []).append(judgement.claim.id)
    lines = [f"  {command}  # {', '.join(ids)}" for command, ids in wanted.items()]
    return ["To tell what cannot be told:", *lines] if lines else []


def cells(part: Mapping[str, Any], unit: str = "") -> list[str]:
    """Of a part of `as_json`: the paper's number, ours with its interval, seeds, effect size.

    Ours is marked where it is made of bounds. Given their ``unit``, decades are shown as factors.
    """
    bounds = set(part["bounds"].values())
    sign = {"at least": ">= ", "at most": "<= "}[bounds.pop()] if len(bounds) == 1 else ""
    low, high = (factor(part[side], unit) for side in ("low", "high"))
    interval = "" if low == "-" else f"[{low}, {high}]"
    ours = f"{sign}{factor(part['estimate'], unit)} {interval}".strip()
    paper = factor(part["paper"], unit)
    return [paper, ours, str(part["seeds"] or "-"), number(part["effect_size"])]


def factor(value: float | str | None, unit: str) -> str:
    """A number of `as_json`; decades as a factor, such as ``x 2.5`` or ``10^5.5``."""
    if unit != "decades" or not isinstance(value, int | float) or value != value:
        return number(value)
    return f"x {10**value:.3g}" if abs(value) < 3 else f"10^{value:.3g}"


def number(value: float | str | None) -> str:
    """A number of `as_json` in three digits."""
    missing = value is None or value != value
    return "-" if missing else value if isinstance(value, str) else f"{value:.3g}"


def _interval(low: float | str | None, high: float | str | None) -> str:
    return "" if number(low) == "-" else f"[{number(low)}, {number(high)}]"


def _amount(value: float, unit: str) -> str:
    """A number with its unit; decades also as a factor."""
    if unit == "decades" and abs(value) < 4:
        return f"{number(value)} (x {10**value:.3g})"
    return number(value) + {"points": " percentage points", "octaves": " octaves"}.get(unit, "")


def _rows(
    judgement: Judgement, first: list[str], labels: Sequence[str], last: str
) -> list[list[str]]:
    """A table's rows, one per part; only the first has the cells ``first`` and ``last``."""
    rows = []
    for label, part in zip(labels, judgement.parts, strict=True):
        rows.append([*first, label, *cells(_plain_part(part)), last])
        first, last = [""] * len(first), ""
    return rows


def remarks(judgement: Judgement) -> list[str]:
    """What to add to the verdict: on its parts, and where the paper's own curves contradict it."""
    holds = judgement.claim.region.holds
    bad = [p.name for p in judgement.parts if not math.isnan(p.paper) and not holds(p.paper)]
    contradiction = "the paper's own curves contradict it" if bad else ""
    if judgement.paper == "mixed":
        contradiction += f" in part ({', '.join(bad)})"
    return [*filter(None, [judgement.where, contradiction, judgement.claim.note])]


def _notes(judgements: Sequence[Judgement]) -> list[str]:
    """What the runs are, each note once."""
    notes = []
    for j in judgements:
        size = f"{j.scale}, {'not ' * (not j.paper_scale)}the paper's scale" if j.scale else ""
        left = f"left out, though they could serve: {j.left_out}" if j.left_out else ""
        notes += [f"{j.claim.family.upper()}: {note}" for note in (size, j.diverged, left) if note]
    return list(dict.fromkeys(notes))


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
