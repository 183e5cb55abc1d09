"""Makes the runs that figures need and that are missing, draws the figures, judges the claims."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bnexp.claims import all_claims
from bnexp.claims.report import closing
from bnexp.commands import claims, figures
from bnexp.commands.sweep import Planned, make, planned
from bnexp.commands.train import split
from bnexp.config.compose import parse, path_override
from bnexp.config.recipes import recipe_requests
from bnexp.errors import UserError
from bnexp.figures import figure
from bnexp.registry import load_plugins, one_of
from bnexp.runs import Run, find_runs
from bnexp.training.estimate import Estimator
from bnexp.training.run import FINISHED

PRESETS = ("quick", "cpu", "paper")
OWN = ("preset=", "figures=", "out=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp reproduce``."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="preset=quick|cpu|paper, figures=all|1,4,.., out=DIR, and what bnexp train takes",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say which runs there would be")
    parser.add_argument("--format", default="png,pdf", help="of the figures (default: png,pdf)")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's own curves out")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp reproduce``; returns the exit code."""
    given = dict(a.partition("=")[::2] for a in arguments.overrides if a.startswith(OWN))
    launcher, rest = split([a for a in arguments.overrides if not a.startswith(OWN)])
    preset, wanted = given.get("preset", "quick"), given.get("figures", "all")
    one_of("preset", preset, PRESETS)
    load_plugins(_named(rest))
    ids = figures.chosen([] if wanted == "all" else wanted.strip("[]").split(","))
    figures.formats_of(arguments.format)
    out = Path(given.get("out") or f"outputs/{preset}").expanduser()
    runs = needed(ids, preset, out, rest)
    check_drawn(ids, runs, rest)
    print(listing(runs), file=sys.stderr)
    if arguments.dry_run:
        print(estimate(runs, launcher), file=sys.stderr)
        return 0
    how = arrangement(unfinished(runs), launcher)
    quick = [Planned((*run.overrides, *how.each), run.job) for run in runs]
    code, paths = make(quick, how.launcher)
    if code > 1:
        return code
    mine = {path.name for path in paths}
    there = find_runs(out)
    figures.draw(
        ids,
        [run for run in there if run.path.name in mine],
        out / "figures",
        arguments.format,
        paper=not arguments.no_paper,
    )
    judgements = claims.judge(list(all_claims()), there, out)
    claims.write(judgements, out / "claims", arguments.format)
    print(*closing(judgements, out / "claims" / "claims.md"), sep="\n", file=sys.stderr)
    print(out)
    return code


def _named(overrides: Sequence[str]) -> list[str]:
    """The modules of ``plugins=[..]``, whose figures can be asked for."""
    values = [o.value() for o in parse(overrides) if o.key_or_group == "plugins"]
    return [str(name) for value in values if isinstance(value, list) for name in value]


def needed(ids: Sequence[str], preset: str, out: Path, overrides: Sequence[str]) -> list[Planned]:
    """The different runs that the figures ``ids`` need; a run that two figures need is one run.

    The longest (the convolutional networks) come first, so that side by side they end together.
    """
    recipes = dict.fromkeys(name for number in ids for name in figure(number).recipes)
    common = [f"preset={preset}", path_override("out", str(out)), *overrides]
    runs = planned(recipe_requests(recipes, common))
    return sorted(runs, key=lambda run: run.job.config.model.task == "regression")


def check_drawn(ids: Sequence[str], runs: Sequence[Planned], overrides: Sequence[str]) -> None:
    """Raise, before hours of training, where a figure would find none of its runs in ``runs``."""
    kinds = set()
    for planned_run in runs:
        job = planned_run.job
        run = Run(job.directory.path, job.id, job.config.plain, {})
        kinds.add((run.family, run.norm, run.lr))
    for number in ids:
        if not any(need.kind in kinds for need in figure(number).needs if not need.optional):
            raise UserError(
                f"figures: figure {number} draws none of the runs that {' '.join(overrides)} asks "
                f"for; train these with bnexp train -m, and draw with bnexp figures --lr, --norms"
            )


def listing(runs: Sequence[Planned]) -> str:
    """One line per run: what it is and how far it has come."""
    lines = []
    for run in runs:
        config, state = run.job.config, run.job.state() or "to be made"
        what = f"{config.model.name:6} {config.norm.name:10} lr {config.optim.lr:<6g}"
        lines.append(f"  {run.job.id:28} {what} seed {config.run.seed}  {state}")
    return "\n".join([f"{len(runs)} runs, {len(unfinished(runs))} to be made:", *lines])


@dataclass(frozen=True)
class Arrangement:
    """How runs are made: so many side by side, by these overrides for Hydra and for each run."""

    at_once: int
    launcher: tuple[str, ...]
    each: tuple[str, ...]


def arrangement(todo: Sequence[Planned], launcher: Sequence[str]) -> Arrangement:
    """How to make the runs ``todo``.

    Unless overrides choose a launcher: on CPUs, one run per core side by side, each on one thread,
    which is faster than one run on all of them; on a GPU, one after the other.
    """
    cores = min(len(os.sched_getaffinity(0)), len(todo))
    on_cpu = all(run.job.device.type == "cpu" for run in todo)
    if any(o.startswith("hydra/launcher") for o in launcher) or not on_cpu:
        return Arrangement(1, tuple(launcher), ())
    free = all(run.job.config.run.threads is None for run in todo)
    each = ("threads=1",) if free else ()
    if cores < 2:
        return Arrangement(1, tuple(launcher), each)
    joblib = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={cores}")
    return Arrangement(cores, (*joblib, "hydra.launcher.batch_size=1", *launcher), each)


def unfinished(runs: Sequence[Planned]) -> list[Planned]:
    """Those of ``runs`` that have not their result yet."""
    return [run for run in runs if run.job.state() not in FINISHED]


def estimate(runs: Sequence[Planned], launcher: Sequence[str]) -> str:
    """How long the unfinished of ``runs`` would take on this machine, in one line."""
    todo = unfinished(runs)
    how = arrangement(todo, launcher)
    estimator = Estimator(1 if "threads=1" in how.each else None)
    bar = tqdm(todo, desc="timing a few passes", unit="run", leave=False, file=sys.stderr)
    total = sum(estimator.seconds(run.job) for run in bar) / how.at_once
    duration = f"{total / 60:.0f} minutes" if total < 5400 else f"{total / 3600:.0f} hours"
    return f"about {duration}, {how.at_once} at a time (evaluation not counted)"
