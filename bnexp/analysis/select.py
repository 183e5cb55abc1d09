"""What a figure needs, and which of the runs there are meet it, by what they computed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bnexp.analysis.read import has_table
from bnexp.analysis.scales import eta_multiples, is_among
from bnexp.analysis.series import MAX_POINTS
from bnexp.runs import Run, describe, scale

_FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class Need:
    """One table of one kind of run: who draws it (recipe, panels) and what it must be.

    ``family`` is `Run.family`: vgg, dln or the name of another model. Tables of the landscape must
    be along ``direction``, and begin at ``least_eta`` times lr or below. What is ``optional`` is
    drawn where it is there, and not missed. Runs that differ in the config keys of ``varies`` meet
    it side by side; without, a need is met by runs of one scale, one per seed.
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
    varies: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[str, str, float]:
        """Which runs can meet it, whatever they recorded."""
        return self.family, self.norm, self.lr

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
    optional: bool = False,
    varies: tuple[str, ...] = (),
) -> tuple[Need, ...]:
    """The product of norms, learning rates and tables (name -> the panels drawn from it).

    The other arguments are those of `Need`.
    """
    rates = tuple(lrs)
    return tuple(
        Need(recipe, panels, family, norm, lr, table, direction, least_eta, optional, varies)
        for norm in norms
        for lr in rates
        for table, panels in tables.items()
    )


def with_choice(
    needed: Sequence[Need], norms: Sequence[str] = (), lrs: Sequence[float] = ()
) -> tuple[Need, ...]:
    """The needs with other norms and learning rates in place of their own, where any are given."""
    chosen = [
        replace(need, norm=norm, lr=lr)
        for need in needed
        for norm in norms or [need.norm]
        for lr in lrs or [need.lr]
    ]
    return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True)
