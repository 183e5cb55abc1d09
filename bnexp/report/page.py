"""The report: one HTML page that opens from disk, with claims, figures and runs.

The page is a function of the runs: the same runs give the same bytes.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from bnexp.analysis.select import select
from bnexp.claims import Judgement
from bnexp.claims import report as words
from bnexp.claims.statistics import DEAD, FAILS, HOLDS, MIXED, OPEN
from bnexp.figures import figure, figure_ids, message
from bnexp.report.plot import plot
from bnexp.runs import Run, describe, versions
from bnexp.runs.files import as_yaml, read_json

GROUPS = {
    HOLDS: "Hold", MIXED: "Hold in part", FAILS: "Do not hold", DEAD: "Nothing to compare with",
    OPEN: "Cannot be told",
}  # fmt: skip
_TEMPLATES = Path(__file__).parent
_CITATION = Path(__file__).parents[1] / "CITATION.cff", Path(__file__).parents[2] / "CITATION.cff"


def html(runs: Sequence[Run], judgements: Sequence[Judgement], commands: Mapping[str, str]) -> str:
    """The page of ``runs`` and of the claims judged on them.

    ``commands``: by a run's id what makes it again, "" where nothing does.
    """
    selections = {name: select(figure(name).needs, runs) for name in figure_ids()}
    plots = [
        plot(figure(name).page(selection, bare=True))
        for name, selection in selections.items()
        if not selection.empty
    ]
    claims, configs = words.as_json(judgements), dict[str, int]()
    numbers = [configs.setdefault(_config(run), len(configs) + 1) for run in runs]
    remarks = {j.claim.id: "; ".join(words.remarks(j)) for j in judgements}
    groups = {
        title: [claim for claim in claims if claim["verdict"] == verdict]
        for verdict, title in GROUPS.items()
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("template.html.j2").render(
        scales=list(dict.fromkeys(map(describe, runs))),
        lines=[words.where_numbers_lie(judgements), *words.telling(judgements)],
        count=words.count(judgements), how=words.HOW, groups=groups, remarks=remarks,
        cells=words.cells, configs=configs,
        rows=[_row(run, commands[run.id], k) for run, k in zip(runs, numbers, strict=True)],
        versions=versions((run.id, run.config) for run in runs), plots=plots,
        choices={
            "norm": sorted({run.norm for run in runs}),
            "lr": [f"{lr:g}" for lr in sorted({run.lr for run in runs})],
            "seed": sorted({run.seed for run in runs}),
        },
        not_run=message(selections).splitlines(), wanted=words.commands(judgements)[1:],
        citation=_citation(), plotly=get_plotlyjs(), zipped=zipped,
    )  # fmt: skip


def zipped(text: str) -> str:
    """``text`` by gzip, in base64: a third of the page's size."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _config(run: Run) -> str:
    """The run's config as YAML, less what the table of runs has a column for."""
    mine = {key: value for key, value in run.config.items() if key != "id"}
    config = {k: v for k, v in mine.items() if not (k.startswith("seed") and v == run.seed)}
    config["optim"] = {k: v for k, v in config["optim"].items() if k != "lr"}
    return as_yaml(config)


def _row(run: Run, command: str, config: int) -> dict[str, Any]:
    """What the table of runs says of a run; ``config`` is the number of its config."""
    seconds = {name: float(value) for name, value in run.status.get("seconds", {}).items()}
    total = sum(seconds.values())
    file = run.directory.env_file
    machine = read_json(file) if file.exists() else {}
    return {
        "id": run.id, "scale": describe(run), "norm": run.norm, "lr": f"{run.lr:g}",
        "seed": run.seed, "state": run.state,
        "step": f"{run.status.get('step', 0)} of {run.steps}",
        "time": _duration(total) if total else "-",
        "measuring": f"{1 - seconds.get('training', 0.0) / total:.0%}" if total else "-",
        "seconds": ", ".join(f"{name} {value:.3g}" for name, value in seconds.items()),
        "config": config, "command": command,
        "revision": str(machine.get("git_revision") or "")[:12],
        "device": str(machine.get("device_name") or ""),
    }  # fmt: skip


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _citation() -> dict[str, Any]:
    """CITATION.cff, in the installed package or above it in a checkout."""
    path = next(path for path in _CITATION if path.is_file())
    citation: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return citation | {"text": path.read_text(encoding="utf-8")}
