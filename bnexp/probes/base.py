"""What a probe is, when it is due, and the guard that lets measuring leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bnexp import registry
from bnexp.models import Network
from bnexp.norms import Replayed, frozen_statistics
from bnexp.objective import Objective, Params
from bnexp.registry import PROBES, at_least, expect

Rows = dict[str, dict[str, Sequence[Any]]]
"""Rows to append, by table: each a column of equal length by name. A column of scalar tensors is
fetched from the device later, together with those of other steps."""


@dataclass(frozen=True)
class Schedule(registry.Options):
    """When a probe measures: at steps 0, ``every``, 2 ``every``, .. and all below ``dense``."""

    every: int
    dense: int

    def due(self, step: int) -> bool:
        return step % self.every == 0 or step < self.dense

    def check(self, key: str) -> None:
        at_least(f"{key}.every", self.every, 1)
        at_least(f"{key}.dense", self.dense, 0)

    def check_layers(self, key: str, layers: int) -> None:
        """Raise the `UserError` that names a layer which a network of ``layers`` layers lacks."""


@dataclass(frozen=True)
class LayerSchedule(Schedule):
    """The schedule of a probe that measures ``layers``: all, or a list of numbers."""

    layers: Any

    def check(self, key: str) -> None:
        super().check(key)
        listed = self.layers if isinstance(self.layers, list) and self.layers else [0]
        ok = self.layers == "all" or all(type(i) is int and i >= 1 for i in listed)
        expect(ok, f"{key}.layers", "all, or a list of layers from 1 on", self.layers)

    def check_layers(self, key: str, layers: int) -> None:
        ok = self.layers == "all" or max(self.layers) <= layers
        expect(ok, f"{key}.layers", f"all, or a list of layers out of 1 to {layers}", self.layers)

    def suffixes(self, layers: int) -> float:
        """The cost of one pass from each layer measured on, in passes through all ``layers``."""
        numbers = range(1, layers + 1) if self.layers == "all" else self.layers
        return sum((layers - i + 1) / layers for i in numbers)

    def numbers(self, model: Network) -> list[int]:
        """The layers to measure, in order, each once."""
        return list(model.layers) if self.layers == "all" else sorted(set(self.layers))


@dataclass(frozen=True)
class Setting:
    """What stays the same over a run of ``steps`` steps: given to every probe when it is made.

    ``evaluation`` gives a split that is not trained on as batches ``(inputs, targets)``, if any;
    ``draw`` a random training batch, a pure function of a number; None where all are the same.
    """

    model: Network
    objective: Objective
    steps: int
    seed: int
    evaluation: Callable[[str], Iterator[tuple[Tensor, Tensor]]]
    draw: Callable[[int], tuple[Tensor, Tensor]] | None = None


@dataclass
class Step:
    """Training step ``number`` as a probe sees it; every tensor is to be read, not written.

    At theta_t: the batch, the learning rate, the objective and its gradient (see `Evaluation`), the
    pre-activations of the layers that probes capture. ``params`` is theta_t in both calls;
    ``new_params`` is theta_{t+1}, in ``after_update`` only.
    """

    number: int
    lr: float
    inputs: Tensor
    targets: Tensor
    loss: Tensor
    data_loss: Tensor
    accuracy: Tensor
    grads: Mapping[str, Tensor]
    grad_norm: Tensor
    params: Params
    activations: dict[int, Tensor] = field(default_factory=dict)
    new_params: Params | None = None


class Probe:
    """One measurement. A subclass overrides ``before_update``, ``after_update`` or both.

    ``tables`` declares what it records: by table, what each column holds. ``passive`` probes only
    read what the step computed anyway; the others run under the guard. ``wants_update`` probes are
    called after the update, too. ``name`` is its key in the config. Registered with ``passes``, a
    function of options and number of layers, it says what one measurement costs, roughly, in
    forward and backward passes on a batch.
    """

    name: str
    tables: ClassVar[dict[str, dict[str, str]]]
    passive: ClassVar[bool] = False
    wants_update: ClassVar[bool] = False

    def __init__(self, options: Schedule, setting: Setting) -> None:
        self.options, self.setting = options, setting

    def due(self, step: int) -> bool:
        return self.options.due(step)

    def captures(self) -> Sequence[int]:
        """The layers whose pre-activations it reads."""
        return ()

    def before_update(self, step: Step) -> Rows:  # noqa: ARG002
        """Measure at theta_t."""
        return {}

    def after_update(self, step: Step) -> Rows:  # noqa: ARG002
        """Measure with theta_t and theta_{t+1} at hand."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """What later measurements depend on beside their own step; saved with each checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state`` gave; to the start where it is empty."""

    def rows(self, step: Step, *columns: Sequence[Any]) -> Rows:
        """Rows of the probe's one table: ``columns`` follow ``step``, in the order declared."""
        ((table, names),) = self.tables.items()
        numbers = [step.number] * len(columns[0])
        return {table: dict(zip(names, (numbers, *columns), strict=True))}

    def row(self, step: Step, *values: Any) -> Rows:
        """One row of the probe's one table."""
        return self.rows(step, *([value] for value in values))


