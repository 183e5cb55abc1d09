"""What a figure needs, and which of the runs there are meet it, by what they computed."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from bnexp.analysis.scales import eta_multiples, is_among
from bnexp.runs import FINISHED, NEUTRAL, Run, describe, scale, versions, written

Where = tuple[tuple[str, Any], ...]
"""Dotted config keys and their values."""


@dataclass(frozen=True)
class Need:
    """One table of one kind of run, and the recipe that makes such runs.

    ``family`` is `Run.family`: vgg, dln or the name of another model. Tables of the landscape must
    be along ``direction``, and begin at ``least_eta`` times lr or below. What is ``optional`` is
    drawn where it is there, and not missed. Runs that differ in the config keys of ``varies`` meet
    it side by side; without, a need is met by runs of one scale, one per seed. ``where``: config
    keys and the values that its runs have; other needs of the figure may have others.
    """

    recipe: str
    family: str
    norm: str
    lr: float
    table: str
    direction: str = "gradient"
    least_eta: float = math.inf
    optional: bool = False
    varies: tuple[str, ...] = ()
    where: Where = ()

    def __str__(self) -> str:
        along = "" if self.direction == "gradient" else f" along {self.direction} directions"
        settings = "".join(f" {key}={written(value)}" for key, value in self.where)
        return f"{self.family.upper()} {self.norm} lr {self.lr:g}{settings}{along}"


def needs(
    recipe: str,
    family: str,
    norms: Iterable[str],
    lrs: Iterable[float],
    tables: Iterable[str],
    wheres: Iterable[Where] = ((),),
    **more: Any,
) -> tuple[Need, ...]:
    """The product of norms, rates, tables and other settings; ``more`` as `Need` has them."""
    return tuple(
        Need(recipe, family, norm, lr, table, where=where, **more)
        for norm, lr, table, where in product(norms, lrs, tables, wheres)
    )


def with_choice(
    needed: Sequence[Need], norms: Sequence[str] = (), lrs: Sequence[float] = ()
) -> tuple[Need, ...]:
    """The needs with other norms and learning rates in place of their own, where any are given."""
    chosen = (
        replace(n, norm=m, lr=lr) for n in needed for m in norms or [n.norm] for lr in lrs or [n.lr]
    )
    return tuple(dict.fromkeys(chosen))


FEW = 4
"""Up to how many other groups of runs are described one by one."""


@dataclass(frozen=True)
class Selection:
    """The runs of one figure: for every need those that meet it, one per seed, in order of seed.

    ``left_out``: other groups of runs that could have served: how many, and the config values in
    which they differ from those that do.
    """

    matches: Mapping[Need, tuple[Run, ...]]
    left_out: Sequence[tuple[int, Mapping[str, Any]]] = ()

    def runs(
        self, family: str, norm: str, lr: float, table: str, direction: str = "gradient",
        where: Where = (),
    ) -> tuple[Run, ...]:  # fmt: skip
        """The runs to draw one series from."""
        key = family, norm, lr, table, direction, where
        for n, met in self.matches.items():
            if (n.family, n.norm, n.lr, n.table, n.direction, n.where) == key:
                return met
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
    def _required(self) -> dict[Need, tuple[Run, ...]]:
        return {need: runs for need, runs in self.matches.items() if not need.optional}

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw: no runs, or none that differ where the figure asks."""
        met = [run for runs in self._required.values() for run in runs]
        varied = {key for need in self._required for key in need.varies}
        values = ({written(r.settings.get(key, NEUTRAL.get(key))) for r in met} for key in varied)
        alike = all(len(its) < 2 for its in values)
        return not met or (bool(varied) and alike)

    @property
    def families(self) -> tuple[str, ...]:
        """The families of models to draw: those that have runs, or all where none has."""
        drawn = {need.family: None for need, runs in self._required.items() if runs}
        return tuple(drawn or dict.fromkeys(need.family for need in self.matches))

    def describe_missing(self) -> str:
        """What no run meets: each kind of run once, with the tables where only these lack."""
        wanted, lacking = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        for need, runs in self._required.items():
            wanted[str(need)].add(need.table)
            if not runs:
                lacking[str(need)].add(need.table)
        return "; ".join(
            kind + f" (table {', '.join(sorted(tables))})" * (tables != wanted[kind])
            for kind, tables in lacking.items()
        )

    def describe_runs(self, family: str) -> str:
        """The family's runs in words: what they are, seeds, unfinished ones, versions of code."""
        runs = self.of(family)
        mine = {need: met for need, met in self._required.items() if need.family == family}
        varied = dict.fromkeys(key for need in mine for key in (*need.varies, *dict(need.where)))
        if varied:
            text = f"{len(runs)}, which differ in {', '.join(varied)}"
        else:
            counts = [len(met) for met in mine.values() if met]
            amount = " to ".join(map(str, dict.fromkeys([min(counts), max(counts)])))
            text = f"{describe(runs[0])}; {amount} seed{'s' * (amount != '1')}"
        unfinished = sum(run.state not in FINISHED for run in runs)
        if any(need.where for need in mine):
            text += f"; the first {describe(runs[0])}"
        text += f"; {unfinished} of {len(runs)} runs not finished" * bool(unfinished)
        codes = versions((run.id, run.config) for run in runs)
        return text + f"; made by {codes} versions of the code" * (codes > 1)

    def describe_left_out(self) -> str:
        """What other runs could have served and how to choose them; "" where there are none.

        Group by group, or where there are many the settings in which they differ.
        """
        if len(self.left_out) > FEW:
            values = defaultdict[str, dict[str, None]](dict)
            for _, differing in self.left_out:
                for key, value in differing.items():
                    values[key][written(value)] = None
            amount = sum(amount for amount, _ in self.left_out)
            keys = (f"{key} ({', '.join(texts)})" for key, texts in values.items())
            return f"{amount} runs that differ in {', '.join(keys)}"
        return "; ".join(
            f"{amount} run{'s' * (amount > 1)} with "
            + ", ".join(f"{key}={written(value)}" for key, value in differing.items())
            for amount, differing in self.left_out
        )


