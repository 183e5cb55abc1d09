"""The landscape's quantities over the paper's grid of step sizes (Appendix A.2.2).

Bands are min to max over the grid, effective beta-smoothness is the max over it. Table
``smoothness`` has both over all step sizes of the run; where the run's grid is finer than the
paper's, they are taken from table ``landscape``, at the paper's step sizes only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnexp.analysis import read
from bnexp.analysis.scales import DLN, eta_multiples
from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run


def band(run: Run, column: str) -> Trace:
    """Min to max over eta of a column of table ``landscape``, by step."""
    if grid_is_papers(run) and column in ("loss", "predictiveness"):
        return read.band(run, "smoothness", f"{column}_min", f"{column}_max")
    step, _, values = points(run, column, eta_multiples(run))
    return Trace(step, values.min(axis=1), values.max(axis=1), run.state == "diverged")


def beta(run: Run, least: float = 0.0, where: bool = False) -> Trace:
    """Effective beta-smoothness, the max of beta over the grid, or the eta ``where`` it is reached.

    With ``least``, over all step sizes of the run that are at least ``least`` times lr.
    """
    if not least and grid_is_papers(run):
        return read.line(run, "smoothness", "beta_eta" if where else "beta")
    measured = sorted(map(float, run.option("probes.landscape.etas")))
    grid = [eta for eta in measured if eta >= least * (1 - 1e-6)] if least else eta_multiples(run)
    step, etas, values = points(run, "beta", grid)
    y = etas[values.argmax(axis=1)] if where else values.max(axis=1)
    return Trace(step, y, y, run.state == "diverged")


def points(
    run: Run, column: str, multiples: Sequence[float], steps: list[int] | None = None
) -> tuple[Array, Array, Array]:
    """Table ``landscape`` as a matrix: steps (n,), step sizes (m,), values of the column (n, m).

    Args:
        multiples: the step sizes to take, as multiples of lr.
        steps: only these; None for all.
    """
    where = {} if steps is None else {"step": steps}
    frame = read.rows(run, "landscape", ["step", "eta", column], **where)
    wanted = np.sort(np.array(multiples)) * run.lr
    near = np.isclose(read.floats(frame["eta"])[:, None], wanted[None, :], rtol=1e-6, atol=0)
    frame = frame.iloc[np.flatnonzero(near.any(axis=1))].drop_duplicates(["step", "eta"])
    frame = frame.sort_values(["step", "eta"], kind="stable")
    step, eta, values = (
        read.floats(frame[name]).reshape(-1, len(wanted)) for name in ("step", "eta", column)
    )
    return step[:, 0], eta[0] if len(eta) else wanted, values


def grid_is_papers(run: Run) -> bool:
    """Whether table ``smoothness`` of the run is over just the `eta_multiples`."""
    return len(run.option("probes.landscape.etas")) == len(eta_multiples(run))


def predictiveness_column(runs: Sequence[Run]) -> str:
    """The column of table ``landscape`` to compare with the paper's gradient predictiveness.

    The paper's DLN figures (10b, 11b, 13c) sum norms over the parameter tensors: that column where
    the runs are such and all have it, else the norm of the whole gradient.
    """
    summed = "predictiveness_tensors"
    papers = bool(runs) and all(
        run.family == DLN.family and summed in run.columns("landscape") for run in runs
    )
    return summed if papers else "predictiveness"