class LayerProbe(Probe):
    """A probe of some layers: their ``numbers``, in order, each once."""

    options: LayerSchedule

    def __init__(self, options: LayerSchedule, setting: Setting) -> None:
        super().__init__(options, setting)
        self.numbers = options.numbers(setting.model)

    def captures(self) -> Sequence[int]:
        return self.numbers if self.passive else ()


@contextmanager
def leaving_no_trace(model: Network) -> Iterator[None]:
    """Within it anything may be done to ``model``; after it, all is bit for bit as it was.

    Parameters, buffers, ``.grad``, train flags, ``requires_grad``, the step of the noise and
    torch's random state are put back. While in it, running statistics are frozen and the noise is
    that of the present step, so the function that is probed is the one being trained.
    """
    modules = [(m, m.training, dict(m._parameters), dict(m._buffers)) for m in model.parts]
    parameters = [
        (parameter, parameter.grad, parameter.requires_grad)
        for _, _, own, _ in modules
        for parameter in own.values()
        if parameter is not None
    ]
    tensors = [tensor for p, grad, _ in parameters for tensor in (p, grad) if tensor is not None]
    tensors += [buffer for *_, own in modules for buffer in own.values() if buffer is not None]
    with torch.no_grad():
        storage, values = [t.data for t in tensors], [t.clone() for t in tensors]
    noises = [(part, part.step) for part in model.parts if isinstance(part, Replayed)]
    try:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
        with torch.random.fork_rng(devices), frozen_statistics(model.parts):
            yield
    finally:
        for noise, number in noises:
            noise.at_step(number)
        for module, training, own_parameters, own_buffers in modules:
            if module.training is not training:  # assigning to a module is slow
                module.training = training
            module._parameters.update(own_parameters)
            module._buffers.update(own_buffers)
        for parameter, grad, requires_grad in parameters:
            parameter.grad = grad
            parameter.requires_grad_(requires_grad)
        for tensor, data in zip(tensors, storage, strict=True):
            if tensor.data_ptr() != data.data_ptr() or tensor.dtype != data.dtype:
                tensor.data = data
        with torch.no_grad():
            torch._foreach_copy_(storage, values)


def build_probes(probes: Mapping[str, Mapping[str, Any]], setting: Setting) -> list[Probe]:
    """The probes in the config's ``probes``.

    Raises:
        UserError: no probe has that name, or an option is unknown, of the wrong type or out of
            range.
    """
    built = []
    for name, section in probes.items():
        options = registry.bind(PROBES[name].options, section, f"probes.{name}")
        assert isinstance(options, Schedule)
        options.check_layers(f"probes.{name}", len(setting.model.layers))
        probe: Probe = PROBES[name].item(options, setting)
        probe.name = name
        built.append(probe)
    return built


def to_floats(values: Sequence[Tensor]) -> list[float]:
    """Scalar tensors as numbers, fetched from the device in one go."""
    numbers: list[float] = torch.stack(list(values)).tolist() if values else []
    return numbers
