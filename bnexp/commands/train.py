"""``bnexp train``: one run, or with -m a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import yaml

from bnexp.commands.sweep import ask, is_hydra, make
from bnexp.config import check, compose, expand
from bnexp.errors import UserError
from bnexp.training import Interrupted, identify, reason, train

HELP = """usage: bnexp train [KEY=VALUE ...] [-m] [--cfg] [-h]

One run, or with -m one run for each combination of comma-separated values. The run's directory is
printed last, on stdout; progress goes to stderr. A run that is there already is not made again.

  model=vgg16|vgg11|vgg13|vgg19|dln   model.width=0.25   model.head=[4096,4096]   model.k=25
  norm=none|bn|noisy_bn|noise_only|l1|l2|linf
  data=digits|gaussian|images|cifar10   data.path=FILE_OR_FOLDER   data.augment=true
  optim.lr=0.1   optim.momentum=0.9   optim.weight_decay=5e-4
  batch_size=128   steps=15000   seed=0
  device=auto|cpu|cuda|cuda:1   precision=float32|float64|bf16   threads=1   out=outputs
  preset=quick|cpu|paper   experiment=fig4 (with -m: the runs of Figure 4)
  probes=none|paper|every   probes.landscape.every=10   probes.gradient_shift.layers=[5,10]
  probes.landscape.etas=[0.5,1,2,4]   probes.landscape.direction=gradient|random   ~probes.moments

  -m, --multirun   sweep: norm=none,bn seed=0,1,2; hydra/launcher=joblib runs side by side
  --cfg            print the resolved config and do nothing
"""


def run(argv: Sequence[str]) -> int:
    """Run ``bnexp train`` with these arguments; returns the exit code."""
    flags = [argument for argument in argv if argument.startswith("-")]
    overrides = [argument for argument in argv if not argument.startswith("-")]
    for flag in flags:
        if flag not in ("-m", "--multirun", "--cfg", "-h", "--help"):
            raise UserError(f"{flag}: no such option of bnexp train; expected -m, --cfg or -h")
    if "-h" in flags or "--help" in flags:
        print(HELP, end="")
        return 0
    if "--cfg" in flags:
        config = check(compose([o for o in overrides if not is_hydra(o)]))
        print(yaml.safe_dump(config.plain, sort_keys=False), end="")
        return 0
    if "-m" in flags or "--multirun" in flags:
        return _sweep(overrides)
    return _one(overrides)


def _one(overrides: Sequence[str]) -> int:
    if any(o.startswith("experiment=") and o != "experiment=none" for o in overrides):
        raise UserError("experiment: a recipe is several runs, so -m is expected")
    job = identify(check(compose(overrides)))
    try:
        state = train(job)
    except UserError:
        raise
    except Interrupted as stopped:
        print(
            f"bnexp: {stopped}; the same command goes on from there: {job.directory.path}",
            file=sys.stderr,
        )
        return 128 + stopped.signum
    except Exception as error:
        more = f"; see {job.directory.log_file}" if job.directory.log_file.exists() else ""
        print(f"bnexp: run failed: {reason(error)}{more}", file=sys.stderr)
        return 1
    if state == "diverged":
        step = job.directory.read_status()["step"]
        print(f"bnexp: diverged at step {step}: that is its result", file=sys.stderr)
    print(job.directory.path)
    return 0


def _sweep(overrides: Sequence[str]) -> int:
    hydra = [o for o in overrides if is_hydra(o)]
    runs = ask(expand([o for o in overrides if not is_hydra(o)]))
    code = make(runs, hydra)
    for run in runs:
        print(run.job.directory.path)
    return code
