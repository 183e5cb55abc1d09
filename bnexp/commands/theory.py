"""``bnexp theory``: the paper's theorems, checked numerically."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import pandas as pd
from tqdm import tqdm

from bnexp import theory
from bnexp.commands.runs import found
from bnexp.registry import at_least, expect
from bnexp.runs import Run
from bnexp.training.reload import reload
from bnexp.training.run import FINISHED

T = TypeVar("T")

NORMS = ("none", "bn", "noisy_bn")
"""The norms whose runs are checked by default: BN, or nothing in its place."""
LAYERS = 4
"""The number of layers of a network that are checked by default."""


# fmt: off
def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp theory``."""
    add = parser.add_argument
    add("--cases", type=int, default=200, help="random networks (default: 200)")
    add("--seed", type=int, default=0, help="of the random networks (default: 0)")
    add("--networks", type=int, default=10,
        help="deep networks to measure the gradient's growth on, 0 for none (default: 10)")
    add("--runs", type=Path, metavar="DIR", help="also on the finished runs in this folder")
    add("--run", metavar="ID", help="only this run, an id or the start of one "
        "(default: one of each network with BN, noisy BN and none)")
    add("--layers", default="", help="all, or numbers: 1,13 (default: four, evenly spread)")
    add("--units", type=int, default=2, help="units of each layer (default: 2)")
    add("--json", action="store_true", help="the numbers as JSON, and nothing else")
# fmt: on


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
        numbers = _bar(range(arguments.cases), "random networks")
        cases = (theory.random_case(arguments.seed, number) for number in numbers)
        where = f"{arguments.cases} random networks, seed {arguments.seed}"
        reports.insert(0, theory.check_cases(where, cases))
    growths = [
        theory.growth(*setting, networks=arguments.networks, seed=arguments.seed)
        for setting in _bar(theory.SETTINGS if arguments.networks else (), "deep networks")
    ]
    if arguments.json:
        plain = {
            "tolerance": theory.TOLERANCE,
            "titles": theory.TITLES,
            "reports": [report._asdict() for report in reports],
            "counterexample_to_4.5": theory.counterexample(),
            "gradient_growth": [growth._asdict() for growth in growths],
        }
        print(json.dumps(plain, indent=1))
    else:
        print(_text(reports, growths, arguments.networks))
    wrong = [(report.where, finding) for report in reports for finding in report.wrong]
    for where, finding in wrong:
        what = f"{finding['theorem']} ({finding['kind']}) on {where}"
        print(f"bnexp: does not hold, but must: {what}", file=sys.stderr)
    return 1 if wrong else 0


def _bar(items: Iterable[T], what: str) -> Iterable[T]:
    bar: Iterable[T] = tqdm(items, desc=what, leave=False, file=sys.stderr)
    return bar


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
        named = {number for number in numbers if str(number) in layers.split(",")}
        numbers = sorted(named)
        expected = f"all or numbers from 1 to {last} for {run.id}"
        expect(len(named) == len(set(layers.split(","))), "--layers", expected, layers)
    inputs = theory.inputs_of(model, numbers, batch)
    cases = (
        theory.real_case(
            model, loaded.objective, number, inputs[number], batch, loaded.targets,
            start=loaded.initial.own_params[model.weight_name(number)].detach(),
            seed=arguments.seed + number,
        )
        for number in _bar(numbers, run.id)
    )  # fmt: skip
    listed = ",".join(map(str, numbers))
    where = f"{run.id}: {run.norm}, lr {run.lr:g}, step {loaded.step}, layers {listed}"
    return theory.check_cases(where, cases, arguments.units)


def _text(reports: Sequence[theory.Report], growths: Sequence[theory.Growth], nets: int) -> str:
    """For people; a verdict in capitals says that something is wrong."""
    lines = []
    for report in reports:
        constant = report.constant_units_skipped
        lines.append(f"On {report.where}: {report.units} units, {constant} constant ones skipped.")
        lines.append(f"{'':14}{'cases':>6} {'against':>7} {'violation':>9} {'gap':>9}  verdict")
        for number, findings in groupby(report.findings, lambda finding: finding["theorem"]):
            lines.append(f"{number} {theory.TITLES[number]}")
            for f in findings:
                sizes = " ".join(
                    f"{'-':>9}" if f[k] is None else f"{f[k]:9.1e}" for k in ("violation", "gap")
                )
                verdict = f["verdict"].upper() if f["must"] and f["against"] else f["verdict"]
                lines.append(f"  {f['kind']:12}{f['cases']:6} {f['against']:7} {sizes}  {verdict}")
                lines += [f"      {f['text']}", *([f"      ({f['about']})"] if f["about"] else [])]
        lines.append("")
    example = theory.counterexample()
    lines += [
        "4.5 on one neuron and three points (of the kind of Dannemann and Junike 2025): at W* =",
        "({:.3g}, {:.3g}), the only optimum of the plain network,".format(*example["optimum"])
        + f" L^ is {example['loss']:.3g} at best over gamma and beta,",
        f"its gradient by W {example['gradient']:.3g}; elsewhere L^ is {example['least']:.1e}: "
        "W* is no optimum of the BN network.",
    ]
    if growths:
        lines += [
            "",
            "Growth of the squared gradient per layer back at initialisation (Yang et al. 2019);",
            f"float64, mean and standard error over {nets} networks; predicted: (B-2)/(B-3), with "
            "ReLU as B -> inf:",
            pd.DataFrame(growths).to_string(index=False, float_format="{:.4f}".format),
        ]
    return "\n".join(lines)
