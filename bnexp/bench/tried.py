"""What was tried to make it faster: each as a ratio in this run, whether it was kept or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from bnexp.bench.comparisons import SETTINGS, Bench, make_trainer
from bnexp.bench.memory import pace
from bnexp.bench.timing import side_by_side
from bnexp.training.memory import keep_freed_memory


def trials(device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Each trial: ``what`` was tried ``against`` what, seconds of both, whether it was ``kept``."""
    for setting, overrides in SETTINGS.items():
        bench = Bench(make_trainer(*overrides, "norm=bn", f"device={device}"))

        def trial(
            what: str,
            against: str,
            kept: bool,
            works: tuple[Callable[[], object], Callable[[], object]],
            setting: str = setting,
        ) -> dict[str, Any]:
            pair = dict(zip((what, against), works, strict=True))
            found = side_by_side(pair, seconds=seconds, least=3)
            return _told(setting, what, against, kept, found[what], found[against])

        if setting == "vgg16":
            works = bench.one_pass, _contiguous(bench)
            yield trial("channels_last, a pass", "contiguous", True, works)
        else:
            for name, parts in (("landscape", "point"), ("gradient_shift", "suffix")):
                joined, apart = bench.measure(name), bench.measure_apart(name)
                what, against = f"{name}, joined", f"{parts} after {parts}"
                yield trial(what, against, True, (joined, apart))
        loop = _updates(bench, foreach=False, fused=False)
        yield trial("foreach update", "one loop", True, (_updates(bench, foreach=True), loop))
        if device == "cpu" or torch.cuda.is_available():
            yield trial("fused update", "one loop", False, (_updates(bench, fused=True), loop))
        if setting == "dln" and device == "cpu" and keep_freed_memory():
            yield from _memory_kept(overrides, setting)
        if setting == "dln" and (shutil.which("g++") or device != "cpu"):
            compiled = _compiled(bench), bench.one_pass
            yield trial("torch.compile, a pass", "as it is", False, compiled)


def _memory_kept(overrides: Sequence[str], setting: str) -> Iterator[dict[str, Any]]:
    """Processes that keep the memory they free and such that do not, in turns."""
    asked = (*overrides, "norm=bn", "device=cpu")
    turns = [(pace(asked, keep=True), pace(asked, keep=False)) for _ in range(2)]
    for name in turns[0][0]:
        kept, given = (min(turn[i][name] for turn in turns) for i in (0, 1))
        yield _told(setting, f"freed memory kept, {name}", "given back", True, kept, given)


def _told(
    setting: str, what: str, against: str, kept: bool, seconds: float, against_seconds: float
) -> dict[str, Any]:
    return {
        "setting": f"{setting} bn",
        "what": what,
        "against": against,
        "seconds": seconds,
        "against_seconds": against_seconds,
        "ratio": seconds / against_seconds,
        "kept": kept,
    }


def _contiguous(bench: Bench) -> Callable[[], object]:
    """A pass with everything in contiguous memory instead of channels_last."""
    batch = bench.batch.inputs.contiguous()
    params = {name: p.detach().contiguous() for name, p in bench.model.own_params.items()}

    def work() -> object:
        return bench.objective.loss_and_grads(
            bench.model, batch, bench.batch.targets, params=params
        )

    return work


def _updates(bench: Bench, **how: bool) -> Callable[[], object]:
    """An update of copies of the parameters by ``torch.optim.SGD``, told ``how``."""
    own = bench.model.own_params.values()
    copies = [torch.nn.Parameter(p.detach().clone()) for p in own]
    for copy in copies:
        copy.grad = torch.zeros_like(copy)
    return torch.optim.SGD(copies, lr=0.1, momentum=0.9, **how).step


def _compiled(bench: Bench) -> Callable[[], object]:
    """A pass through the network as torch.compile makes it."""
    compiled = torch.compile(bench.model)
    params: list[Tensor] = list(bench.model.own_params.values())

    def work() -> object:
        loss = bench.objective.data(compiled(bench.batch.inputs), bench.batch.targets)
        return torch.autograd.grad(loss, params)

    return work
