"""``bnexp reproduce``: the runs that figures need and that are missing, then the figures."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from bnexp.commands import figures
from bnexp.commands.sweep import Asked, ask, is_hydra, launch
from bnexp.commands.train import report
from bnexp.config.recipes import recipe_jobs
from bnexp.errors import UserError
from bnexp.figures import FIGURES
from bnexp.runs import find_runs
from bnexp.training import FINISHED

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
    runs = needed(ids, preset, out, [o for o in rest if not is_hydra(o)])
    print(listing(runs), file=sys.stderr)
    if dry_run:
        return 0
    code = make(runs, out, [o for o in rest if is_hydra(o)])
    mine = {asked.job.id for asked in runs}
    there = [one for one in find_runs(out) if one.id in mine]
    figures.draw(ids, there, out / "figures", formats, paper=paper)
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


def make(runs: Sequence[Asked], out: Path, hydra: Sequence[str]) -> int:
    """Make those of ``runs`` that are not finished; returns the exit code.

    Without a launcher among the ``hydra`` overrides: on CPUs, one run per core side by side, each
    on one thread, which is faster than one run on all of them; on a GPU, one after the other.
    """
    todo = [asked for asked in runs if asked.job.state() not in FINISHED]
    if not todo:
        return 0
    cores = len(os.sched_getaffinity(0))
    on_cpu = all(asked.job.device.type == "cpu" for asked in todo)
    quiet: tuple[str, ...] = ("progress=false",)
    if not any(o.startswith("hydra/launcher") for o in hydra) and on_cpu and cores > 1:
        hydra = [
            *hydra,
            "hydra/launcher=joblib",
            f"hydra.launcher.n_jobs={min(cores, len(todo))}",
            "hydra.launcher.batch_size=1",
        ]
        if all(asked.job.config.run.threads is None for asked in todo):
            quiet = (*quiet, "threads=1")
    quieted = [Asked((*asked.overrides, *quiet), asked.job) for asked in todo]
    with _progress(todo):
        outcomes = launch(quieted, [*hydra, f"out={out}"])
    return report(outcomes)


@contextmanager
def _progress(runs: Sequence[Asked]) -> Iterator[None]:
    """Within it a bar on stderr adds up the steps of ``runs``, wherever they are being made."""
    total = sum(asked.job.config.run.steps + 1 for asked in runs)
    over = threading.Event()
    bar = tqdm(total=total, unit="step", desc="runs", file=sys.stderr, dynamic_ncols=True)

    def look() -> None:
        status = [asked.job.directory.read_status() for asked in runs]
        done = sum(
            asked.job.config.run.steps + 1 if one.get("state") in FINISHED else one.get("step", 0)
            for asked, one in zip(runs, status, strict=True)
        )
        finished = sum(one.get("state") in FINISHED for one in status)
        bar.set_description(f"runs {finished}/{len(runs)} done", refresh=False)
        bar.update(done - bar.n)

    def watch() -> None:
        while not over.wait(1.0):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()
        bar.close()
