"""What a figure needs, and which of the runs there are meet it, by what they computed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnexp.analysis.read import has_table
from bnexp.analysis.series import MOST
from bnexp.runs import Run, describe, scale

_FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class Need:
    """One table of one kind of run: who draws it (recipe, panels) and what it must be.

    Tables of the landscape must be along ``direction``, and begin at ``least_eta`` times lr or
    below. What is ``optional`` is drawn where it is there, and not missed.
    """

    recipe: str
    panels: str
    family: str
    norm: str
    lr: float
    table: str
    direction: str = "gradient"
    least_eta: float = math.inf
    optional: bool = False

    @property
    def kind(self) -> tuple[str, str, float]:
        """Which runs can meet it, whatever they recorded."""
        return self.family, self.norm, self.lr

    @property
    def beyond_the_paper(self) -> bool:
        """Whether no figure of the paper needs it."""
        measured = not self.optional and self.table in ("curvature", "sharpness", "theory")
        return measured or self.direction != "gradient" or math.isfinite(self.least_eta)

    def __str__(self) -> str:
        along = "" if self.direction == "gradient" else f" along {self.direction} directions"
        return f"{self.family.upper()} {self.norm} lr {self.lr:g}{along}"


def needs(
    recipe: str,
    family: str,
    norms: Iterable[str],
    lrs: Iterable[float],
    tables: Mapping[str, str],
    direction: str = "gradient",
    least_eta: float = math.inf,
) -> tuple[Need, ...]:
    """The product of norms, learning rates and tables (name -> the panels drawn from it).

    ``direction`` and ``least_eta`` are those of `Need`.
    """
    rates = tuple(lrs)
    return tuple(
        Need(recipe, panels, family, norm, lr, table, direction, least_eta)
        for norm in norms
        for lr in rates
        for table, panels in tables.items()
    )


@dataclass(frozen=True)
class Selection:
    """The runs of one figure: for every need those that meet it, one per seed, in order of seed."""

    found: Mapping[Need, tuple[Run, ...]]

    def runs(
        self, family: str, norm: str, lr: float, table: str, direction: str = "gradient"
    ) -> tuple[Run, ...]:
        """The runs to draw one series from."""
        asked = family, norm, lr, table, direction
        for need, runs in self.found.items():
            if (*need.kind, need.table, need.direction) == asked:
                return runs
        return ()

    def of(self, family: str) -> tuple[Run, ...]:
        """Every selected run of a family, once."""
        mine = [runs for need, runs in self.found.items() if need.family == family]
        return tuple({run.id: run for runs in mine for run in runs}.values())

    def steps(self, family: str) -> int | None:
        """How many steps the family's runs were to make: the right end of its panels."""
        return max((run.steps for run in self.of(family)), default=None)

    @property
    def missing(self) -> tuple[Need, ...]:
        """The needs that no run meets."""
        return tuple(n for n, runs in self.found.items() if not runs and not n.optional)

    @property
    def diverged(self) -> bool:
        """Whether any of the runs to be drawn ended by divergence."""
        return any(run.state == "diverged" for runs in self.found.values() for run in runs)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(runs for need, runs in self.found.items() if not need.optional)

    @property
    def seeds(self) -> bool:
        """Whether any series has more than one seed."""
        return any(len(runs) > 1 for runs in self.found.values())

    @property
    def dense(self) -> bool:
        """Whether any table was recorded at so many steps that lines are drawn by stretches."""
        return any(_recorded(run, n.table) > MOST for n, runs in self.found.items() for run in runs)

    @property
    def families(self) -> tuple[str, ...]:
        """The families of models that the figure shows, found or not."""
        return tuple(dict.fromkeys(need.family for need in self.found))

    def told_missing(self) -> str:
        """`missing` in words: each kind of run once."""
        return tell_missing(self.missing, self.found)

    def told_runs(self, family: str) -> str:
        """The family's runs in words: what they are, how many seeds, how many are unfinished."""
        runs = self.of(family)
        if not runs:
            return ""
        mine = [met for n, met in self.found.items() if n.family == family and not n.optional]
        counts = sorted({len(met) for met in mine if met})
        amount = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
        seeds = _ranges(sorted({run.seed for run in runs}))
        told = f"{describe(runs[0])}; {amount} seed{'s' * (counts != [1])} ({seeds})"
        unfinished = sum(run.state not in _FINISHED for run in runs)
        if unfinished:
            told += f"; {unfinished} of {len(runs)} runs not finished"
        return told


