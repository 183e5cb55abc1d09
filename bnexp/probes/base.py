"""What a probe is, when it is due, and the guard that lets measuring leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from bnexp.config.schema import at_least, expect
from bnexp.errors import UserError
from bnexp.models import Network, Params
from bnexp.norms import Noise, frozen
from bnexp.objective import Objective

Rows = dict[str, dict[str, Sequence[Any]]]
"""Rows to append, by table: each a column of equal length by name. A column of scalar tensors is
fetched from the device later, together with those of other steps."""


@dataclass(frozen=True)
class Options:
    """What every probe can be told: its schedule.

    It is due at steps 0, ``every``, 2 ``every``, .. and at every step below ``dense``.
    """

    every: int
    dense: int

    def due(self, step: int) -> bool:
        """Whether ``step`` is on the schedule."""
        return step % self.every == 0 or step < self.dense

    def passes(self, layers: int) -> float:  # noqa: ARG002
        """What one measurement costs, in forward and backward passes on a batch, roughly."""
        return 0.0

    def check(self, name: str, layers: int) -> None:  # noqa: ARG002
        """Raise the UserError that names the option of probe ``name`` that is out of range."""
        at_least(f"probes.{name}.every", self.every, 1)
        at_least(f"probes.{name}.dense", self.dense, 0)


@dataclass(frozen=True)
class Setting:
    """What stays the same over a run of ``steps`` steps: given to every probe when it is made.

    ``evaluation`` gives the batches of a split that the network is not trained on, as
    ``(inputs, targets)``; none where the data has no such split.
    """

    model: Network
    objective: Objective
    lr: float
    steps: int
    seed: int
    evaluation: Callable[[str], Iterator[tuple[Tensor, Tensor]]]


@dataclass
class Step:
    """Training step ``number`` as a probe sees it.

    Of ``before_update`` (at theta_t): the batch, the pass on it (``loss``, ``data_loss``,
    ``outputs``, ``grads`` by parameter, ``grad_norm``), the pre-activations of the layers that
    probes asked for. ``params`` is theta_t in both calls; ``new_params`` is theta_{t+1}, in
    ``after_update`` only. Every tensor is to be read, not written.
    """

    number: int
    inputs: Tensor
    targets: Tensor
    loss: Tensor
    data_loss: Tensor
    outputs: Tensor
    grads: dict[str, Tensor]
    grad_norm: Tensor
    params: Params
    activations: dict[int, Tensor] = field(default_factory=dict)
    new_params: Params | None = None


class Probe:
    """One measurement. A subclass overrides ``before_update``, ``after_update`` or both.

    ``passive`` probes only read what the step computed anyway; the others may run passes of their
    own and are put under the guard. ``wants_update`` probes are called after the update, too.
    """

    name: ClassVar[str]
    passive: ClassVar[bool] = False
    wants_update: ClassVar[bool] = False

    def __init__(self, options: Options, setting: Setting) -> None:
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


@dataclass(frozen=True)
class LayerOptions(Options):
    """Options of a probe that can be told which layers to measure."""

    layers: Any

    def check(self, name: str, layers: int) -> None:
        super().check(name, layers)
        listed = isinstance(self.layers, list) and len(self.layers) > 0
        ok = self.layers == "all" or (
            listed and all(type(i) is int and 1 <= i <= layers for i in self.layers)
        )
        expected = f"all, or a list of layers out of 1 to {layers}"
        expect(ok, f"probes.{name}.layers", expected, self.layers)

    def numbers(self, model: Network) -> list[int]:
        """The layers to measure, in order, each once."""
        if self.layers == "all":
            return list(model.layers.numbers())
        return sorted(set(self.layers))


@dataclass(frozen=True)
class Kind:
    """A kind of probe: its class and its options."""

    probe: type[Probe]
    options: type[Options]


PROBES: dict[str, Kind] = {}
"""Every probe there is, by name, as its file registered it."""

P = TypeVar("P", bound=type[Probe])


def register(name: str, options: type[Options]) -> Callable[[P], P]:
    """Class decorator: a probe called ``name``, configured by ``probes.<name>``."""

    def enter(probe: P) -> P:
        if name in PROBES:
            raise ValueError(f"two probes are called {name}")
        probe.name = name
        PROBES[name] = Kind(probe, options)
        return probe

    return enter


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
            self.values = held, [value.clone() for value in held]
        self.parameters = [(p, p.grad, p.requires_grad) for p in parameters]
        self.noises = [(one, one.step) for one in modules if isinstance(one, Noise)]
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
        with torch.no_grad():
            torch._foreach_copy_(*self.values)


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
        with frozen(modules):
            yield
    finally:
        snapshot.put_back()


def unknown_probe(name: str) -> UserError:
    """The refusal of a probe that does not exist."""
    return UserError(f"probes.{name}: no such probe; expected one of {', '.join(sorted(PROBES))}")


def fetched(values: Sequence[Tensor]) -> list[float]:
    """Scalar tensors as numbers, fetched from the device in one go."""
    if not values:
        return []
    alike = len({value.dtype for value in values}) == 1
    numbers: list[float] = torch.stack(
        list(values) if alike else [value.double() for value in values]
    ).tolist()
    return numbers


def as_lists(columns: Mapping[str, Sequence[Tensor]]) -> dict[str, list[float]]:
    """Columns of scalar tensors as lists of numbers, fetched from the device in one go."""
    numbers = iter(fetched([value for values in columns.values() for value in values]))
    return {name: [next(numbers) for _ in values] for name, values in columns.items()}
