"""What is timed against what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.bench.machine import operations, product_rate
from bnexp.bench.timing import side_by_side
from bnexp.config import check, compose
from bnexp.models import Network
from bnexp.probes import Probe, Rows, Step
from bnexp.probes.base import leaving_no_trace
from bnexp.training import identify
from bnexp.training.joined import Joined, joinable
from bnexp.training.loop import Trainer
from bnexp.training.run import trainer_of

SCHEDULE = 100
"""The paper measures the VGG every so many steps."""

SETTINGS = {
    "vgg16": ("model=vgg16", "model.width=0.25", "batch_size=128", "data=digits"),
    "dln": ("model=dln",),
}


@dataclass(frozen=True)
class Row:
    """One comparison: seconds of ``what`` over seconds of ``against``; at most ``reach`` is wanted.

    Attributes:
        share: what the seconds are divided by beyond ``against``, such as the number of etas.
        unit: of ``seconds`` and ``against_seconds``: ``s``, or ``bytes`` in a comparison of memory.
    """

    setting: str
    what: str
    against: str
    seconds: float
    against_seconds: float
    reach: float | None
    share: float = 1.0
    unit: str = "s"

    @property
    def ratio(self) -> float:
        """The measured ratio."""
        return self.seconds / (self.against_seconds * self.share)

    @property
    def reached(self) -> bool | None:
        """Whether it is what is wanted; None where nothing is."""
        return None if self.reach is None else self.ratio <= self.reach


def make_trainer(*overrides: str) -> Trainer:
    """A trainer as ``bnexp train`` would make it, all the paper's probes on at every step."""
    common = ("progress=false", "measure.every=1", "out=/nowhere")
    config = check(compose([*common, *overrides]))
    trainer = trainer_of(identify(config))[0]
    if joinable([trainer]):
        Joined([trainer])
    return trainer