class LeftOut:
    """Runs that could serve a figure, but differ from those that do in these config values."""

    amount: int
    differing: Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """The runs of one figure: for every need those that meet it, one per seed, in order of seed.

    ``left_out``: the other groups of runs that could have served, by family.
    """

    matches: Mapping[Need, tuple[Run, ...]]
    left_out: Mapping[str, tuple[LeftOut, ...]] = field(default_factory=dict)

    def runs(
        self, family: str, norm: str, lr: float, table: str, direction: str = "gradient"
    ) -> tuple[Run, ...]:
        """The runs to draw one series from."""
        key = family, norm, lr, table, direction
        for need, runs in self.matches.items():
            if (*need.kind, need.table, need.direction) == key:
                return runs
        return ()

    def of(self, family: str) -> tuple[Run, ...]:
        """Every selected run of a family, once."""
        mine = [runs for need, runs in self.matches.items() if need.family == family]
        return tuple({run.id: run for runs in mine for run in runs}.values())

    def norms(self, family: str) -> tuple[str, ...]:
        """The normalisations that are needed of the family, in their order."""
        return tuple(dict.fromkeys(n.norm for n in self.matches if n.family == family))

    def lrs(self, family: str, table: str | None = None) -> tuple[float, ...]:
        """The learning rates that are needed of the family (for the table), in their order."""
        mine = [n for n in self.matches if n.family == family and table in (None, n.table)]
        return tuple(dict.fromkeys(need.lr for need in mine))

    def steps(self, family: str) -> int | None:
        """How many steps the family's runs were to make: the right end of its panels."""
        return max((run.steps for run in self.of(family)), default=None)

    @property
    def missing(self) -> tuple[Need, ...]:
        """The needs that no run meets."""
        return tuple(n for n, runs in self.matches.items() if not runs and not n.optional)

    @property
    def diverged(self) -> bool:
        """Whether any of the runs to be drawn ended by divergence."""
        return any(run.state == "diverged" for runs in self.matches.values() for run in runs)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(runs for need, runs in self.matches.items() if not need.optional)

    @property
    def several_seeds(self) -> bool:
        """Whether any series has more than one seed."""
        return any(len(runs) > 1 for runs in self.matches.values())

    @property
    def dense(self) -> bool:
        """Whether any table has so many recorded steps that lines are drawn by bins."""
        return any(
            _recorded(run, need.table) > MAX_POINTS
            for need, runs in self.matches.items()
            for run in runs
        )

    @property
    def families(self) -> tuple[str, ...]:
        """The families of models that the figure shows, with or without runs."""
        return tuple(dict.fromkeys(need.family for need in self.matches))

    @property
    def drawn_families(self) -> tuple[str, ...]:
        """The families to draw: those that have runs, or all where none has."""
        required = {
            need.family for need, runs in self.matches.items() if runs and not need.optional
        }
        return tuple(f for f in self.families if f in required) or self.families

    def describe_missing(self) -> str:
        """`missing` in words: each kind of run once."""
        return describe_needs(self.missing, self.matches)

    def describe_runs(self, family: str) -> str:
        """The family's runs in words: what they are, how many seeds, how many are unfinished."""
        runs = self.of(family)
        if not runs:
            return ""
        needed = {n: met for n, met in self.matches.items() if n.family == family}
        varied = dict.fromkeys(key for need in needed for key in need.varies)
        seeds = _ranges(sorted({run.seed for run in runs}))
        if varied:
            text = f"{len(runs)}, which differ in {', '.join(varied)}; seeds {seeds}"
        else:
            counts = sorted({len(met) for need, met in needed.items() if met and not need.optional})
            amount = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
            text = f"{describe(runs[0])}; {amount} seed{'s' * (counts != [1])} ({seeds})"
        unfinished = sum(run.state not in _FINISHED for run in runs)
        if unfinished:
            text += f"; {unfinished} of {len(runs)} runs not finished"
        return text

    def describe_left_out(self) -> str:
        """What other runs could have served and how to choose them; "" where there are none."""
        by_keys: dict[tuple[str, ...], list[LeftOut]] = {}
        for group in (group for groups in self.left_out.values() for group in groups):
            by_keys.setdefault(tuple(group.differing), []).append(group)
        parts = []
        for keys, groups in by_keys.items():
            amount = sum(group.amount for group in groups)
            values = [
                f"{key}={'|'.join(dict.fromkeys(_short(g.differing[key]) for g in groups))}"
                for key in keys
            ]
            parts.append(f"{amount} run{'s' * (amount > 1)} with {', '.join(values)}")
        return "; ".join(parts)


def describe_needs(missing: Iterable[Need], needed: Iterable[Need]) -> str:
    """Needs in words: each kind of run once, with the table's name where only that lacks."""
    wanted: dict[tuple[str, str, float], set[str]] = {}
    for need in needed:
        if not need.optional:
            wanted.setdefault(need.kind, set()).add(need.table)
    lacking: dict[tuple[str, str, float], list[Need]] = {}
    for need in missing:
        lacking.setdefault(need.kind, []).append(need)
    words = []
    for kind, lacks in lacking.items():
        tables = sorted({need.table for need in lacks})
        only = "" if set(tables) == wanted[kind] else f" (table {', '.join(tables)})"
        words.append(f"{lacks[0]}{only}")
    return "; ".join(words)


def select(needed: Sequence[Need], runs: Sequence[Run]) -> Selection:
    """Meets the needs of each family and direction with runs of one scale.

    Runs on which other tables were recorded besides are of the same scale.

    Of several scales the one that meets most needs counts, then the one with most steps, then the
    one with most runs that are needed, or else most runs; the others that meet any are told in
    `Selection.left_out`. Runs that are not finished are taken only where no finished one is.
    """
    matches: dict[Need, tuple[Run, ...]] = dict.fromkeys(needed, ())
    left_out: dict[str, tuple[LeftOut, ...]] = {}
    for family, direction in dict.fromkeys((need.family, need.direction) for need in needed):
        mine = [need for need in needed if (need.family, need.direction) == (family, direction)]
        groups: dict[str, list[Run]] = {}
        for run in runs:
            if run.family == family:
                key = json.dumps(_scale_for(mine, run), sort_keys=True, default=str)
                groups.setdefault(key, []).append(run)
        ranked = []
        for key in sorted(groups):
            met = {need: _meeting(need, groups[key]) for need in mine}
            required = [runs for need, runs in met.items() if not need.optional]
            rank = (sum(map(bool, required)), groups[key][0].steps, sum(map(len, required)))
            ranked.append((rank, len(groups[key]), key, met))
        if not ranked:
            continue
        best = max(ranked, key=lambda group: group[:2])
        matches.update(best[3])
        scales = [json.loads(group[2]) for group in ranked]
        chosen = scales[ranked.index(best)]
        left_out[family] = left_out.get(family, ()) + tuple(
            LeftOut(group[0][2], differing)
            for group, other in zip(ranked, scales, strict=True)
            if group[0][0] and _could_serve(differing := _differing(chosen, other))
        )
    return Selection(matches, {family: groups for family, groups in left_out.items() if groups})


