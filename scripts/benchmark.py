"""What training and measuring cost, as ratios of times that are measured side by side.

    python scripts/benchmark.py [--device cpu] [--threads N] [--seconds 3] [--out FILE.json]
                                [--document docs/performance.md]

What is compared takes turns in one process, so that whatever else the machine does meets both; a
ratio is the median over the turns. Prints a Markdown table; with --document it also replaces the
table between the markers of that page.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer

from bnexp.config import check, compose
from bnexp.models.network import Chain, Network
from bnexp.probes.base import leaving_no_trace
from bnexp.runs import TableWriter, write_atomic
from bnexp.training.build import trainer_of
from bnexp.training.loop import Trainer
from bnexp.training.machine import environment, keep_freed_memory
from bnexp.training.run import identify

NETWORKS = {
    "vgg": ("model=vgg", "model.depth=16", "model.width=0.25", "batch_size=128", "data=digits"),
    "dln": ("model=dln",),
}
NORMS = ("none", "bn")
SCHEDULE = 100
"""The paper measures the VGG every so many steps."""

MARKERS = ("<!-- scripts/benchmark.py -->\n", "<!-- end -->\n")

Work = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One comparison: ``ratio`` of the seconds of ``what`` to those of ``against``."""

    network: str
    what: str
    against: str
    ratio: float
    reach: float | None
    seconds: float
    trials: int


