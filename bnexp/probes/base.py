"""What a probe is, when it is due, and the guard that lets measuring leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bnexp import registry
from bnexp.models import Network, Params
from bnexp.norms import Noise, frozen_statistics
from bnexp.objective import Objective
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
        """Whether ``step`` is on the schedule."""
        return step % self.every == 0 or step < self.dense

    def passes(self, layers: int) -> float:  # noqa: ARG002
        """What one measurement costs, in forward and backward passes on a batch, roughly."""
        return 0.0

    def check(self, key: str) -> None:
        at_least(f"{key}.every", self.every, 1)
        at_least(f"{key}.dense", self.dense, 0)

    def check_layers(self, key: str, layers: int) -> None:
        """Raise the UserError that names a layer which a network of ``layers`` layers lacks."""


@dataclass(frozen=True)
class LayerSchedule(Schedule):
    """Of a probe that measures ``layers``: all, or a list of numbers."""

    layers: Any

    def check(self, key: str) -> None:
        super().check(key)
        listed = isinstance(self.layers, list) and len(self.layers) > 0
        ok = self.layers == "all" or (
            listed and all(type(i) is int and i >= 1 for i in self.layers)
        )
        expect(ok, f"{key}.layers", "all, or a list of layers from 1 on", self.layers)

    def check_layers(self, key: str, layers: int) -> None:
        ok = self.layers == "all" or max(self.layers) <= layers
        expect(ok, f"{key}.layers", f"all, or a list of layers out of 1 to {layers}", self.layers)

    def numbers(self, model: Network) -> list[int]:
        """The layers to measure, in order, each once."""
        return list(model.layers) if self.layers == "all" else sorted(set(self.layers))


@dataclass(frozen=True)
class Setting:
    """What stays the same over a run of ``steps`` steps: given to every probe when it is made.

    ``evaluation`` gives the batches of a split that the network is not trained on, as
    ``(inputs, targets)``; none where the data has no such split.
    """

    model: Network
    objective: Objective
    steps: int
    seed: int
    evaluation: Callable[[str], Iterator[tuple[Tensor, Tensor]]]


@dataclass
class Step:
    """Training step ``number`` as a probe sees it.

    At theta_t: the batch, the learning rate, the objective on the batch (``loss``, ``data_loss``,
    ``accuracy``, ``grads`` by parameter, ``grad_norm``), the pre-activations of the layers that
    probes capture. ``params`` is theta_t in both calls; ``new_params`` is theta_{t+1}, in
    ``after_update`` only. Every tensor is to be read, not written.
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
    read what the step computed anyway; the others may run passes of their own and are put under the
    guard. ``wants_update`` probes are called after the update, too. ``name`` is its key in the
    config.
    """

    name: str
    tables: ClassVar[dict[str, dict[str, str]]]
    passive: ClassVar[bool] = False
    wants_update: ClassVar[bool] = False

    def __init__(self, options: Schedule, setting: Setting) -> None:
        self.options, self.setting = options, setting

    def due(self, step: int) -> bool:
        """Whether the probe measures at ``step``."""
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
        """What later measurements depend on besides their own step; saved with each checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        """Go back to what ``state`` gave; to the start where it is empty."""
        return


class _Snapshot:
    """All that a probe could change of ``model`` and of torch's random state, to put back."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = [
            (module, module.training, dict(module._parameters), dict(module._buffers))
            for module in modules
        ]
        parameters = [p for m in modules for p in m._parameters.values() if p is not None]
        held = [*parameters, *(b for m in modules for b in m._buffers.values() if b is not None)]
        held += [p.grad for p in parameters if p.grad is not None]
        with torch.no_grad():
            self.held = [(value, value.data) for value in held]
            self.values = [value.clone() for value in held]
        self.parameters = [(p, p.grad, p.requires_grad) for p in parameters]
        self.noises = [(module, module.step) for module in modules if isinstance(module, Noise)]
        self.random = torch.get_rng_state()
        self.random_cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def put_back(self) -> None:
        """Make all of it bit for bit what it was."""
        torch.set_rng_state(self.random)
        if self.random_cuda:
            torch.cuda.set_rng_state_all(self.random_cuda)
        for noise, step in self.noises:
            noise.at_step(step)
        for module, training, parameters, buffers in self.modules:
            if module.training is not training:  # assigning to a module is slow
                module.training = training
            module._parameters.update(parameters)
            module._buffers.update(buffers)
        for parameter, grad, requires_grad in self.parameters:
            parameter.grad = grad
            parameter.requires_grad_(requires_grad)
        for value, data in self.held:
            if value.data_ptr() != data.data_ptr() or value.dtype != data.dtype:
                value.data = data
        with torch.no_grad():
            torch._foreach_copy_([data for _, data in self.held], self.values)


@contextmanager
def leaving_no_trace(model: nn.Module) -> Iterator[None]:
    """Within it anything may be done to ``model``; after it, all is bit for bit as it was.

    Parameters, buffers, ``.grad``, train flags, ``requires_grad``, the step of the noise and
    torch's random state are put back. While in it, running statistics are frozen and the noise is
    that of the present step, so the function that is probed is the one being trained.
    """
    modules = model.parts if isinstance(model, Network) else tuple(model.modules())
    snapshot = _Snapshot(modules)
    try:
        with frozen_statistics(modules):
            yield
    finally:
        snapshot.put_back()


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
    if not values:
        return []
    alike = len({value.dtype for value in values}) == 1
    numbers: list[float] = torch.stack(
        list(values) if alike else [value.double() for value in values]
    ).tolist()
    return numbers