def config_value(run: Run, key: str) -> Any:
    """What the run's config has at the dotted key; None where it has nothing."""
    value: Any = run.config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def option_matches(run: Run, key: str, text: str) -> bool:
    """Whether the run's config has the value that is written so at the dotted key."""
    value = config_value(run, key)
    try:
        return math.isclose(float(value), float(text), rel_tol=1e-9)
    except (TypeError, ValueError):
        return _short(value) == text


def _scale_for(needed: Sequence[Need], run: Run) -> dict[str, Any]:
    """The run's scale as far as it decides the needed tables: measuring changes no training."""
    tables = {need.table for need in needed if not need.optional}
    names = {"landscape" if table == "smoothness" else table for table in tables}
    whole = scale(run)
    probes = {
        name: options for name, options in (whole.get("probes") or {}).items() if name in names
    }
    if "landscape" in probes and all(math.isinf(need.least_eta) for need in needed):
        probes["landscape"] = {**probes["landscape"], "etas": list(eta_multiples(run))}
    varied = {key for need in needed for key in need.varies}
    return _without({**whole, "probes": probes}, varied)


def _without(config: Mapping[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    return {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if f"{prefix}{name}" not in keys
    }


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
    by_seed: dict[tuple[int, tuple[str, ...]], Run] = {}
    for run in sorted(finished or fitting, key=lambda run: (-_reached(run), run.id)):
        variant = tuple(_short(config_value(run, key)) for key in need.varies)
        by_seed.setdefault((run.seed, variant), run)
    return tuple(by_seed[key] for key in sorted(by_seed))


def _measured_as(run: Run, need: Need) -> bool:
    """Whether the run's landscape was measured along the direction, from the eta, needed."""
    probe = run.option("probes.landscape")
    measured = tuple(map(float, probe.get("etas", [0.0])))
    least = (
        math.isinf(need.least_eta)
        or is_among(need.least_eta, measured)
        or (min(measured) <= need.least_eta)
    )
    # The paper's grid out of a finer one is taken from the table with a row per step size.
    whole = len(measured) == len(eta_multiples(run)) or has_table(run, "landscape")
    return str(probe.get("direction", "gradient")) == need.direction and least and whole


def _recorded(run: Run, table: str) -> float:
    """About how often the probe of a table measured, by its schedule."""
    probe = "landscape" if table == "smoothness" else table
    schedule = run.option("probes").get(probe) or {}
    return run.steps / int(schedule.get("every", 1)) + int(schedule.get("dense", 0))


def _reached(run: Run) -> int:
    return int(run.status.get("step") or 0)


def _differing(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys in which a scale differs from ours, with its values."""
    flat, mine = _flat(other), _flat(ours)
    return {key: flat.get(key) for key in {**mine, **flat} if flat.get(key) != mine.get(key)}


def _could_serve(differing: Mapping[str, Any]) -> bool:
    """Whether runs differ in more than in what else was measured, or along another direction."""
    return any(
        not key.startswith("probes.") or (value is not None and key != "probes.landscape.direction")
        for key, value in differing.items()
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: Any) -> str:
    """A config value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(map(_short, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ranges(numbers: Collection[int]) -> str:
    """0, 1, 2, 5 as "0–2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
