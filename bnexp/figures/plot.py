"""Any column of any table over anything, in panels by any settings, with seeds as bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis.select import Selection
from bnexp.analysis.series import Trace
from bnexp.figures.page import Page
from bnexp.figures.panel import Panel
from bnexp.figures.style import looks, set_log_ticks
from bnexp.registry import expect, one_of
from bnexp.runs import Run, describe, differing, joined, order, versions, written

INDICES = ("layer", "unit", "eta", "split")
"""Columns beside the step by which rows are told apart."""

MOST = {"hue": 20, "col": 8, "row": 12}
"""So many values at most."""


@dataclass(frozen=True)
class Plot:
    """What is drawn: ``column`` of ``table`` over ``x``, a line per ``hue``, a panel per the rest.

    Each of these is a setting of the runs (see `Run.settings`) or a column of the table; "" for
    none. ``log`` names the axes that are logarithmic. Over a setting, of each run the last step is
    taken. ``rows`` are the values that rows must have: texts by column, of `INDICES` or the step.
    """

    table: str
    column: str
    x: str = "step"
    hue: str = "norm"
    col: str = ""
    row: str = ""
    log: str = ""
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def draw(self, runs: Sequence[Run]) -> tuple[Figure, list[str]]:
        """The figure, and in words what was pooled besides seeds or left out.

        Raises:
            UserError: no such table, column or setting, or one with too many values.
        """
        tables = {name for run in runs for name in run.table_names()}
        one_of("TABLE.COLUMN", self.table, sorted(tables))
        mine = [run for run in runs if self.table in run.table_names()]
        without = len(runs) - len(mine)
        said = [f"{without} of {len(runs)} runs have no table {self.table}"] * bool(without)
        frame, remarks = self._rows(mine)
        page = Page(f"{self.table}.{self.column}", Selection({}), False)
        page.warnings = said + self._fill(page, mine, frame)
        kinds = list(dict.fromkeys(map(describe, mine)))
        alike = "; ".join(kinds[:4]) + "; .." * (len(kinds) > 4)
        diverged = sum(run.status.get("state") == "diverged" for run in mine)
        counts = f"{len(mine)} runs" + f", {diverged} of them diverged" * bool(diverged)
        page.remarks = [" ".join([f"{counts}: {alike}.", *remarks])]
        return page.finish(), page.warnings

    @property
    def _axes(self) -> dict[str, str]:
        return {part: name for part in ("x", "hue", "col", "row") if (name := getattr(self, part))}

    def _rows(self, runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
        """By row ``run`` (its place in ``runs``), `INDICES`, y, x and the other axes, as texts."""
        there = next((run.columns(self.table) for run in runs), [])
        one_of(f"{self.table}.COLUMN", self.column, there)
        settings = {name for run in runs for name in run.settings}
        for part, name in self._axes.items():
            one_of(f"--{part}", name, [*there, *sorted(settings - {*there})])
        own = [name for name in self._axes.values() if name not in settings]
        indices = [name for name in INDICES if name in there]
        for name in self.rows:
            one_of("--where", name, there)
        needed = list(dict.fromkeys(["step", self.column, *indices, *own, *self.rows]))
        rows = joined(runs, pd.DataFrame({"run": range(len(runs))}), self.table, needed)
        numbers = pd.api.types.is_numeric_dtype(rows[self.column])
        expect(numbers, "TABLE.COLUMN", "a column of numbers", f"{self.table}.{self.column}")
        remarks = [f"Only {name} {', '.join(texts)}." for name, texts in self.rows.items()]
        for name, texts in self.rows.items():
            its = {written(value): value for value in rows[name].unique().tolist()}
            keep = [value for text, value in its.items() if text in texts]
            some = f"one of {name}={', '.join([*its][:9])}"
            expect(bool(keep), "--where", some, f"{name}={','.join(texts)}")
            rows = rows[rows[name].isin(keep)]
        if "step" not in self._axes.values() and rows["step"].max() > rows["step"].min():
            rows = rows[rows["step"] == rows.groupby("run")["step"].transform("max")]
            remarks.append("The last recorded step of each run.")
        frame = rows[["run", *indices]].assign(y=rows[self.column].astype(float))
        for part, name in self._axes.items():
            values = rows[name].tolist() if name in own else []
            by_run = [run.settings.get(name) for run in runs]
            values = values or [by_run[place] for place in rows["run"]]
            numeric = part == "x" and _numbers(values)
            frame[part] = values if numeric else [*map(written, values)]
        if "x" in self.log and _numbers(frame["x"].unique().tolist()) and (frame["x"] <= 0).any():
            frame = frame[frame["x"] > 0]
            remarks.append(f"Without {self.x} 0 or below.")
        return frame, remarks

    def _fill(self, page: Page, runs: Sequence[Run], frame: pd.DataFrame) -> list[str]:
        """Puts the panels on the page; returns what is to be said of them."""
        said = self._pooled(runs, frame)
        page.over = "runs" if said else "seeds"
        lost = len(runs) - frame.dropna(subset=["x", "y"])["run"].nunique()
        expect(lost < len(runs), "TABLE.COLUMN", "one that has numbers", self.column)
        said += [f"{lost} of {len(runs)} runs have no numbers there"] * bool(lost)
        levels = {part: self._levels(part, frame) for part in ("hue", "col", "row")}
        colours, categories = looks(self.hue, levels["hue"]), None
        if not _numbers(frame["x"].unique().tolist()):
            categories = sorted(frame["x"].unique(), key=order)
            frame = frame.assign(x=frame["x"].map(categories.index))
        ends = float(frame["x"].min()), float(frame["x"].max())
        shape = len(levels["row"]), len(levels["col"])
        grid = page.grid(*shape, max(1.5, 2.6 - 0.3 * shape[0]))
        set_x = partial(_set_x, ends=ends, log="x" in self.log, categories=categories)
        cells = product(levels["row"], levels["col"])
        for axes, (row, col) in zip(grid.ravel(), cells, strict=True):
            panel = Panel(axes, "y" in self.log, None, set_x=partial(set_x, axes))
            for hue in levels["hue"]:
                panel.add(hue, colours[hue], self._traces(runs, self._cell(frame, hue, col, row)))
            axes.set(
                label=f"{row}:{col}", title=f"{self.col}={col}" if self.col else "", xlabel=self.x,
                ylabel=f"{self.row}={row}\n{self.column}" if self.row else self.column,
            )  # fmt: skip
            axes.label_outer()
            page.entered(panel, True, "no runs")
        for start in range(0, grid.size, shape[1]):
            for panel in page.panels[start : start + shape[1]]:
                panel.siblings = page.panels[start : start + shape[1]]
        return said

    def _levels(self, part: str, frame: pd.DataFrame) -> list[str]:
        levels = sorted(frame[part].unique(), key=order) if part in frame else [""]
        name, most = self._axes.get(part), MOST[part]
        few = f"a key with at most {most} values"
        expect(len(levels) <= most, f"--{part}", few, f"{name}, which has {len(levels)}")
        return levels

    def _cell(self, frame: pd.DataFrame, *levels: str) -> pd.DataFrame:
        for part, level in zip(("hue", "col", "row"), levels, strict=True):
            frame = frame[frame[part] == level] if part in frame else frame
        return frame

    def _traces(self, runs: Sequence[Run], cell: pd.DataFrame) -> list[Trace]:
        """A trace per run; over a setting, of which each run has one value, per seed."""
        points = cell.groupby(["run", "x"])["y"].median().reset_index()
        by = points.groupby("x").cumcount() if self._over_setting(runs) else points["run"]
        traces = []
        for place, its in points.groupby(by):
            x, y = (np.asarray(its[name], np.float64) for name in ("x", "y"))
            ended = self.x == "step" and runs[int(str(place))].status.get("state") == "diverged"
            traces.append(Trace(x, y, y, ended))
        return traces

    def _over_setting(self, runs: Sequence[Run]) -> bool:
        return any(self.x in run.settings for run in runs)

    def _pooled(self, runs: Sequence[Run], frame: pd.DataFrame) -> list[str]:
        """What one point of a line is made of besides seeds, in words."""
        parts = [part for part in ("hue", "col", "row") if part in frame]
        over: dict[str, dict[str, None]] = {}
        if frame.duplicated(["run", "x", *parts]).any():
            others = [n for n in INDICES if n in frame and n not in self._axes.values()]
            several = {name: sorted(frame[name].unique().tolist()) for name in others}
            several = {name: its for name, its in several.items() if len(its) > 1} or {"rows": []}
            over = {name: dict.fromkeys(map(written, its)) for name, its in several.items()}
        by = [*parts, *(["x"] if self._over_setting(runs) else [])]
        places = frame[["run", *by]].drop_duplicates()
        cells = [cell for _, cell in places.groupby(by)["run"]] if by else [places["run"]]
        probe = self.table.replace("smoothness", "landscape")
        for cell in cells:
            mine = [runs[place] for place in cell]
            its = {k: v for k, v in differing(mine, [probe]).items() if not k.startswith("seed")}
            if not its and versions((run.id, run.config) for run in mine) > 1:
                its = {"code": [run.code for run in mine]}
            for key, values in its.items():
                over.setdefault(key, {}).update(dict.fromkeys(map(written, values)))
        words = [
            f"{key} ({', '.join(sorted(its, key=order)[:6])}{', ..' * (len(its) > 6)})"
            if its
            else key
            for key, its in over.items()
        ]
        how = "tell them apart by --hue, --col or --row, or choose with --where"
        return [f"pooled over {'; '.join(words)}: {how}"] if words else []


def _numbers(values: Sequence[Any]) -> bool:
    return all(type(v) in (int, float) and v == v for v in values)


def _set_x(
    axes: Axes, ends: tuple[float, float], log: bool, categories: Sequence[str] | None
) -> None:
    lo, hi = ends
    if categories is not None:
        axes.set_xticks(range(len(categories)), categories, rotation=90 * (len(categories) > 8))
        axes.set_xlim(-0.4, len(categories) - 0.6)
    elif log and lo > 0:
        axes.set(xscale="log", xlim=(lo / 1.15, hi * 1.15))
        set_log_ticks(axes.xaxis, (lo / 1.15, hi * 1.15), 5)
    else:
        margin = 0.015 * (hi - lo) or 0.5
        axes.set_xlim(lo - margin, hi + margin)