def select(needed: Sequence[Need], runs: Sequence[Run]) -> Selection:
    """Meets the needs of each family and direction with runs of one scale.

    That which meets most needs, then that with most steps, most runs that are needed, most runs.
    Of these each norm's are of one choice of its options (see `_of_one_kind`). The others that meet
    any are in `Selection.left_out`. What else was measured makes no other
    scale. Runs that are not finished are taken only where no finished one is.
    """
    matches: dict[Need, tuple[Run, ...]] = dict.fromkeys(needed, ())
    left_out = []
    for family, direction in dict.fromkeys((need.family, need.direction) for need in needed):
        mine = [need for need in needed if (need.family, need.direction) == (family, direction)]
        groups = defaultdict[str, list[Run]](list)
        for run in runs:
            if run.family == family:
                key = json.dumps(dict(_scale_for(mine, run)), sort_keys=True, default=str)
                groups[key].append(run)
        ranked = []
        for key, group in sorted(groups.items()):
            met, spare = _of_one_kind(mine, group)
            required = [met[need] for need in mine if not need.optional]
            rank = (sum(map(bool, required)), group[0].steps, sum(map(len, required)), len(group))
            ranked.append((rank, json.loads(key), met, spare))
        if ranked:
            _, ours, met, spare = max(ranked, key=lambda group: group[0])
            matches.update(met)
            others = [(rank[3], _differing(ours, other)) for rank, other, *_ in ranked if rank[0]]
            left_out += [(count, values) for count, values in others if values] + spare
    return Selection(matches, left_out)


