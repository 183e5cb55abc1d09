"""What loggers get at the end of a command: the figures, and runs that were there before."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bnexp.errors import UserError
from bnexp.loggers import Log
from bnexp.training.run import Job


def complete(jobs: Sequence[Job], drawn: Path | None = None) -> None:
    """Log those of ``jobs`` that have no log yet, from their tables, and the figures.

    These are the PNGs in ``drawn``; by default the paper's, drawn from all runs beside ``jobs``.
    """
    if jobs[0].config.logger.name != "none":
        try:
            _complete(jobs, drawn)
        except UserError as error:  # such as a damaged run beside these
            print(f"bnexp: not all was logged: {error}", file=sys.stderr)


def _complete(jobs: Sequence[Job], drawn: Path | None) -> None:
    choice, out = jobs[0].config.logger, jobs[0].directory.path.parents[1]
    for job in jobs:
        directory, status = job.directory, job.directory.read_status()
        if "tables" in status and not (out / "logs" / choice.name / job.id).exists():
            log = Log(choice, out, job.id, directory.read_config())
            log.replay(directory, status["tables"])
            log.close()
    with TemporaryDirectory() as folder:
        log = Log(choice, out, "figures", {})
        for file in sorted((drawn or _drawn(out, Path(folder))).glob("*.png")):
            log.call("figure", file.stem, file)
        log.close()


def _drawn(out: Path, folder: Path) -> Path:
    from bnexp.commands.figures import chosen
    from bnexp.figures import draw_figures
    from bnexp.runs import find_runs

    draw_figures(chosen([]), find_runs(out), folder, ["png"])
    return folder
