"""``bnexp reproduce``: the runs that figures need and that are missing, figures and claims."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bnexp.claims import CLAIMS
from bnexp.claims.report import counted, early
from bnexp.commands import claims, figures
from bnexp.commands.sweep import Asked, ask, is_hydra, make
from bnexp.config.recipes import recipe_jobs
from bnexp.errors import UserError
from bnexp.figures import FIGURES
from bnexp.runs import find_runs
from bnexp.training import FINISHED, Estimator

PRESETS = ("quick", "cpu", "paper")


def run(arguments: Sequence[str], *, formats: str, paper: bool, dry_run: bool = False) -> int:
    """Run ``bnexp reproduce`` with these ``KEY=VALUE`` arguments; returns the exit code."""
    given = dict(a.partition("=")[::2] for a in arguments if a.startswith(OWN))
    rest = [a for a in arguments if not a.startswith(OWN)]
    preset = given.get("preset", "quick")
    if preset not in PRESETS:
        raise UserError(f"preset: expected one of {', '.join(PRESETS)}; got '{preset}'")
    wanted = given.get("figures", "all")
    ids = figures.chosen([] if wanted == "all" else wanted.strip("[]").split(","))
    figures.formats_of(formats)
    out = Path(given.get("out") or f"outputs/{preset}")
    hydra = [o for o in rest if is_hydra(o)]
    runs = needed(ids, preset, out, [o for o in rest if not is_hydra(o)])
    print(listing(runs), file=sys.stderr)
    if dry_run:
        print(estimate(runs, hydra), file=sys.stderr)
        return 0
    todo = unfinished(runs)
    how = plan(todo, hydra)
    code = make([Asked((*one.overrides, *how.each), one.job) for one in todo], how.hydra)
    if code > 1:
        return code
    mine = {asked.job.id for asked in runs}
    there = [one for one in find_runs(out) if one.id in mine]
    figures.draw(ids, there, out / "figures", formats, paper=paper)
    judgements = claims.judge(list(CLAIMS), find_runs(out), out)
    claims.write(judgements, out / "claims", formats)
    print(*filter(None, [counted(judgements), early(judgements)]), sep="\n", file=sys.stderr)
    print(out)
    return code


OWN = ("preset=", "figures=", "out=")


def needed(ids: Sequence[str], preset: str, out: Path, overrides: Sequence[str]) -> list[Asked]:
    """The different runs that the figures ``ids`` need; a run that two figures need is one run.

    The longest (the convolutional networks) come first, so that side by side they end together.
    """
    recipes = dict.fromkeys(name for one in ids for name in FIGURES[one].recipes)
    common = [f"preset={preset}", f"out={out}", *overrides]
    runs = ask([job for name in recipes for job in recipe_jobs(name, common)])
    return sorted(runs, key=lambda asked: asked.job.config.plain["model"]["family"] == "dln")


def listing(runs: Sequence[Asked]) -> str:
    """One line per run: what it is and how far it has come."""
    lines = []
    for asked in runs:
        plain = asked.job.config.plain
        what = (
            f"{plain['model']['name']:6} {plain['norm']['name']:10} lr {plain['optim']['lr']:<6g}"
        )
        state = asked.job.state() or "to be made"
        lines.append(f"  {asked.job.id:28} {what} seed {plain['seed']}  {state}")
    missing = sum(asked.job.state() not in FINISHED for asked in runs)
    return "\n".join([f"{len(runs)} runs, {missing} to be made:", *lines])


@dataclass(frozen=True)
class Plan:
    """How runs are made: so many side by side, by these overrides for Hydra and for each run."""

    at_once: int
    hydra: tuple[str, ...]
    each: tuple[str, ...]


def plan(todo: Sequence[Asked], hydra: Sequence[str]) -> Plan:
    """How to make the runs ``todo``.

    Without a launcher among the ``hydra`` overrides: on CPUs, one run per core side by side, each
    on one thread, which is faster than one run on all of them; on a GPU, one after the other.
    """
    cores = min(len(os.sched_getaffinity(0)), len(todo))
    on_cpu = all(asked.job.device.type == "cpu" for asked in todo)
    threads_free = all(asked.job.config.run.threads is None for asked in todo)
    if any(o.startswith("hydra/launcher") for o in hydra) or not on_cpu:
        return Plan(1, tuple(hydra), ())
    each = ("threads=1",) if threads_free else ()
    if cores < 2:
        return Plan(1, tuple(hydra), each)
    launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={cores}")
    return Plan(cores, (*launcher, "hydra.launcher.batch_size=1", *hydra), each)


def unfinished(runs: Sequence[Asked]) -> list[Asked]:
    """Those of ``runs`` that have not their result yet."""
    return [asked for asked in runs if asked.job.state() not in FINISHED]


def estimate(runs: Sequence[Asked], hydra: Sequence[str]) -> str:
    """How long the unfinished of ``runs`` would take on this machine, in one line."""
    todo = unfinished(runs)
    how = plan(todo, hydra)
    estimator = Estimator(1 if "threads=1" in how.each else None)
    bar = tqdm(todo, desc="timing a few passes", unit="run", leave=False, file=sys.stderr)
    total = sum(estimator.seconds(asked.job) for asked in bar) / how.at_once
    took = f"{total / 60:.0f} minutes" if total < 5400 else f"{total / 3600:.0f} hours"
    return f"about {took}, {how.at_once} at a time (evaluation not counted)"