def _of_one_kind(
    needed: Sequence[Need], runs: Sequence[Run]
) -> tuple[dict[Need, tuple[Run, ...]], list[tuple[int, Mapping[str, Any]]]]:
    """Meets each norm's needs with runs of one choice of the norm's options; the `left_out`.

    That which meets most needs, then that with most runs. Of runs that differ in nothing but the
    code that made them the first by id is taken.
    """
    matches, left_out = dict[Need, tuple[Run, ...]](), list[tuple[int, Mapping[str, Any]]]()
    for norm in dict.fromkeys(need.norm for need in needed):
        mine = [need for need in needed if need.norm == norm]
        varied = {key for need in mine for key in (*need.varies, *dict(need.where))}
        its = [run for run in runs if run.norm == norm]
        # Options that only some versions wrote, as `none` once had an eps, tell no runs apart.
        shared = set.intersection(*(set(run.deciding) for run in its)) if its else set()
        keys = {key for key in shared - varied if key.startswith("norm.")}
        kinds = defaultdict[str, list[Run]](list)
        for run in its:
            chosen = {key: run.deciding[key] for key in sorted(keys)}
            kinds[json.dumps(chosen, sort_keys=True)].append(run)
        tried = []
        for kind, group in sorted(kinds.items()) or [("{}", [])]:
            met = {need: _meeting(need, group) for need in mine}
            used = {run.id: run for some in met.values() for run in some}
            tried.append((sum(map(bool, met.values())), len(used), json.loads(kind), met, used))
        best = max(tried, key=lambda kind: kind[:2])
        matches |= best[3]
        left_out += [(n, _differing(best[2], k)) for _, n, k, *_ in tried if n and k != best[2]]
        codes = {run.code for run in best[4].values()}
        # Other probes are other code, and make no other numbers.
        alike = {frozenset(run.option("probes") or ()) for run in best[4].values()}
        spare = [run for run in runs if frozenset(run.option("probes") or ()) in alike]
        other = [run.code for run in spare if any(_fits(need, run) for need in mine)]
        left_out += [(n, {"code": c}) for c, n in Counter(other).items() if c not in codes]
    return matches, left_out


def has_table(run: Run, table: str) -> bool:
    """Whether the run recorded anything in the table."""
    return table in run.table_names()


def _scale_for(needed: Sequence[Need], run: Run) -> Iterator[tuple[str, Any]]:
    """The run's scale as far as it decides the needed tables, by dotted key.

    Measuring changes no training: of the probes only those of required tables count.
    """
    tables = {need.table for need in needed if not need.optional}
    probes = {table.replace("smoothness", "landscape") for table in tables}
    varied = {key for need in needed for key in (*need.varies, *dict(need.where))}
    coarse = all(math.isinf(need.least_eta) for need in needed)
    for key, value in scale(run).items():
        group, probe = [*key.split("."), ""][:2]
        if key not in varied and (group != "probes" or probe in probes):
            papers = key == "probes.landscape.etas" and coarse
            yield key, list(eta_multiples(run)) if papers else value


def _fits(need: Need, run: Run) -> bool:
    return (
        run.norm == need.norm
        and math.isclose(run.lr, need.lr, rel_tol=1e-6)
        and all(_same(run.settings.get(key), value) for key, value in need.where)
        and has_table(run, need.table)
        and (need.table not in ("landscape", "smoothness") or _measured_as(run, need))
    )


def _meeting(need: Need, runs: Sequence[Run]) -> tuple[Run, ...]:
    fitting = [run for run in runs if _fits(need, run)]
    usable = [run for run in fitting if run.state in FINISHED] or fitting
    by_seed: dict[tuple[tuple[int, ...], tuple[str, ...]], Run] = {}
    for run in sorted(usable, key=lambda run: (-int(run.status.get("step") or 0), run.id)):
        variant = tuple(written(run.settings.get(key)) for key in need.varies)
        by_seed.setdefault((run.seeds, variant), run)
    return tuple(by_seed[key] for key in sorted(by_seed))


def _same(value: Any, other: Any) -> bool:
    """Whether two values of a config are equal, numbers to rounding."""
    if isinstance(value, float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-9)
    return bool(value == other)


def _measured_as(run: Run, need: Need) -> bool:
    """Whether the run's landscape was measured along the direction, from the eta, needed."""
    probe = run.option("probes.landscape")
    measured = tuple(map(float, probe.get("etas", [0.0])))
    # The paper's grid out of a finer one is taken from the table with a row per step size.
    return (
        str(probe.get("direction", "gradient")) == need.direction
        and (need.least_eta >= min(measured) or is_among(need.least_eta, measured))
        and (len(measured) == len(eta_multiples(run)) or has_table(run, "landscape"))
    )


def _differing(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys in which a scale differs from ours, with its values.

    Whether something was measured at all, or along which direction, is no difference: only how.
    Scales name no setting at the value that runs had before it came.
    """
    return {
        key: other.get(key, NEUTRAL.get(key))
        for key in {**ours, **other}
        if other.get(key) != ours.get(key)
        and (not key.startswith("probes.") or (key in ours and key in other))
        and key != "probes.landscape.direction"
    }
