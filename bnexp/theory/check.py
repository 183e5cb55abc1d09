"""Checks every theorem on cases, and sums up what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bnexp.theory.setting import Case, Point, Unit
from bnexp.theory.theorems import THEOREMS, Form, Sides

TOLERANCE = 1e-9
"""Relative to the largest term of the two sides, in float64."""


@dataclass
class Finding:
    """What came of one form of one theorem over a set of cases.

    ``violation`` is the largest by which a case is against it (by which the sides of an equality
    differ), ``gap`` the largest by which the right side exceeds the left, both relative to the
    largest term; NaN where no case meets the form's condition.
    """

    theorem: str
    name: str
    form: Form
    cases: int = 0
    against: int = 0
    violation: float = math.nan
    gap: float = math.nan

    def add(self, sides: Sides) -> None:
        """Count one case."""
        if not sides.applies:
            return
        scale = sides.scale if sides.scale > 0 else 1.0
        gap = (sides.right - sides.left) / scale
        wrong = abs(gap) if self.form.relation == "=" else max(0.0, -gap)
        if math.isnan(wrong):
            wrong = math.inf
        self.violation = wrong if self.cases == 0 else max(self.violation, wrong)
        self.gap = gap if self.cases == 0 else max(self.gap, gap)
        self.cases += 1
        self.against += wrong > TOLERANCE

    @property
    def verdict(self) -> str:
        """``holds``, ``does not hold``, or ``no case`` where none meets its condition."""
        if self.cases == 0:
            return "no case"
        return "does not hold" if self.against else "holds"

    @property
    def wrong(self) -> bool:
        """Whether a statement that must hold does not."""
        return self.form.must and self.against > 0

    def plain(self) -> dict[str, Any]:
        """As JSON would have it: numbers that are none are null."""
        found = {**asdict(self), "verdict": self.verdict}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in found.items()}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The findings on one set of cases: where they are from, how many units, how many skipped.

    ``skipped`` units are constant over their batch.
    """

    where: str
    units: int
    skipped: int
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> bool:
        """Whether anything that must hold does not."""
        return any(finding.wrong for finding in self.findings)


def check_cases(where: str, cases: Iterable[Case], units: int | None = None) -> Report:
    """Every theorem on every unit of every case, or on the first ``units`` of each."""
    findings = {
        (theorem.id, name): Finding(theorem.id, name, form)
        for theorem in THEOREMS.values()
        for name, form in theorem.forms.items()
    }
    checked = skipped = 0
    for case in cases:
        point = Point(case)
        there = point.units
        skipped += len(point.yhat) - len(there)
        for j in _spread(there, units):
            unit = Unit(point, j)
            checked += 1
            for theorem in THEOREMS.values():
                for name, sides in theorem.sides(unit).items():
                    findings[theorem.id, name].add(sides)
    return Report(where, checked, skipped, tuple(findings.values()))


def _spread(there: Sequence[int], units: int | None) -> list[int]:
    """``units`` of them, evenly spread; all by default."""
    if units is None or units >= len(there):
        return list(there)
    return [there[i * len(there) // units] for i in range(units)]
