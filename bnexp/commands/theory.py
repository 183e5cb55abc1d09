"""``bnexp theory``: the paper's theorems, checked numerically."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from bnexp import theory
from bnexp.commands.runs import found
from bnexp.registry import at_least, expect
from bnexp.runs import Run
from bnexp.training.reload import reload
from bnexp.training.run import FINISHED

NORMS = ("none", "bn", "noisy_bn")
"""The norms whose runs are checked by default: BN, or nothing in its place."""
LAYERS = 4
"""The number of layers of a network that are checked by default."""

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
    """Those of ``bnexp theory``."""
    add = parser.add_argument
    add("--cases", type=int, default=200, help="random networks (default: 200)")
    add("--seed", type=int, default=0, help="of the random networks (default: 0)")
    growth = "deep networks to measure the gradient's growth on, 0 for none (default: 10)"
    add("--networks", type=int, default=10, help=growth)
    add("--runs", type=Path, metavar="DIR", help="also on the finished runs in this folder")
    run = "only this run, an id or the start of one (default: one of each network with BN or none)"
    add("--run", metavar="ID", help=run)
    add("--layers", default="", help="all, or numbers: 1,13 (default: four, evenly spread)")
    add("--units", type=int, default=2, help="units of each layer (default: 2)")
    add("--json", action="store_true", help="the numbers as JSON, and nothing else")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp theory``: check and print; 1 when a statement that must hold does not."""
    for name, least in (("cases", 0), ("seed", 0), ("networks", 0), ("units", 1)):
        at_least(f"--{name}", getattr(arguments, name), least)
    if arguments.runs is None:
        at_least("--cases", arguments.cases, 1)
        for name in ("run", "layers"):
            expect(not getattr(arguments, name), f"--{name}", "--runs DIR beside it", "none")
    reports = [_on_run(run, arguments) for run in _chosen(arguments)]  # first: they may be refused
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


def _chosen(arguments: argparse.Namespace) -> list[Run]:
    """The runs to check: the one named, or one of each network and norm of ``NORMS``.

    Of several the one with the most steps, then the least seed, then the largest learning rate.
    """
    root, wanted = arguments.runs, arguments.run or ""
    if root is None:
        return []
    finished = [r for r in found(root) if r.state in FINISHED and r.id.startswith(wanted)]
    ids = ", ".join(run.id for run in finished) or "none"
    expect(bool(finished), "--run" if wanted else "--runs", f"finished runs in {root}", ids)
    expect(not wanted or len(finished) == 1, "--run", "one run", ids)
    finished.sort(key=lambda r: (r.state != "done", -r.steps, r.seed, -r.lr, r.id))
    first: dict[tuple[str, str], Run] = {}
    for run in [run for run in finished if run.norm in NORMS] or finished[:1]:
        first.setdefault((run.model, run.norm), run)
    return [first[key] for key in sorted(first)]


def _on_run(run: Run, arguments: argparse.Namespace) -> theory.Report:
    loaded = reload(run.path, run.config)
    model, batch, layers = loaded.model, loaded.inputs, arguments.layers
    last = len(model.layers)
    numbers = list(range(1, last + 1))
    if layers == "":
        numbers = sorted({1 + round(i * (last - 1) / (LAYERS - 1)) for i in range(LAYERS)})
    elif layers != "all":
        named = set(layers.split(","))
        numbers = [number for number in numbers if str(number) in named]
        expected = f"all or numbers from 1 to {last} for {run.id}"
        expect(len(numbers) == len(named), "--layers", expected, layers)
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
