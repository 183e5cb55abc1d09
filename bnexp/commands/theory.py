"""``bnexp theory``: the paper's theorems, checked numerically."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from bnexp.commands.runs import found
from bnexp.errors import UserError
from bnexp.registry import at_least
from bnexp.runs import Run
from bnexp.theory import (
    THEOREMS,
    TOLERANCE,
    Case,
    Counterexample,
    Form,
    Growth,
    Report,
    check_cases,
    counterexample,
    growth,
    inputs_of,
    random_cases,
    real_case,
)
from bnexp.theory.growth import SETTINGS
from bnexp.training.reload import Reloaded, reload
from bnexp.training.run import FINISHED

T = TypeVar("T")

NORMS = ("none", "bn", "noisy_bn")
"""The norms whose runs are checked by default: BN, or nothing in its place."""
LAYERS = 4
"""The number of layers of a network that are checked by default."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp theory``."""
    parser.add_argument("--cases", type=int, default=200, help="random networks (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the random networks (default: 0)")
    parser.add_argument(
        "--networks",
        type=int,
        default=10,
        help="deep networks to measure the growth of the gradient on, 0 for none (default: 10)",
    )
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="also on the finished runs in this folder"
    )
    parser.add_argument(
        "--run",
        metavar="ID",
        help="only this run, an id or the start of one (default: one of each network with BN, "
        "noisy BN and none)",
    )
    parser.add_argument(
        "--layers", default="", help="all, or numbers: 1,13 (default: four, evenly spread)"
    )
    parser.add_argument("--units", type=int, default=2, help="units of each layer (default: 2)")
    parser.add_argument("--json", action="store_true", help="the numbers as JSON, and nothing else")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp theory``: check and print; 1 when a statement that must hold does not."""
    for name, least in (("cases", 0), ("seed", 0), ("networks", 0), ("units", 1)):
        at_least(f"--{name}", getattr(arguments, name), least)
    if arguments.cases == 0 and arguments.runs is None:
        raise UserError("--cases: expected 1 or more where there is no --runs; got 0")
    if arguments.run is not None and arguments.runs is None:
        raise UserError("--run: expected --runs DIR beside it")
    layers = _numbers(arguments.layers)
    chosen = _chosen(arguments) if arguments.runs is not None else []
    reports = [_on_run(run, layers, arguments) for run in chosen]  # first: they may be refused
    if arguments.cases:
        cases = random_cases(arguments.cases, arguments.seed)
        where = f"{arguments.cases} random networks, seed {arguments.seed}"
        reports.insert(0, check_cases(where, _bar(cases, "random networks", arguments.cases)))
    growths = [
        growth(*setting, networks=arguments.networks, seed=arguments.seed)
        for setting in _bar(SETTINGS if arguments.networks else (), "deep networks")
    ]
    example = counterexample()
    if arguments.json:
        print(json.dumps(_plain(reports, example, growths), indent=1))
    else:
        tables = [*map(_table, reports), _example(example), *filter(None, [_growths(growths)])]
        print("\n\n".join(tables))
    wrong = [
        f"{finding.theorem} ({finding.form.kind}) on {report.where}"
        for report in reports
        for finding in report.findings
        if finding.wrong
    ]
    for line in wrong:
        print(f"bnexp: does not hold, but must: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _bar(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    bar: Iterable[T] = tqdm(items, desc=what, total=total, leave=False, file=sys.stderr)
    return bar


def _numbers(layers: str) -> list[int] | str:
    """``all``, the numbers given, or none for the default."""
    if layers in ("", "all"):
        return layers
    parts = [part.strip() for part in layers.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--layers: expected all or numbers such as 1,13; got '{layers}'")
    return sorted({int(part) for part in parts})


def _chosen(arguments: argparse.Namespace) -> list[Run]:
    """The runs to check: the one asked for, or one of each network and norm of ``NORMS``.

    Of several the one with the most steps, then the least seed, then the largest learning rate.
    """
    root, wanted = arguments.runs, arguments.run
    finished = [run for run in found(root) if run.state in FINISHED]
    if wanted is not None:
        named = [run for run in finished if run.id.startswith(wanted)]
        if len(named) != 1:
            have = ", ".join(run.id for run in named or finished) or "none"
            raise UserError(f"--run: expected one finished run in {root}; '{wanted}' of {have}")
        return named
    if not finished:
        raise UserError(f"--runs: expected finished runs in {root}; there are none")
    order = sorted(
        finished, key=lambda run: (run.state != "done", -run.steps, run.seed, -run.lr, run.id)
    )
    first: dict[tuple[str, str], Run] = {}
    for run in [run for run in order if run.norm in NORMS] or order[:1]:
        first.setdefault((run.model, run.norm), run)
    return [first[key] for key in sorted(first)]


def _on_run(run: Run, layers: list[int] | str, arguments: argparse.Namespace) -> Report:
    loaded = reload(run.path, run.config)
    last = len(loaded.model.layers)
    if layers == "all":
        numbers = list(range(1, last + 1))
    elif isinstance(layers, list):
        numbers = layers
        if numbers[-1] > last:
            expected = f"numbers from 1 to {last} for {run.id}"
            raise UserError(f"--layers: expected {expected}; got {numbers[-1]}")
    else:
        numbers = sorted({1 + round(i * (last - 1) / (LAYERS - 1)) for i in range(LAYERS)})
    listed = ",".join(map(str, numbers))
    where = f"{run.id}: {run.norm}, lr {run.lr:g}, step {loaded.step}, layers {listed}"
    return check_cases(where, _cases(run.id, loaded, numbers, arguments.seed), arguments.units)


def _cases(name: str, loaded: Reloaded, numbers: Sequence[int], seed: int) -> Iterator[Case]:
    inputs = inputs_of(loaded.model, numbers, loaded.inputs)
    for number in _bar(numbers, name):
        weight = loaded.initial.own_params[loaded.initial.weight_name(number)]
        yield real_case(
            loaded.model,
            loaded.objective,
            number,
            inputs[number],
            loaded.inputs,
            loaded.targets,
            start=weight.detach(),
            seed=seed + number,
        )


def _plain(
    reports: Sequence[Report], example: Counterexample, growths: Sequence[Growth]
) -> dict[str, object]:
    return {
        "tolerance": TOLERANCE,
        "titles": {theorem.id: theorem.title for theorem in THEOREMS.values()},
        "reports": [
            {
                "where": report.where,
                "units": report.units,
                "constant_units_skipped": report.skipped,
                "findings": [finding.plain() for finding in report.findings],
            }
            for report in reports
        ],
        "counterexample_to_4.5": asdict(example),
        "gradient_growth": [asdict(measured) for measured in growths],
    }


def _table(report: Report) -> str:
    """One report for people."""
    skipped = f", {report.skipped} constant ones passed over" if report.skipped else ""
    lines = [
        f"On {report.where}: {report.units} units{skipped}.",
        f"{'':14}{'cases':>6} {'against':>7} {'violation':>9} {'gap':>9}  verdict",
    ]
    last = ""
    for finding in report.findings:
        if finding.theorem != last:
            last = finding.theorem
            lines.append(f"{last} {THEOREMS[last].title}")
        form = finding.form
        values = (finding.violation, finding.gap) if finding.cases else ()
        sizes = " ".join(f"{value:9.1e}" for value in values) or f"{'-':>9} {'-':>9}"
        counts = f"{finding.cases:6} {finding.against:7}"
        lines.append(f"  {form.kind:12}{counts} {sizes}  {_verdict(finding.verdict, form)}")
        lines.append(f"      {form.statement}")
        if form.about:
            lines.append(f"      ({form.about})")
    return "\n".join(lines)


def _verdict(verdict: str, form: Form) -> str:
    """The verdict; in capitals where it says that something is wrong."""
    if verdict != "does not hold":
        return verdict
    return verdict.upper() if form.must else "not always" if form.kind == "condition" else verdict


def _example(example: Counterexample) -> str:
    first, second = example.optimum
    return (
        "4.5 on one neuron and three points (of the kind of Dannemann and Junike 2025):\n"
        f"  at W* = ({first:.3g}, {second:.3g}), the only optimum of the plain network, L^ is "
        f"{example.loss:.3g} at best over gamma and beta,\n"
        f"  its gradient by W {example.gradient:.3g}; elsewhere L^ is {example.least:.1e}: W* is "
        f"{'no' if example.refutes else 'an'} optimum of the BN network."
    )


def _growths(growths: Sequence[Growth]) -> str:
    if not growths:
        return ""
    lines = [
        "Growth of the squared gradient per layer back at initialisation (Yang et al. 2019);",
        f"float64, mean and standard error over {growths[0].networks} networks:",
        f"  {'':7}{'depth':>6} {'width':>6} {'batch':>6}  {'measured':>8} {'error':>7} "
        f"{'predicted':>9}",
    ]
    for row in growths:
        limit = " as B -> inf" if row.activation == "relu" else " (B-2)/(B-3)"
        lines.append(
            f"  {row.activation:7}{row.depth:6} {row.width:6} {row.batch:6}  {row.measured:8.4f} "
            f"{row.error:7.4f} {row.predicted:9.4f}{limit}"
        )
    return "\n".join(lines)