def tell_missing(missing: Iterable[Need], needed: Iterable[Need]) -> str:
    """Needs in words: each kind of run once, with the table's name where only that lacks."""
    wanted: dict[tuple[str, str, float], set[str]] = {}
    for need in needed:
        if not need.optional:
            wanted.setdefault(need.kind, set()).add(need.table)
    lacking: dict[tuple[str, str, float], list[Need]] = {}
    for need in missing:
        lacking.setdefault(need.kind, []).append(need)
    told = []
    for kind, lacks in lacking.items():
        tables = sorted({need.table for need in lacks})
        only = "" if set(tables) == wanted[kind] else f" (table {', '.join(tables)})"
        told.append(f"{lacks[0]}{only}")
    return "; ".join(told)


def select(needed: Sequence[Need], runs: Sequence[Run]) -> Selection:
    """Meets the needs of each family and direction with runs of one scale.

    Runs on which other tables were recorded besides are of the same scale.

    Of several scales the one that meets most needs counts, then the one with most steps, then one
    with its preset's grid of etas, then the one with most runs that are needed, or else most
    runs. Runs that are not finished are taken only where no finished one is.
    """
    found: dict[Need, tuple[Run, ...]] = dict.fromkeys(needed, ())
    for family, direction in dict.fromkeys((need.family, need.direction) for need in needed):
        mine = [need for need in needed if (need.family, need.direction) == (family, direction)]
        tables = {need.table for need in mine if not need.optional}
        groups: dict[str, list[Run]] = {}
        for run in runs:
            if run.family == family:
                alike = json.dumps(_as_far_as(tables, run), sort_keys=True)
                groups.setdefault(alike, []).append(run)
        best: tuple[tuple[int, ...], dict[Need, tuple[Run, ...]]] | None = None
        for key in sorted(groups):
            met = {need: _meeting(need, groups[key]) for need in mine}
            must = [runs for need, runs in met.items() if not need.optional]
            amount, first = sum(map(len, must)), groups[key][0]
            usual = _usual_grid(first)
            rank = sum(map(bool, must)), first.steps, usual, amount, len(groups[key])
            if best is None or rank > best[0]:
                best = rank, met
        if best is not None:
            found.update(best[1])
    return Selection(found)


def _as_far_as(tables: Collection[str], run: Run) -> dict[str, Any]:
    """The run's scale as far as it decides these tables: measuring changes no training."""
    names = {"landscape" if table == "smoothness" else table for table in tables}
    whole = scale(run)
    probes = whole.get("probes") or {}
    return {**whole, "probes": {name: told for name, told in probes.items() if name in names}}


def _meeting(need: Need, runs: Sequence[Run]) -> tuple[Run, ...]:
    fitting = [
        run
        for run in runs
        if run.norm == need.norm
        and math.isclose(run.lr, need.lr, rel_tol=1e-6)
        and has_table(run, need.table)
        and (need.table not in ("landscape", "smoothness") or _measured_as(run, need))
    ]
    finished = [run for run in fitting if run.state in _FINISHED]
    by_seed: dict[int, Run] = {}
    for run in sorted(finished or fitting, key=lambda run: (-_reached(run), run.id)):
        by_seed.setdefault(run.seed, run)
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def _measured_as(run: Run, need: Need) -> bool:
    """Whether the run's landscape was measured along the direction, from the eta, needed."""
    probe = run.option("probes.landscape")
    along = str(probe.get("direction", "gradient")) == need.direction
    return along and min(map(float, probe.get("etas", [0.0]))) <= need.least_eta


def _usual_grid(run: Run) -> bool:
    """Whether the landscape was measured at the etas that the run's preset says."""
    etas = (run.option("probes").get("landscape") or {}).get("etas")
    return bool(etas == run.config.get("measure", {}).get("etas", etas))


def _recorded(run: Run, table: str) -> float:
    """About how often the probe of a table measured, by its schedule."""
    probe = "landscape" if table == "smoothness" else table
    schedule = run.option("probes").get(probe) or {}
    return run.steps / int(schedule.get("every", 1)) + int(schedule.get("dense", 0))


def _reached(run: Run) -> int:
    return int(run.status.get("step") or 0)


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as "0–2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
