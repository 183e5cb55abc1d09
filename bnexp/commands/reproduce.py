"""Makes the runs that figures need and that are missing; figures, claims and the report of them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from bnexp.claims.report import closing
from bnexp.commands import claims, figures, logs, report
from bnexp.commands.plan import script
from bnexp.commands.sweep import changed, make, planned
from bnexp.config.compose import compose_hydra, parse, quoted
from bnexp.config.expand import recipe_configs
from bnexp.errors import UserError
from bnexp.figures import figure
from bnexp.registry import expect, load_plugins, one_of
from bnexp.runs import find_runs
from bnexp.training.build import duration, estimate
from bnexp.training.run import FINISHED, Job

OWN = ("preset=", "figures=", "out=")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp reproduce``."""
    add = parser.add_argument
    overrides = "preset=quick|cpu|paper, figures=all|1,4,.., out=DIR, and what bnexp train takes"
    add("overrides", nargs="*", metavar="KEY=VALUE", help=overrides)
    add("--dry-run", action="store_true", help="only say which runs there would be")
    plan = "print a Slurm array script of N tasks (default: 8) that share the runs out"
    add("--plan", nargs="?", const=8, type=int, metavar="N", help=plan)
    add("--format", default="png,pdf", help="of the figures (default: png,pdf)")
    add("--no-paper", action="store_true", help="leave the paper's own curves out")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp reproduce``; returns the exit code."""
    given = dict(a.partition("=")[::2] for a in arguments.overrides if a.startswith(OWN))
    rest = [a for a in arguments.overrides if not a.startswith(OWN)]
    preset, wanted = given.get("preset", "quick"), given.get("figures", "all")
    one_of("preset", preset, ("quick", "cpu", "paper"))
    tasks = arguments.plan
    expect(tasks is None or tasks > 0, "--plan", "a positive number of tasks", tasks)
    values = {o.key_or_group: o.value() for o in parse(rest)}
    plugins = values.get("plugins")
    load_plugins(map(str, plugins) if isinstance(plugins, list) else ())
    ids = figures.chosen([] if wanted == "all" else wanted.strip("[]").split(","))
    formats = figures.formats_of(arguments.format)
    out = Path(given.get("out") or f"outputs/{preset}").expanduser()
    jobs = needed(ids, [f"preset={preset}", f"out={quoted(str(out))}", *rest])
    configs = [job.config for job in jobs]
    norms = list(dict.fromkeys(c.norm.name for c in configs)) if "norm" in values else []
    lrs = list(dict.fromkeys(c.optim.options.lr for c in configs)) if "optim.lr" in values else []
    on_cpu = all(job.device.type == "cpu" for job in jobs)
    alone = on_cpu and not any(o.startswith("hydra/launcher") for o in rest)
    if on_cpu:
        # Side by side, with a thread each: fastest, and the same numbers on any machine.
        own = any(job.config.run.threads for job in jobs)
        jobs = jobs if own else [changed(job, threads=1) for job in jobs]
    todo = [job for job in jobs if job.state() not in FINISHED]
    print(f"{len(jobs)} runs, {len(todo)} to be made:", file=sys.stderr)
    for job in jobs:
        config, state = job.config, job.state() or "to be made"
        what = f"{config.model.name:6} {config.norm.name:10} lr {config.optim.options.lr:<6g}"
        print(f"  {job.id:28} {what} seed {config.run.seed}  {state}", file=sys.stderr)
    if tasks is not None:
        sizes = compose_hydra([f"preset={preset}", *(o for o in rest if o[:6] == "sizes.")]).sizes
        more = [f"--format={arguments.format}", *["--no-paper"] * arguments.no_paper]
        asked = ["reproduce", *arguments.overrides, *more]
        print(script(asked, len(todo), min(tasks, max(1, len(todo))), sizes.job))
        return 0
    at_once = max(1, min(len(os.sched_getaffinity(0)), len(todo))) if alone else 1
    if at_once > 1:
        rest = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={at_once}", *rest]
    if arguments.dry_run:
        bar = tqdm(todo, desc="timing a few passes", unit="run", leave=False, file=sys.stderr)
        timed = ((job.config, job.device) for job in bar)
        seconds = estimate(timed, 1 if alone else None) / at_once
        print(
            f"about {duration(seconds)}, {at_once} at a time (evaluation not counted)",
            file=sys.stderr,
        )
        return 0
    code, paths = make(jobs, rest)
    if code > 1:
        return code
    there = find_runs(out)
    mine = [run for run in there if run.path.name in {path.name for path in paths}]
    figures.draw(ids, mine, out / "figures", formats, not arguments.no_paper, norms, lrs)
    logs.complete(jobs, out / "figures")
    judgements = claims.judge([], there, out)
    claims.write(judgements, out / "claims")
    page = report.write(there, judgements, out / "report.html")
    print(*closing(judgements, page), sep="\n", file=sys.stderr)
    print(out)
    return code


def needed(ids: Sequence[str], overrides: Sequence[str]) -> list[Job]:
    """The different runs that the figures ``ids`` need; a run that two figures need is one run.

    Raises:
        UserError: a figure would find, after hours of training, none of its runs among them.
    """
    recipes = dict.fromkeys(name for number in ids for name in figure(number).recipes)
    jobs = planned(recipe_configs(recipes, overrides))
    families = {job.config.model.name for job in jobs}
    for number in ids:
        if not any(need.family in families for need in figure(number).needs if not need.optional):
            raise UserError(
                f"figures: figure {number} draws none of the networks asked for, "
                f"{', '.join(sorted(families))}; train these with bnexp train -m"
            )
    return sorted(jobs, key=lambda job: job.config.model.task == "regression")
