"""One run, or with -m one run for each combination of comma-separated values.

The run's directory is printed last, on stdout; progress goes to stderr. A run that is there
already is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from bnexp.config import check, compose, expand
from bnexp.config.compose import GROUPS, LAUNCHER, SEARCH, choices, quoted
from bnexp.errors import UserError

if TYPE_CHECKING:  # which would import torch
    from bnexp.training.run import Job

LONG = 1000
"""Steps from which on it is worth timing a few, to say how long a run takes."""

HELP = """usage: bnexp train [KEY=VALUE ...] [-m] [--cfg] [--config-dir DIR] [-h]

{doc}
  -m, --multirun     a sweep: norm=none,bn seed=0,1,2 or seed=range(10), norm=glob(l*)
  --cfg              print the resolved config (of a sweep's first run) and do nothing
  -cd, --config-dir  a folder with YAML of your own: norm/NAME.yaml, experiment/NAME.yaml

Groups:
{groups}
Keys, some of those that --cfg prints:
  optim.lr=0.1  batch_size=128  steps=15000  seed=0  device=cuda:1  threads=1  out=outputs
  model.depth=11  model.width=0.25  model.head=[4096,4096]  model.k=25  data.path=FILE_OR_FOLDER
  probes.landscape.every=10  probes.gradient_shift.layers=[5,10]  ~probes.moments
  stale=ask|reuse|remake  plugins=[my_module]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of Hydra's command line what works here as it does there."""
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("--cfg", action="store_true")
    parser.add_argument("-cd", "--config-dir", action="append", default=[])


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp train``; returns the exit code."""
    overrides: list[str] = list(arguments.overrides)
    if arguments.config_dir:
        overrides.append(f"{SEARCH}=[{','.join(map(quoted, arguments.config_dir))}]")
    if arguments.help:
        groups = [f"  {group}={'|'.join(choices(group, overrides))}\n" for group in GROUPS]
        print(HELP.format(doc=__doc__, groups="".join(groups)), end="")
        return 0
    if arguments.cfg:
        overrides = [o for o in overrides if o != "job"]
        plain = next(expand(overrides)) if arguments.multirun else compose(overrides)
        print(yaml.safe_dump(check(plain).plain, sort_keys=False, allow_unicode=True), end="")
        return 0
    if arguments.multirun:
        configs = list(expand(overrides))  # before torch is imported
        from bnexp.commands.logs import complete
        from bnexp.commands.sweep import make, planned

        code, paths = make(jobs := planned(configs), overrides)
        if code <= 1:
            complete(jobs)
        print(*paths, sep="\n")
        return code
    for key, _, value in (override.partition("=") for override in overrides):
        if key.startswith(LAUNCHER) or (key == "experiment" and value != "none"):
            raise UserError(f"{key}: that is for sweeps, so -m is expected")
    return _train(overrides)


def _say_how_long(job: Job) -> None:
    """On stderr, of a new run of the paper's size that takes minutes or more: about how long."""
    run = job.config.run
    if run.preset != "none" or run.steps < LONG or job.state() is not None:
        return
    from bnexp.training.build import duration, estimate

    seconds = estimate([(job.config, job.device)], run.threads)
    if seconds > 120:
        small = "; preset=quick takes a minute" if job.config.model.name == "vgg" else ""
        print(f"bnexp: this run takes about {duration(seconds)}{small}", file=sys.stderr)


def _train(overrides: Sequence[str]) -> int:
    config = check(compose(overrides))  # before torch is imported
    from bnexp.commands.logs import complete
    from bnexp.commands.sweep import reused
    from bnexp.training.interrupts import Interrupted
    from bnexp.training.run import identify, reason, train

    job = identify(config)
    if there := reused([job]):
        print(there[job.id])
        return 0
    path, log = job.directory.path, job.directory.log_file
    _say_how_long(job)
    try:
        state = train(job)
    except (UserError, KeyboardInterrupt):
        raise
    except Interrupted as stopped:
        print(f"bnexp: {stopped}; the same command goes on from there: {path}", file=sys.stderr)
        return 128 + stopped.signum
    except Exception as error:
        more = f"; see {log}" if log.exists() else ""
        print(f"bnexp: run failed: {reason(error)}{more}", file=sys.stderr)
        return 1
    if state == "diverged":
        step = job.directory.read_status()["step"]
        print(f"bnexp: diverged at step {step}: that is its result", file=sys.stderr)
    complete([job])
    print(path)
    return 0