class Bench:
    """One network at step 0, and what can be timed of it."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.model: Network = trainer.setting.model
        self.objective = trainer.setting.objective
        self.batch = trainer.batches.at(0)
        self.probes = {probe.name: probe for probe in trainer.probes}
        self.seen = self._seen()
        self._number = 0

    def _seen(self) -> Step:
        wanted = [p for p in self.probes.values() if p.name in ("moments", "activations")]
        seen = self.trainer._pass(0, wanted)
        lr = self.trainer.setting.lr
        after = {name: p.detach() - lr * seen.grads[name] for name, p in seen.params.items()}
        return replace(seen, params=_copies(seen.params), new_params=after)

    def one_pass(self) -> None:
        """A forward and a backward pass."""
        self.objective.loss_and_grads(self.model, self.batch.inputs, self.batch.targets)

    def measure(self, name: str) -> Callable[[], Rows]:
        """One measurement of the probe ``name``, under its guard."""
        probe: Probe = self.probes[name]

        def work() -> Rows:
            if probe.passive:
                return probe.before_update(self.seen)
            with leaving_no_trace(self.model):
                if probe.wants_update:
                    return probe.after_update(self.seen)
                return probe.before_update(self.seen)

        return work

    def measure_apart(self, name: str) -> Callable[[], Rows]:
        """As `measure`, as for a network whose passes cannot be joined."""
        joined = self.measure(name)

        def work() -> Rows:
            with patch("bnexp.objective.streamable", return_value=False):
                return joined()

        return work

    def step(self, names: Sequence[str] = ()) -> Callable[[], None]:
        """A training step of the loop with the probes ``names`` due; rows are thrown away."""
        probes = [self.probes[name] for name in names]

        def work() -> None:
            self._number += 1
            self.trainer.probes = probes
            self.trainer.step(self._number, _thrown_away)

        return work

    def direct_shift(self) -> None:
        """Definition 2.1 the direct way: one whole forward and backward pass per layer."""
        new = self.seen.new_params
        assert new is not None
        with leaving_no_trace(self.model):
            for number in self.model.layers.numbers():
                mixed = {
                    name: new[name] if self.model.layer_of(name) < number else value
                    for name, value in self.seen.params.items()
                }
                self.objective.loss_and_grads(
                    self.model, self.batch.inputs, self.batch.targets, params=mixed
                )

    def points(self, etas: int) -> None:
        """So many passes one after the other."""
        for _ in range(etas):
            self.one_pass()


def _thrown_away(rows: Rows) -> None:
    """Where rows go that nobody reads."""


def _copies(params: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in params.items()}


def minimal_step(trainer: Trainer) -> Callable[[], None]:
    """The training step as one writes it by hand, on the same network, batches and optimiser."""
    model, optimizer, batches = trainer.setting.model, trainer.optimizer, trainer.batches
    vgg = trainer.setting.objective.data_loss == "cross_entropy"
    decay = trainer.setting.objective.weight_decay
    weights = [model.own_params[name] for name in model.weight_names()]
    number = 0

    def work() -> None:
        nonlocal number
        number += 1
        batch = batches.at(number)
        out = model(batch.inputs)
        if vgg:
            loss = F.cross_entropy(out, batch.targets)
        else:
            loss = (out - batch.targets).square().sum() / 2
        if decay:
            loss = loss + decay / 2 * torch.stack([w.square().sum() for w in weights]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if not torch.isfinite(loss):  # every training loop looks at its loss
            raise RuntimeError("diverged")

    return work


def ratios(device: str, seconds: float) -> Iterator[Row]:
    """Every comparison, each timed for about ``seconds``."""
    for setting, overrides in SETTINGS.items():
        for norm in ("none", "bn"):
            where = f"{setting} {norm}"
            bench = Bench(make_trainer(*overrides, f"norm={norm}", f"device={device}"))
            yield from _of(bench, where, setting == "vgg16", seconds)


def _of(bench: Bench, where: str, vgg: bool, seconds: float) -> Iterator[Row]:
    trainer, layers = bench.trainer, len(bench.model.layers)
    etas = len(trainer_etas(bench))
    found = side_by_side(
        {
            "step": bench.step(),
            "minimal": minimal_step(trainer),
            "data": lambda: trainer.batches.at(bench._number),
            "observed": bench.step(("moments", "activations")),
        },
        seconds=seconds,
    )
    step, minimal = found["step"], found["minimal"]
    yield Row(where, "bare training step", "a minimal loop", step, minimal, 1.05)
    if trainer.batches.at(0).inputs.is_cuda:
        cost = side_by_side(
            {str(on): _deterministic(bench.step(), on) for on in (True, False)}, seconds=seconds
        )
        what = "deterministic=true"
        yield Row(where, what, "deterministic=false", cost["True"], cost["False"], None)
    yield Row(where, "data", "that loop's step", found["data"], minimal, 0.02)
    yield Row(where, "moments + activations", "a bare step", found["observed"], step, 1.05)
    found = side_by_side(
        {"landscape": bench.measure("landscape"), "pass": bench.one_pass}, seconds=seconds
    )
    landscape, one = found["landscape"], found["pass"]
    if vgg:
        yield Row(where, "landscape, per eta", "forward + backward", landscape, one, 1.10, etas)
    else:
        what = f"landscape, {etas} etas"
        yield Row(where, what, "as many passes in turn", landscape, one, 0.6, etas)
    found = side_by_side(
        {"shift": bench.measure("gradient_shift"), "direct": bench.direct_shift},
        seconds=seconds,
        least=3,
    )
    shift, direct = found["shift"], found["direct"]
    reach = 0.40 if vgg else (0.20 if where.endswith("bn") else 0.37)
    what = f"gradient_shift, {layers} layers"
    yield Row(where, what, "a whole pass per layer", shift, direct, reach)
    if vgg:
        extra = landscape + shift + max(0.0, found_observed(step, bench, seconds))
        total = SCHEDULE * step + extra
        what = f"all probes every {SCHEDULE} steps"
        yield Row(where, what, "training without", total, SCHEDULE * step, 1.25)
    used = operations(bench.one_pass)
    dtype = bench.batch.inputs.dtype
    limit = used / product_rate(dtype, bench.batch.inputs.device)
    yield Row(where, "bare training step", "its products at full rate", step, limit, None)


def _deterministic(work: Callable[[], None], on: bool) -> Callable[[], None]:
    """``work`` with only kernels that give the same numbers each time, or with any."""

    def done() -> None:
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(on)
        try:
            work()
        finally:
            torch.use_deterministic_algorithms(before)

    return done


def trainer_etas(bench: Bench) -> Sequence[float]:
    """The grid of the landscape probe."""
    options: Any = bench.probes["landscape"].options
    return list(options.etas)


def found_observed(step: float, bench: Bench, seconds: float) -> float:
    """Seconds that a step takes longer with all passive probes and train on."""
    names = ("train", "moments", "activations")
    return side_by_side({"on": bench.step(names)}, seconds=seconds / 2)["on"] - step


def growth(device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """How cost grows: three points for each of batch size, width, depth, etas, layers."""
    vgg = ("model=vgg16", "data=digits", "norm=bn", f"device={device}")
    base = ("model.width=0.25", "batch_size=128")

    def timed(kind: str, value: object, work: Callable[[], object]) -> dict[str, Any]:
        found = side_by_side({kind: work}, seconds=seconds, least=3)[kind]
        return {"of": kind, "at": value, "seconds": found}

    for size in (64, 128, 256):
        bench = Bench(make_trainer(*vgg, "model.width=0.25", f"batch_size={size}"))
        yield timed("a step by batch size", size, bench.step())
    for width in (0.125, 0.25, 0.5):
        bench = Bench(make_trainer(*vgg, f"model.width={width}", "batch_size=128"))
        yield timed("a step by width", width, bench.step())
    for k in (10, 25, 50):
        bench = Bench(make_trainer("model=dln", f"model.k={k}", "norm=bn", f"device={device}"))
        yield timed("a DLN step by depth", k, bench.step())
    for count in (1, 2, 4):
        grid = str([2.0**i for i in range(count)]).replace(" ", "")
        bench = Bench(make_trainer(*vgg, *base, f"probes.landscape.etas={grid}"))
        yield timed("landscape by etas", count, bench.measure("landscape"))
    for layers in ([10], [5, 10], "all"):
        text = str(layers).replace(" ", "")
        bench = Bench(make_trainer(*vgg, *base, f"probes.gradient_shift.layers={text}"))
        count = 14 if layers == "all" else len(layers)
        yield timed("gradient_shift by layers", count, bench.measure("gradient_shift"))


def help_seconds() -> float:
    """Seconds that ``bnexp --help`` takes, the median of three."""
    import statistics
    import subprocess
    import sys

    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bnexp.cli", "--help"], capture_output=True, check=True
        )
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
