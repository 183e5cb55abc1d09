"""``bnexp theory``: the paper's theorems, checked numerically."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from bnexp import theory
from bnexp.commands.runs import found
from bnexp.errors import UserError
from bnexp.registry import at_least
from bnexp.runs import Run
from bnexp.training.reload import reload
from bnexp.training.run import FINISHED

T = TypeVar("T")

NORMS = ("none", "bn", "noisy_bn")
"""The norms whose runs are checked by default: BN, or nothing in its place."""
LAYERS = 4
"""The number of layers of a network that are checked by default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp theory``."""
    add = parser.add_argument
    add("--cases", type=int, default=200, help="random networks (default: 200)")
    add("--seed", type=int, default=0, help="of the random networks (default: 0)")
    add(
        "--networks",
        type=int,
        default=10,
        help="deep networks to measure the gradient's growth on, 0 for none (default: 10)",
    )
    add("--runs", type=Path, metavar="DIR", help="also on the finished runs in this folder")
    add(
        "--run",
        metavar="ID",
        help="only this run, an id or the start of one (default: one of "
        "each network with BN, noisy BN and none)",
    )
    add("--layers", default="", help="all, or numbers: 1,13 (default: four, evenly spread)")
    add("--units", type=int, default=2, help="units of each layer (default: 2)")
    add("--json", action="store_true", help="the numbers as JSON, and nothing else")  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp theory``: check and print; 1 when a statement that must hold does not."""
    for name, least in (("cases", 0), ("seed", 0), ("networks", 0), ("units", 1)):
        at_least(f"--{name}", getattr(arguments, name), least)
    if arguments.cases == 0 and arguments.runs is None:
        raise UserError("--cases: expected 1 or more where there is no --runs; got 0")
    if arguments.run is not None and arguments.runs is None:
        raise UserError("--run: expected --runs DIR beside it")
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
    print(_json(reports, growths) if arguments.json else _text(reports, growths))
    wrong = [(report, finding) for report in reports for finding in report.wrong]
    for report, finding in wrong:
        what = f"{finding.statement.theorem} ({finding.statement.kind}) on {report.where}"
        print(f"bnexp: does not hold, but must: {what}", file=sys.stderr)
    return 1 if wrong else 0


def _bar(items: Iterable[T], what: str) -> Iterable[T]:
    bar: Iterable[T] = tqdm(items, desc=what, leave=False, file=sys.stderr)
    return bar


def _chosen(arguments: argparse.Namespace) -> list[Run]:
    """The runs to check: the one named, or one of each network and norm of ``NORMS``.

    Of several the one with the most steps, then the least seed, then the largest learning rate.
    """
    root, wanted = arguments.runs, arguments.run
    _numbers(arguments.layers, 1 << 20, "")
    if root is None:
        return []
    finished = [run for run in found(root) if run.state in FINISHED]
    if wanted is not None:
        named = [run for run in finished if run.id.startswith(wanted)]
        if len(named) != 1:
            have = ", ".join(run.id for run in named or finished) or "none"
            raise UserError(f"--run: expected one finished run in {root}; '{wanted}' of {have}")
        return named
    if not finished:
        raise UserError(f"--runs: expected finished runs in {root}; there are none")
    finished.sort(key=lambda r: (r.state != "done", -r.steps, r.seed, -r.lr, r.id))
    first: dict[tuple[str, str], Run] = {}
    for run in [run for run in finished if run.norm in NORMS] or finished[:1]:
        first.setdefault((run.model, run.norm), run)
    return [first[key] for key in sorted(first)]


def _numbers(layers: str, last: int, name: str) -> list[int]:
    """The layers to check of a network of ``last``."""
    if layers == "":
        return sorted({1 + round(i * (last - 1) / (LAYERS - 1)) for i in range(LAYERS)})
    if layers == "all":
        return list(range(1, last + 1))
    parts = [part.strip() for part in layers.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= last for part in parts):
        expected = f"all or numbers from 1 to {last} for {name}" if name else "all or numbers: 1,13"
        raise UserError(f"--layers: expected {expected}; got '{layers}'")
    return sorted({int(part) for part in parts})


def _on_run(run: Run, arguments: argparse.Namespace) -> theory.Report:
    loaded = reload(run.path, run.config)
    model, batch = loaded.model, loaded.inputs
    numbers = _numbers(arguments.layers, len(model.layers), run.id)
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


def _json(reports: Sequence[theory.Report], growths: Sequence[theory.Growth]) -> str:
    plain = {
        "tolerance": theory.TOLERANCE,
        "titles": theory.TITLES,
        "reports": [
            {
                "where": report.where,
                "units": report.units,
                "constant_units_skipped": report.skipped,
                "findings": [finding.plain() for finding in report.findings],
            }
            for report in reports
        ],
        "counterexample_to_4.5": theory.counterexample(),
        "gradient_growth": [asdict(growth) for growth in growths],
    }
    return json.dumps(plain, indent=1)


def _text(reports: Sequence[theory.Report], growths: Sequence[theory.Growth]) -> str:
    lines = []
    for report in reports:
        skipped = f", {report.skipped} constant ones passed over" if report.skipped else ""
        lines.append(f"On {report.where}: {report.units} units{skipped}.")
        lines.append(f"{'':14}{'cases':>6} {'against':>7} {'violation':>9} {'gap':>9}  verdict")
        for number, findings in groupby(report.findings, lambda f: f.statement.theorem):
            lines.append(f"{number} {theory.TITLES[number]}")
            lines += [line for finding in findings for line in _rows(finding)]
        lines.append("")
    example = theory.counterexample()
    first, second = example["optimum"]
    lines += [
        "4.5 on one neuron and three points (of the kind of Dannemann and Junike 2025):",
        f"  at W* = ({first:.3g}, {second:.3g}), the only optimum of the plain network, L^ is "
        f"{example['loss']:.3g} at best over gamma and beta,",
        f"  its gradient by W {example['gradient']:.3g}; elsewhere L^ is {example['least']:.1e}: "
        "W* is no optimum of the BN network.",
    ]
    if growths:
        lines += [
            "",
            "Growth of the squared gradient per layer back at initialisation (Yang et al. 2019);",
            f"float64, mean and standard error over {growths[0].networks} networks:",
            "           depth  width  batch  measured   error predicted",
        ]
    for row in growths:
        limit = "as B -> inf" if row.activation == "relu" else "(B-2)/(B-3)"
        sizes = f"{row.depth:6} {row.width:6} {row.batch:6}  {row.measured:8.4f} {row.error:7.4f}"
        lines.append(f"  {row.activation:7}{sizes} {row.predicted:9.4f} {limit}")
    return "\n".join(lines)


def _rows(finding: theory.Finding) -> list[str]:
    """The finding and its statement; in capitals where it says that something is wrong."""
    statement, verdict = finding.statement, finding.verdict
    if verdict == "does not hold" and (statement.must or statement.kind == "condition"):
        verdict = verdict.upper() if statement.must else "not always"
    sizes = f"{finding.violation:9.1e} {finding.gap:9.1e}"
    counts = f"{finding.cases:6} {finding.against:7} {sizes}  {verdict}"
    about = [f"      ({statement.about})"] if statement.about else []
    return [f"  {statement.kind:12}{counts}", f"      {statement.text}", *about]
