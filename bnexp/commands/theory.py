"""``bnexp theory``: the paper's theorems, checked numerically."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bnexp.commands.runs import found
from bnexp.errors import UserError
from bnexp.runs import Run
from bnexp.theory import (
    THEOREMS,
    TOLERANCE,
    Case,
    Form,
    Report,
    check_cases,
    inputs_of,
    random_cases,
)
from bnexp.theory import real_case as case_of
from bnexp.training import FINISHED, Reloaded, reload

NORMS = ("none", "bn", "noisy_bn")
"""Whose runs are checked unless told otherwise: BN, or nothing in its place."""
LAYERS = 4
"""How many layers of a network are checked unless told otherwise."""


@dataclass(frozen=True)
class Asked:
    """What ``bnexp theory`` was asked for; see its ``--help``."""

    cases: int
    seed: int
    runs: Path | None
    run: str | None
    layers: str
    units: int


def run(asked: Asked, *, as_json: bool) -> int:
    """Check, print; returns 0, or 1 when a statement that must hold does not."""
    for name, value, least in (("cases", asked.cases, 0), ("units", asked.units, 1)):
        if value < least:
            raise UserError(f"--{name}: expected {least} or more; got {value}")
    if asked.seed < 0:
        raise UserError(f"--seed: expected 0 or more; got {asked.seed}")
    if asked.cases == 0 and asked.runs is None:
        raise UserError("--cases: expected 1 or more where there is no --runs; got 0")
    layers = _numbers(asked.layers)
    if asked.run is not None and asked.runs is None:
        raise UserError("--run: expected --runs DIR beside it")
    chosen = [] if asked.runs is None else _chosen(found(asked.runs), asked.run, asked.runs)
    reports = [_on_run(one, layers, asked) for one in chosen]  # first: they may be refused
    if asked.cases:
        bar = tqdm(
            random_cases(asked.cases, asked.seed),
            total=asked.cases,
            desc="random networks",
            leave=False,
            file=sys.stderr,
        )
        where = f"{asked.cases} random networks, seed {asked.seed}"
        reports.insert(0, check_cases(where, bar))
    if as_json:
        print(json.dumps(_plain(reports), indent=1))
    else:
        print("\n\n".join(_table(report) for report in reports))
    wrong = [
        f"{finding.theorem} ({finding.form.kind}) on {report.where}"
        for report in reports
        for finding in report.findings
        if finding.wrong
    ]
    for line in wrong:
        print(f"bnexp: does not hold, but must: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _numbers(layers: str) -> list[int] | str:
    """``all``, the numbers given, or none for the default."""
    if layers in ("", "all"):
        return layers
    parts = [part.strip() for part in layers.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--layers: expected all or numbers such as 1,13; got '{layers}'")
    return sorted({int(part) for part in parts})


def _chosen(there: Sequence[Run], wanted: str | None, root: Path) -> list[Run]:
    """The runs to check: the one asked for, or one of each network and norm of ``NORMS``.

    Of several the one with the most steps, then the least seed, then the largest learning rate.
    """
    finished = [one for one in there if one.state in FINISHED]
    if wanted is not None:
        named = [one for one in finished if one.id.startswith(wanted)]
        if len(named) != 1:
            have = ", ".join(one.id for one in named or finished) or "none"
            raise UserError(f"--run: expected one finished run in {root}; '{wanted}' of {have}")
        return named
    if not finished:
        raise UserError(f"--runs: expected finished runs in {root}; there are none")
    order = sorted(
        finished, key=lambda one: (one.state != "done", -one.steps, one.seed, -one.lr, one.id)
    )
    first: dict[tuple[str, str], Run] = {}
    for one in [one for one in order if one.norm in NORMS] or order[:1]:
        first.setdefault((one.model, one.norm), one)
    return [first[key] for key in sorted(first)]


def _on_run(one: Run, layers: list[int] | str, asked: Asked) -> Report:
    loaded = reload(one.path, one.config)
    last = len(loaded.model.layers)
    if layers == "all":
        numbers = list(range(1, last + 1))
    elif isinstance(layers, list):
        numbers = layers
        if numbers[-1] > last:
            raise UserError(f"--layers: expected numbers from 1 to {last} for {one.id}; "
                            f"got {numbers[-1]}")  # fmt: skip
    else:
        numbers = sorted({1 + round(i * (last - 1) / (LAYERS - 1)) for i in range(LAYERS)})
    where = f"{one.id}: {one.norm}, lr {one.lr:g}, step {loaded.step}, layers " + ",".join(
        map(str, numbers)
    )
    bar = tqdm(numbers, desc=one.id, unit="layer", leave=False, file=sys.stderr)
    return check_cases(where, _cases(loaded, numbers, bar, asked.seed), asked.units)


def _cases(
    loaded: Reloaded, numbers: Sequence[int], bar: Iterable[int], seed: int
) -> Iterator[Case]:
    model = loaded.model
    inputs = inputs_of(model, numbers, loaded.inputs)
    for number in bar:
        start = loaded.initial.layers[number].affine.weight.detach()
        yield case_of(
            model,
            loaded.objective,
            number,
            inputs[number],
            loaded.targets,
            start=start,
            seed=seed + number,
        )


def _plain(reports: Sequence[Report]) -> dict[str, object]:
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
        numbers = f"{finding.cases:6} {finding.against:7} "
        numbers += (
            f"{finding.violation:9.1e} {finding.gap:9.1e}"
            if finding.cases
            else f"{'-':>9} {'-':>9}"
        )
        lines.append(f"  {form.kind:12}{numbers}  {_said(finding.verdict, form)}")
        lines.append(f"      {form.statement}")
        if form.about:
            lines.append(f"      ({form.about})")
    return "\n".join(lines)


def _said(verdict: str, form: Form) -> str:
    """The verdict; in capitals where it says that something is wrong."""
    if verdict != "does not hold":
        return verdict
    return verdict.upper() if form.must else "not always" if form.kind == "condition" else verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp theory``."""
    parser.add_argument("--cases", type=int, default=200, help="random networks (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the random networks (default: 0)")
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
    """Run ``bnexp theory``; returns the exit code."""
    names = ("cases", "seed", "runs", "run", "layers", "units")
    asked = Asked(**{name: getattr(arguments, name) for name in names})
    return run(asked, as_json=arguments.json)