def compare(one: Work, other: Work, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of one call of each, in turns for about ``seconds`` in all; at least three turns."""
    threads = torch.get_num_threads()
    timers = [Timer("work()", globals={"work": w}, num_threads=threads) for w in (one, other)]
    calls = [max(1, round(0.05 / timer.timeit(1).mean)) for timer in timers]
    times: tuple[list[float], list[float]] = ([], [])
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times[0]) < 3:
        for timer, number, taken in zip(timers, calls, times, strict=True):
            taken.append(timer.timeit(number).mean)
    return times


class Bench:
    """One network at the start of a run, and what can be timed of it."""

    def __init__(self, name: str, norm: str, device: str) -> None:
        options = [*NETWORKS[name], f"norm={norm}", "measure.every=1", f"device={device}"]
        job = identify(check(compose([*options, "probes=paper", "progress=false"])))
        self.trainer, _ = trainer_of(job.config, job.device)
        self.model, self.objective = self.trainer.setting.model, self.trainer.setting.objective
        self.probes = {probe.name: probe for probe in self.trainer.probes}
        first = self.trainer.batches.at(0)
        self.batch, self.number = (first.inputs, first.targets), 0

    def step(self, *names: str, trainer: Trainer | None = None) -> Work:
        """A training step with the probes ``names`` due; rows are thrown away."""
        trainer = trainer or self.trainer
        probes = [self.probes[name] for name in names]

        def work() -> None:
            self.number += 1
            trainer.probes = probes
            trainer.step(self.number, _discard)

        return work

    def by_hand(self) -> Work:
        """The training step as one writes it by hand, on the same network and batches."""
        model, optimizer, batches = self.model, self.trainer.optimizer, self.trainer.batches
        decay = self.objective.weight_decay / 2
        weights = [model.own_params[name] for name in model.weight_names()]

        def work() -> None:
            self.number += 1
            batch = batches.at(self.number)
            loss = F.cross_entropy(model(batch.inputs), batch.targets)
            loss = loss + decay * torch.stack([w.square().sum() for w in weights]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            assert torch.isfinite(loss)  # every training loop looks at its loss

        return work

    def data(self) -> None:
        self.number += 1
        self.trainer.batches.at(self.number)

    def evaluate(self) -> None:
        """One forward and backward pass."""
        self.model.evaluate(self.objective, *self.batch)

    def landscape(self) -> Work:
        """The probe at all its points, under its guard."""
        step = self.trainer._forward_backward(0, [])
        step.params = {name: p.detach().clone() for name, p in step.params.items()}

        def work() -> None:
            with leaving_no_trace(self.model):
                self.probes["landscape"].before_update(step)

        return work

    def shift(self, method: Any, model: Network) -> Work:
        """Definition 2.1 of all layers after an update, by ``method`` of ``model``."""
        step = self.trainer._forward_backward(0, [])
        old = {name: p.detach().clone() for name, p in step.params.items()}
        new = {name: p - step.lr * step.grads[name] for name, p in old.items()}
        numbers = list(model.layers)[1:]

        def work() -> None:
            with leaving_no_trace(model):
                method(model, self.objective, *self.batch, old, new, numbers)

        return work

    def hvp(self, method: Any) -> Work:
        """One Hessian-vector product at a point that is there."""
        params = {name: p.detach().clone() for name, p in self.model.own_params.items()}
        with leaving_no_trace(self.model):
            there = method(self.model, self.objective, *self.batch, params)
        vector = [torch.ones_like(part) for part in there.gradient]
        return lambda: there.hvp(vector)

    def tables(self, folder: Path) -> Work:
        """The rows of ten measurements of all probes, written as a checkpoint writes them."""
        rows: list[Any] = []
        self.trainer.probes = list(self.probes.values())
        self.trainer.step(0, rows.append)
        writer, first = TableWriter(folder), 0

        def work() -> None:
            nonlocal first
            for step in range(first, first + 10):
                for tables in rows:
                    for table, columns in tables.items():
                        count = len(columns["step"])
                        writer.add(table, {**columns, "step": [step] * count})
            first += 10
            writer.flush()

        return work


def _discard(_rows: Any) -> None:
    """Where rows go that nobody reads."""


Comparison = tuple[str, str, Work, Work, float | None, Callable[[float], float] | float]
"""What, against what, both as work, the ratio that is wanted at most, and how often the second
counts (or a function of the ratio)."""


def of_vgg(bench: Bench, folder: Path) -> Iterator[Comparison]:
    """Held against the loop written by hand, the bare step and the definition."""
    bare, hand = bench.step(), bench.by_hand()
    yield "bare training step", "a loop by hand", bare, hand, 1.05, 1
    yield "data", "a loop by hand", bench.data, hand, 0.02, 1
    works = [bench.shift(m, bench.model) for m in (type(bench.model).mixed_gradients, direct)]
    yield "Definition 2.1, all layers", "layer by layer", *works, 0.6, 1
    reaches = (1.05, 1.1, 1.25, 0.01)
    for comparison, reach in zip(of_probes(bench, folder), reaches, strict=True):
        yield *comparison[:4], reach, comparison[5]


def of_dln(bench: Bench, folder: Path) -> Iterator[Comparison]:
    """Held against the passes on all samples; no probe is short beside so short a step."""
    yield from of_probes(bench, folder)
    chain = Chain(bench.model.stages.values())
    setting = replace(bench.trainer.setting, model=chain)
    optimizer = torch.optim.SGD(chain.optimised(), lr=1e-6, foreach=True)
    samples = Trainer(setting, bench.trainer.batches, optimizer, [], bench.trainer.steps)
    own = type(bench.model)
    yield "bare training step", "on samples", bench.step(), bench.step(trainer=samples), 0.1, 1
    works = bench.shift(own.mixed_gradients, bench.model), bench.shift(direct, chain)
    yield "Definition 2.1, all layers", "layer by layer, on samples", *works, 0.05, 1
    works = bench.hvp(own.second_order), bench.hvp(Network.second_order)
    yield "Hessian-vector product", "on samples", *works, None, 1


def of_probes(bench: Bench, folder: Path) -> Iterator[Comparison]:
    """What the probes cost beside a step without them."""
    bare, etas = bench.step(), len(bench.probes["landscape"].options.etas)
    read, every = bench.step("moments", "activations"), bench.step(*bench.probes)
    yield "moments + activations", "a bare step", read, bare, None, 1
    yield "landscape, per eta", "a pass", bench.landscape(), bench.evaluate, None, etas
    share = f"all probes every {SCHEDULE} steps", "training without"
    yield *share, every, bare, None, lambda ratio: 1 + (ratio - 1) / SCHEDULE
    yield "writing tables", "the steps meanwhile", bench.tables(folder), bare, None, 10 * SCHEDULE


direct = Network.mixed_gradients
"""Definition 2.1 the direct way: a whole forward and backward pass per layer."""


def help_row() -> Row:
    """``bnexp --help`` against one second: the median of five."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        command = [sys.executable, "-m", "bnexp.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return Row("-", "bnexp --help", "one second", median(times), 1.0, median(times), len(times))


def table(rows: list[Row], machine: dict[str, Any]) -> str:
    """The rows and the machine as Markdown."""
    packages = machine["packages"]
    lines = [
        f"{machine['device_name']}, {machine['threads']} threads of {machine['cores']} cores, "
        f"{machine['platform']}, torch {packages['torch']}, Python {machine['python']}.",
        "",
        "| network | what | measured against | ratio | wanted | takes | trials |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        wanted = "" if row.reach is None else f"<= {row.reach:g}"
        missed = row.reach is not None and row.ratio > row.reach
        ratio = f"**{row.ratio:.3g}**" if missed else f"{row.ratio:.3g}"
        lines.append(
            f"| {row.network} | {row.what} | {row.against} | {ratio} | {wanted} "
            f"| {1000 * row.seconds:.2f} ms | {row.trials} |"
        )
    return "\n".join(lines) + "\n"


def fill(document: Path, text: str) -> None:
    """Put ``text`` between the markers of ``document``."""
    start, end = MARKERS
    pattern = re.escape(start) + ".*?" + re.escape(end)
    content, count = re.subn(
        pattern, lambda _: f"{start}\n{text}\n{end}", document.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"--document {document}: expected {start.strip()} and {end.strip()} once")
    write_atomic(document, content)


def main() -> int:
    """Measure and print; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, help="default: torch's")
    options.add_argument("--seconds", type=float, default=3, help="per comparison; default: 3")
    options.add_argument("--only", default="", help="networks whose name starts so: dln, 'vgg bn'")
    options.add_argument("--out", type=Path, help="where to write the numbers as JSON")
    options.add_argument("--document", type=Path, help="a page whose table to replace")
    given = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    keep_freed_memory()
    rows = []
    for name, norm in product(NETWORKS, NORMS):
        network = f"{name} {norm}"
        if not network.startswith(given.only):
            continue
        comparisons = {"vgg": of_vgg, "dln": of_dln}[name]
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(name, norm, given.device)
            for what, against, *works, reach, scale in comparisons(bench, Path(folder)):
                one, other = compare(*works, given.seconds)
                ratio = median(a / b for a, b in zip(one, other, strict=True))
                ratio = scale(ratio) if callable(scale) else ratio / scale
                rows.append(Row(network, what, against, ratio, reach, median(one), len(one)))
                print(f"{network} {what}: {ratio:.3g}", file=sys.stderr)
    rows.append(help_row())
    machine = environment(torch.device(given.device), "")
    print(text := table(rows, machine), end="")
    if given.out is not None:
        numbers = {"machine": machine, "rows": [asdict(row) for row in rows]}
        write_atomic(given.out, json.dumps(numbers, indent=2) + "\n")
    if given.document is not None:
        fill(given.document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
