"""What training and measuring cost, as ratios of times that are measured side by side.

    python scripts/benchmark.py [--device cpu] [--threads N] [--seconds 3] [--only dln]
                                [--document docs/performance.md]

What is compared takes turns in one process, so that whatever else the machine does meets both; a
ratio is the median over the turns. Prints a Markdown table; with --document it also replaces the
table between the markers of that page.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch.func import functional_call
from torch.utils.benchmark import Timer

from bnexp import measure
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

SHARE = f"all probes every {SCHEDULE} steps"
WANTED = {
    ("vgg", "bare training step"): 1.05,
    ("vgg", "data"): 0.02,
    ("vgg", "Definition 2.1, all layers"): 0.6,
    ("vgg", "moments + activations"): 1.05,
    ("vgg", "landscape, per eta"): 1.1,
    ("vgg", SHARE): 1.25,
    ("vgg", "writing tables"): 0.01,
    ("dln", "bare training step"): 0.1,  # no probe is short beside so short a step
    ("dln", "Definition 2.1, all layers"): 0.05,
    ("resnet18", "bnexp.measure, landscape"): 1.5,  # finding the layers is a forward pass
    ("-", "bnexp --help"): 1.0,
}
"""The largest ratio that is wanted of a network's measurement."""

Work = Callable[[], Any]


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
            trainer.step(self.number, lambda _rows: None)

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


Comparison = tuple[str, str, Work, Work, float]
"""What, against what, both as work, and how often the second counts."""


def of_vgg(bench: Bench, folder: Path) -> Iterator[Comparison]:
    """Held against the loop written by hand, the bare step and the definition."""
    bare, hand = bench.step(), bench.by_hand()
    yield "bare training step", "a loop by hand", bare, hand, 1
    yield "data", "a loop by hand", bench.data, hand, 1
    works = [bench.shift(m, bench.model) for m in (type(bench.model).mixed_gradients, DIRECT)]
    yield "Definition 2.1, all layers", "layer by layer", *works, 1
    yield from of_probes(bench, folder)


def of_dln(bench: Bench, folder: Path) -> Iterator[Comparison]:
    """Held against the passes on all samples."""
    yield from of_probes(bench, folder)
    chain = Chain(bench.model.stages.values())
    setting = replace(bench.trainer.setting, model=chain)
    optimizer = torch.optim.SGD(chain.optimised(False), lr=1e-6, foreach=True)
    samples = Trainer(setting, bench.trainer.batches, optimizer, [], bench.trainer.steps)
    own = type(bench.model)
    yield "bare training step", "on samples", bench.step(), bench.step(trainer=samples), 1
    works = bench.shift(own.mixed_gradients, bench.model), bench.shift(DIRECT, chain)
    yield "Definition 2.1, all layers", "layer by layer, on samples", *works, 1
    works = bench.hvp(own.second_order), bench.hvp(Network.second_order)
    yield "Hessian-vector product", "on samples", *works, 1


def of_probes(bench: Bench, folder: Path) -> Iterator[Comparison]:
    """What the probes cost beside a step without them."""
    bare, etas = bench.step(), len(bench.probes["landscape"].options.etas)
    read, every = bench.step("moments", "activations"), bench.step(*bench.probes)
    yield "moments + activations", "a bare step", read, bare, 1
    yield (
        "landscape, per eta",
        "a pass",
        bench.landscape(),
        partial(bench.model.evaluate, bench.objective, *bench.batch),
        etas,
    )
    yield SHARE, "training without", every, bare, SCHEDULE
    yield "writing tables", "the steps meanwhile", bench.tables(folder), bare, 10 * SCHEDULE


DIRECT = Network.mixed_gradients
"""Definition 2.1 the direct way: a whole forward and backward pass per layer."""


def of_own(device: str) -> tuple[Work, Work]:
    """`bnexp.measure` of the landscape of torchvision's ResNet-18, and the same written by hand."""
    model = torchvision.models.resnet18(num_classes=10).to(device)
    x, y = torch.randn(16, 3, 64, 64, device=device), torch.randint(0, 10, (16,), device=device)
    lr, etas = 0.1, [0.5, 1, 2, 4]

    def gradient(point: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        loss = F.cross_entropy(functional_call(model, dict(point), (x,)), y)
        return torch.autograd.grad(loss, list(point.values()))

    def by_hand() -> None:
        own = dict(model.named_parameters())
        here = gradient(own)
        for eta in etas:
            moved = zip(own.items(), here, strict=True)
            point = {n: (p - eta * lr * g).detach().requires_grad_() for (n, p), g in moved}
            change = torch._foreach_sub(gradient(point), here)
            float(torch.stack(torch._foreach_norm(change)).norm())

    return partial(measure, model, F.cross_entropy, (x, y), {"landscape": {"etas": etas}}), by_hand


def help_times() -> list[float]:
    """Seconds until ``bnexp --help`` has answered, five times."""
    command = [sys.executable, "-m", "bnexp.cli", "--help"]
    work = partial(subprocess.run, command, check=True, capture_output=True)
    return [Timer("work()", globals={"work": work}).timeit(1).mean for _ in range(5)]


def row(network: str, what: str, against: str, ratio: float, times: Sequence[float]) -> str:
    """One comparison as a row of the table: the ratio of ``times`` to those of ``against``."""
    wanted = WANTED.get((network.split()[0], what))
    bold = "**" if wanted is not None and ratio > wanted else ""
    print(f"{network} {what}: {ratio:.3g}", file=sys.stderr)
    return (
        f"| {network} | {what} | {against} | {bold}{ratio:.3g}{bold} "
        f"| {'' if wanted is None else f'<= {wanted:g}'} "
        f"| {1000 * median(times):.2f} ms | {len(times)} |"
    )


def heading(machine: Mapping[str, Any]) -> str:
    """What the table was measured on, and its first lines."""
    return (
        f"{machine['device_name']}, {machine['threads']} threads of {machine['cores']} cores, "
        f"{machine['platform']}, torch {machine['packages']['torch']}, "
        f"Python {machine['python']}.\n\n"
        "| network | what | measured against | ratio | wanted | takes | trials |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )


def fill(document: Path, text: str, script: str = "benchmark") -> None:
    """Put ``text`` between the markers of ``document`` for what ``script`` measures."""
    start, end = f"<!-- scripts/{script}.py -->\n", "<!-- end -->\n"
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
            for what, against, *works, count in comparisons(bench, Path(folder)):
                one, other = compare(*works, given.seconds)
                ratio = median(a / b for a, b in zip(one, other, strict=True))
                ratio = 1 + (ratio - 1) / count if what == SHARE else ratio / count
                rows.append(row(network, what, against, ratio, one))
    if "resnet18".startswith(given.only):
        one, other = compare(*of_own(given.device), given.seconds)
        ratio = median(a / b for a, b in zip(one, other, strict=True))
        rows.append(row("resnet18", "bnexp.measure, landscape", "by hand", ratio, one))
    times = help_times()
    rows.append(row("-", "bnexp --help", "one second", median(times), times))
    machine = environment(torch.device(given.device), "")
    print(text := "\n".join([heading(machine), *rows, ""]), end="")
    if given.document is not None:
        fill(given.document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
