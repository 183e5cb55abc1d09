"""``bnexp theory``: the paper's theorems, checked numerically."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from bnexp import theory
from bnexp.commands.runs import found
from bnexp.registry import at_least, expect
from bnexp.runs import Run
from bnexp.training.checkpoint import reload
from bnexp.training.run import FINISHED

NORMS = ("none", "bn", "noisy_bn")
"""The norms whose runs are checked where there are any: BN, or nothing in its place."""

COUNTS = {
    "cases": (200, 0, "random networks"),
    "seed": (0, 0, "of the random networks"),
    "networks": (10, 0, "deep networks to measure the gradient's growth on, 0 for none"),
    "layers": (4, 1, "of each run's network, evenly spread"),
    "units": (2, 1, "of each layer"),
}
"""Options that are whole numbers: the default, the least, and what they count."""

EXAMPLE = """\
4.5 on one neuron and three points (of the kind of Dannemann and Junike 2025): at W* =
({optimum[0]:.3g}, {optimum[1]:.3g}), the only optimum of the plain network,
L^ is {loss:.3g} at best over gamma and beta, its gradient by W {gradient:.3g};
elsewhere L^ is {least:.1e}: W* is no optimum of the BN network."""

GROWTH = """
Growth of the squared gradient per layer back at initialisation (Yang et al. 2019);
float64, mean and standard error over networks; predicted: (B-2)/(B-3), with ReLU as B -> inf:"""

bar = partial(tqdm, leave=False, file=sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bnexp theory``."""
    runs = "also on one finished run of each network and norm"
    parser.add_argument("--runs", type=Path, metavar="DIR", help=runs)
    parser.add_argument("--json", action="store_true", help="the numbers as JSON, and nothing else")
    for name, (default, _, words) in COUNTS.items():
        help_ = f"{words} (default: {default})"
        parser.add_argument(f"--{name}", type=int, default=default, help=help_)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp theory``: check and print; 1 when a statement that must hold does not."""
    for name, (_, low, _) in COUNTS.items():
        at_least(f"--{name}", getattr(arguments, name), low)
    at_least("--cases", arguments.cases, int(arguments.runs is None))
    # runs come first: they may be refused
    reports = [_on_run(run, arguments) for run in _chosen(arguments.runs)]
    if arguments.cases:
        numbers = bar(range(arguments.cases), desc="random networks")
        cases = (theory.random_case(arguments.seed, number) for number in numbers)
        where = f"{arguments.cases} random networks, seed {arguments.seed}"
        reports.insert(0, theory.check_cases(where, cases))
    settings = bar(theory.SETTINGS if arguments.networks else (), desc="deep networks")
    networks, seed = arguments.networks, arguments.seed
    growths = [theory.growth(*setting, networks=networks, seed=seed) for setting in settings]
    example = theory.counterexample()
    if arguments.json:
        plain: dict[str, Any] = {"tolerance": theory.TOLERANCE, "titles": theory.TITLES}
        plain["reports"] = [report._asdict() for report in reports]
        plain |= {"counterexample_to_4.5": example, "gradient_growth": growths}
        print(json.dumps(plain, indent=1))
    else:
        print(*map(_text, reports), EXAMPLE.format(**example), sep="\n\n")
        if growths:
            table = pd.DataFrame(growths).to_string(index=False, float_format="{:.4f}".format)
            print(GROWTH, table, sep="\n")
    wrong = [(report.where, finding) for report in reports for finding in report.wrong]
    for where, finding in wrong:
        what = f"{finding['theorem']} ({finding['kind']}) on {where}"
        print(f"bnexp: does not hold, but must: {what}", file=sys.stderr)
    return 1 if wrong else 0


def _chosen(root: Path | None) -> list[Run]:
    """One finished run of each network and norm of ``NORMS``, of any norm where there are none.

    Of several the one with the most steps, then the least seed, then the largest learning rate.
    """
    if root is None:
        return []
    finished = [run for run in found(root) if run.state in FINISHED]
    expect(bool(finished), "--runs", "a folder with finished runs", str(root))
    finished.sort(key=lambda r: (r.state == "done", r.steps, -r.seed, r.lr, r.id))
    wanted = [run for run in finished if run.norm in NORMS] or finished
    last = {(run.model, run.norm): run for run in wanted}
    return [last[key] for key in sorted(last)]


def _on_run(run: Run, arguments: argparse.Namespace) -> theory.Report:
    loaded = reload(run.path, run.config)
    model, batch, last = loaded.model, loaded.inputs, len(loaded.model.layers)
    numbers = sorted({round(number) for number in np.linspace(1, last, arguments.layers)})
    inputs = theory.inputs_of(model, numbers, batch)
    cases = (
        theory.real_case(
            model, loaded.objective, number, inputs[number], batch, loaded.targets,
            start=loaded.initial.own_params[model.weight_name(number)].detach(),
            seed=arguments.seed + number,
        )
        for number in bar(numbers, desc=run.id)
    )  # fmt: skip
    listed = ",".join(map(str, numbers))
    where = f"{run.id}: {run.norm}, lr {run.lr:g}, step {loaded.step}, layers {listed}"
    return theory.check_cases(where, cases, arguments.units)


def _text(report: theory.Report) -> str:
    """A report for people; a verdict in capitals says that something is wrong."""
    skipped = f"{report.constant_units_skipped} constant ones skipped"
    lines = [f"On {report.where}: {report.units} units, {skipped}."]
    lines.append(f"{'':14}{'cases':>6} {'against':>7} {'violation':>9} {'gap':>9}  verdict")
    for number, findings in groupby(report.findings, lambda finding: finding["theorem"]):
        lines.append(f"{number} {theory.TITLES[number]}")
        for f in findings:
            sizes = ("-" if f[k] is None else f"{f[k]:.1e}" for k in ("violation", "gap"))
            verdict = f["verdict"].upper() if f["must"] and f["against"] else f["verdict"]
            counts = f"  {f['kind']:12}{f['cases']:6} {f['against']:7}"
            lines.append(" ".join([counts, *(f"{size:>9}" for size in sizes), "", verdict]))
            lines += [f"      {f['text']}", *([f"      ({f['about']})"] if f["about"] else [])]
    return "\n".join(lines)
