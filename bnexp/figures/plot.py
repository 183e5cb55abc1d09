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

from bnexp.analysis.select import Selection
from bnexp.analysis.series import Trace
from bnexp.figures.page import Page
from bnexp.figures.panel import Panel
from bnexp.figures.style import looks, set_log_ticks, style
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

    @style()
    def draw(self, runs: Sequence[Run]) -> Page:
        """The page; its warnings say what was pooled besides seeds or left out.

        Raises:
            UserError: no such table, column or setting, or one with too many values.
        """
        tables = {name for run in runs for name in run.table_names()}
        one_of("TABLE.COLUMN", self.table, sorted(tables))
        mine = [run for run in runs if self.table in run.table_names()]
        title = f"{self.table}.{self.column}"
        page = Page(title, title, Selection({}), False)
        if without := len(runs) - len(mine):
            page.warnings.append(f"{without} of {len(runs)} runs have no table {self.table}")
        frame, remarks = self._read(mine)
        kinds = list(dict.fromkeys(map(describe, mine)))
        alike = "; ".join(kinds[:4]) + "; .." * (len(kinds) > 4)
        diverged = sum(run.status.get("state") == "diverged" for run in mine)
        counts = f"{len(mine)} runs" + f", {diverged} of them diverged" * bool(diverged)
        page.remarks = [" ".join([f"{counts}: {alike}.", *remarks])]
        self._fill(page, mine, frame)
        page.finish()
        return page

    @property
    def _axes(self) -> dict[str, str]:
        return {part: name for part in ("x", *MOST) if (name := getattr(self, part))}

    def _read(self, runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
        """By row the place of its run in ``runs``, `INDICES`, y, x and, as texts, hue, col, row."""
        there = next((run.columns(self.table) for run in runs), [])
        one_of(f"{self.table}.COLUMN", self.column, there)
        settings = {name for run in runs for name in run.settings}
        for part, name in self._axes.items():
            one_of(f"--{part}", name, [*there, *sorted(settings - {*there})])
        for name in self.rows:
            one_of("--where", name, there)
        own = [name for name in self._axes.values() if name not in settings]
        indices = [name for name in INDICES if name in there]
        needed = list(dict.fromkeys(["step", self.column, *indices, *own, *self.rows]))
        rows = joined(runs, pd.DataFrame({"run": range(len(runs))}), self.table, needed)
        numbers = pd.api.types.is_numeric_dtype(rows[self.column])
        expect(numbers, "TABLE.COLUMN", "a column of numbers", f"{self.table}.{self.column}")
        remarks = [f"Only {name} {', '.join(texts)}." for name, texts in self.rows.items()]
        for name, texts in self.rows.items():
            its = rows[name].map(written)
            some = f"one of {name}={', '.join(its.unique()[:9])}"
            expect(bool(its.isin(texts).any()), "--where", some, f"{name}={','.join(texts)}")
            rows = rows[its.isin(texts)]
        if "step" not in self._axes.values() and rows["step"].max() > rows["step"].min():
            rows = rows[rows["step"] == rows.groupby("run")["step"].transform("max")]
            remarks.append("The last recorded step of each run.")
        frame = rows[["run", *indices]].assign(
            y=rows[self.column].astype(float), hue="", col="", row=""
        )
        for part, name in self._axes.items():
            by_run = [run.settings.get(name) for run in runs]
            values = rows[name].tolist() if name in own else [by_run[at] for at in rows["run"]]
            numeric = part == "x" and _numbers(values)
            frame[part] = values if numeric else [*map(written, values)]
        if "x" in self.log and _numbers(frame["x"].tolist()):
            frame = frame[frame["x"] > 0]
        return frame, remarks

    def _fill(self, page: Page, runs: Sequence[Run], frame: pd.DataFrame) -> None:
        over_setting = any(self.x in run.settings for run in runs)
        pooled = self._pooled(runs, frame, over_setting)
        if pooled:
            page.over = "runs"
            how = "tell them apart by --hue, --col or --row, or choose with --where"
            page.warnings.append(f"pooled over {', '.join(pooled)}: {how}")
        lost = len(runs) - frame.dropna(subset=["x", "y"])["run"].nunique()
        expect(lost < len(runs), "TABLE.COLUMN", "one that has numbers", self.column)
        if lost:
            page.warnings.append(f"{lost} of {len(runs)} runs have no numbers there")
        levels = {part: sorted(frame[part].unique(), key=order) for part in MOST}
        for part, its in levels.items():
            few, got = (
                f"a key with at most {MOST[part]} values",
                f"{self._axes.get(part)}, {len(its)}",
            )
            expect(len(its) <= MOST[part], f"--{part}", few, got)
        categories = None
        if not _numbers(frame["x"].tolist()):
            categories = sorted(frame["x"].unique(), key=order)
            frame = frame.assign(x=frame["x"].map(categories.index))
        ends = float(frame["x"].min()), float(frame["x"].max())
        set_x = partial(_set_x, ends=ends, log="x" in self.log, categories=categories)
        shape = len(levels["row"]), len(levels["col"])
        grid = page.grid(*shape, max(1.5, 2.6 - 0.3 * shape[0]))
        for axes, (row, col) in zip(
            grid.ravel(), product(levels["row"], levels["col"]), strict=True
        ):
            panel = Panel(axes, "y" in self.log, None, set_x=partial(set_x, axes))
            for hue, its_look in looks(self.hue, levels["hue"]).items():
                here = (frame[["hue", "col", "row"]] == [hue, col, row]).all(axis=1)
                panel.add(hue, its_look, self._traces(runs, frame[here], over_setting))
            axes.set(
                label=f"{row}:{col}", title=f"{self.col}={col}" if self.col else "", xlabel=self.x,
                ylabel=f"{self.row}={row}\n{self.column}" if self.row else self.column,
            )  # fmt: skip
            axes.label_outer()
            page.panels.append(panel)
        for start in range(0, grid.size, shape[1]):
            for panel in page.panels[start : start + shape[1]]:
                panel.siblings = page.panels[start : start + shape[1]]

    def _traces(self, runs: Sequence[Run], cell: pd.DataFrame, over_setting: bool) -> list[Trace]:
        """A trace per run; over a setting, of which each run has one value, per seed."""
        points = cell.groupby(["run", "x"])["y"].median().reset_index()
        traces = []
        for place, its in points.groupby(points.groupby("x").cumcount() if over_setting else "run"):
            x, y = (np.asarray(its[name], np.float64) for name in ("x", "y"))
            ended = self.x == "step" and runs[int(str(place))].status.get("state") == "diverged"
            traces.append(Trace(x, y, y, ended))
        return traces

    def _pooled(self, runs: Sequence[Run], frame: pd.DataFrame, over_setting: bool) -> list[str]:
        """The keys besides seeds that differ in what one point of a line is made of."""
        keys = []
        if frame.duplicated(["run", "x", *MOST]).any():
            others = [name for name in INDICES if name in frame and name not in self._axes.values()]
            keys = [name for name in others if len(frame[name].unique()) > 1] or ["rows"]
        by = [*MOST, *["x"] * over_setting]
        probe = self.table.replace("smoothness", "landscape")
        for _, places in frame[["run", *by]].drop_duplicates().groupby(by)["run"]:
            mine = [runs[place] for place in places]
            differ = [key for key in differing(mine, [probe]) if not key.startswith("seed")]
            if not differ and versions((run.id, run.config) for run in mine) > 1:
                differ = ["code"]
            keys += differ
        return list(dict.fromkeys(keys))


def _numbers(values: Sequence[Any]) -> bool:
    return all(type(v) in (int, float) and v == v for v in values)


def _set_x(
    axes: Axes, ends: tuple[float, float], log: bool, categories: Sequence[str] | None
) -> None:
    lo, hi = ends
    if categories is not None:
        axes.set_xticks(range(len(categories)), categories, rotation=90 * (len(categories) > 8))
        axes.set_xlim(-0.4, len(categories) - 0.6)
    elif log:
        axes.set(xscale="log", xlim=(lo / 1.15, hi * 1.15))
        set_log_ticks(axes.xaxis, (lo / 1.15, hi * 1.15), 5)
    else:
        margin = 0.015 * (hi - lo) or 0.5
        axes.set_xlim(lo - margin, hi + margin)
