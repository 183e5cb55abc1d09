"""A network as the paper sees it: a module with numbered layers.

A `Layer` names, by module path, the paper's layer i: its affine map, whose weight is W_i, and its
normalisation, whose output is the pre-activation. The forward pass is free, so skip connections and
concatenation are nothing special. Layers are numbered from 1, in the order of the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnexp.norms import at_least_float32

Params = Mapping[str, Tensor]
"""Parameters by name, as in ``dict(model.named_parameters())``."""


@dataclass(frozen=True)
class Layer:
    """Layer i of a network: module paths of its affine map and of its normalisation."""

    affine: str
    norm: str | None = None

    @property
    def weight(self) -> str:
        """The name of W_i."""
        return f"{self.affine}.weight"

    @property
    def preactivation(self) -> str:
        """The module whose output is the pre-activation (Figs 1, 2, 6, 8, 9): after norm and noise,
        before the non-linearity."""
        return self.affine if self.norm is None else self.norm


@dataclass(frozen=True)
class Evaluation:
    """The objective and its gradient at a point, on one batch; everything is detached.

    ``loss`` is the objective and ``data_loss`` the objective without its L2 term, scalars;
    ``accuracy`` is a fraction, NaN for regression; ``grads`` holds the gradient by parameter, of
    the parameters asked for, and ``grad_norm`` its 2-norm as one vector; ``activations`` holds the
    pre-activations of the layers asked for, ``(batch, units)`` or ``(batch, channels, height,
    width)``.
    """

    loss: Tensor
    data_loss: Tensor
    accuracy: Tensor
    grads: Mapping[str, Tensor]
    grad_norm: Tensor
    activations: dict[int, Tensor] = field(default_factory=dict)


class HessianPoint(Protocol):
    """The objective at a point: ``value``, ``gradient`` by parameter in order, and H v."""

    value: Tensor
    gradient: list[Tensor]

    def hvp(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """H v for ``v`` of the parameters' shapes, and so is the result."""


class Evaluator(Protocol):
    """What a network is evaluated with: an `Objective` of ``bnexp/objective.py``."""

    @property
    def data_loss(self) -> str: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def decay(self) -> str: ...
    def by_autograd(
        self,
        model: Network,
        inputs: Tensor,
        targets: Tensor,
        *,
        params: Params | None = None,
        wrt: Collection[str] | None = None,
        capture: Collection[int] = (),
        forward: Callable[[Params], Tensor] | None = None,
    ) -> Evaluation: ...
    def second_order(
        self, model: Network, inputs: Tensor, targets: Tensor, params: Params | None = None
    ) -> HessianPoint: ...


class Network(nn.Module):
    """A module with numbered ``layers``; what every probe measures.

    The three methods that follow from the definitions, `evaluate`, `mixed_gradients` and
    `second_order`, may be overridden by a network that computes the same numbers faster.

    With ``autocast`` it multiplies in that type, by torch's autocast, from parameters that stay
    float32; its outputs and captured pre-activations are float32 again.
    """

    autocast: torch.dtype | None = None

    def __init__(self) -> None:
        super().__init__()
        self.layers: dict[int, Layer] = {}
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def compiled(self) -> None:
        """From now on make the passes of training, in which nothing is captured, by torch.compile.

        For steps that wait for the launch of many small kernels; sums may be rounded otherwise.
        """
        self._compiled = torch.compile(self.forward)

    def number(self, layers: Iterable[Layer]) -> None:
        """Number ``layers`` from 1; to be called once the modules are there."""
        self.layers = dict(enumerate(layers, start=1))

    @cached_property
    def own_params(self) -> dict[str, Tensor]:
        """The network's own parameters by name; walking the modules at each step takes long."""
        return dict(self.named_parameters())

    @cached_property
    def parts(self) -> tuple[nn.Module, ...]:
        """Every module of the network, itself included."""
        return tuple(self.modules())

    def optimised(self) -> list[nn.Parameter]:
        """What an optimiser is given: the parameters."""
        return list(self.parameters())

    def assign_gradient(self, grads: Mapping[str, Tensor]) -> None:
        """Make ``grads``, by parameter, the ``.grad`` of what is `optimised`."""
        for name, parameter in self.own_params.items():
            parameter.grad = grads[name]

    def weight_name(self, number: int) -> str:
        """The name of W_i, the affine map's weight of layer ``number``."""
        return self.layers[number].weight

    def weight_names(self) -> list[str]:
        """The names of W_1, .., W_k."""
        return [layer.weight for layer in self.layers.values()]

    def affine(self, number: int) -> nn.Module:
        """The affine map of layer ``number``."""
        return self.get_submodule(self.layers[number].affine)

    def norm(self, number: int) -> nn.Module:
        """The normalisation of layer ``number``; an identity where it has none."""
        path = self.layers[number].norm
        return nn.Identity() if path is None else self.get_submodule(path)

    def units(self, number: int) -> int:
        """How many units (channels of a convolution) layer ``number`` has."""
        return int(self.own_params[self.weight_name(number)].shape[0])

    @cached_property
    def _layer_of(self) -> dict[str, int]:
        numbers, current = {}, 1
        prefixes = {
            f"{path}.": number
            for number, layer in self.layers.items()
            for path in (layer.affine, layer.norm)
            if path is not None
        }
        for name in self.own_params:
            own = [prefix for prefix in prefixes if name.startswith(prefix)]
            current = prefixes[max(own, key=len)] if own else current
            numbers[name] = current
        return numbers

    def layer_of(self, name: str) -> int:
        """The number of the layer that the parameter ``name`` belongs to.

        That of its affine map and norm; any other parameter goes with the one listed before it.
        """
        return self._layer_of[name]

    def outputs(self, x: Tensor, params: Params | None = None, *, plain: bool = False) -> Tensor:
        """The forward pass; ``params`` (default: the network's own) stand in for the parameters.

        ``plain`` says that no hook of a module has to run, so that `compiled` code may.
        """
        forward = self._compiled if plain and self._compiled is not None else self
        with self.precision(x.device):
            out = forward(x) if params is None else functional_call(self, dict(params), (x,))
        return at_least_float32(out)

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the network multiplies in ``autocast``."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device.type, self.autocast, cache_enabled=False)

    @contextmanager
    def captured(self, numbers: Collection[int]) -> Iterator[dict[int, Tensor]]:
        """Within it, a forward pass leaves the pre-activations of the layers ``numbers`` in the
        dict, detached."""
        activations: dict[int, Tensor] = {}

        def capture(number: int, _module: nn.Module, _args: object, out: Tensor) -> None:
            activations[number] = at_least_float32(out.detach())

        hooks = [
            self.get_submodule(self.layers[number].preactivation).register_forward_hook(
                partial(capture, number)
            )
            for number in numbers
        ]
        try:
            yield activations
        finally:
            for hook in hooks:
                hook.remove()

    def evaluate(
        self,
        objective: Evaluator,
        inputs: Tensor,
        targets: Tensor,
        *,
        params: Params | None = None,
        wrt: Collection[str] | None = None,
        capture: Collection[int] = (),
    ) -> Evaluation:
        """The objective and its gradient at ``params`` (default: the network's own).

        Args:
            wrt: the parameters whose gradient is wanted (default: all).
            capture: the layers whose pre-activations are wanted.

        Neither the parameters nor their ``.grad`` are touched. In training mode the pass moves the
        running statistics, unless they are frozen (``bnexp/norms.py``).
        """
        return objective.by_autograd(self, inputs, targets, params=params, wrt=wrt, capture=capture)

    def mixed_gradients(
        self,
        objective: Evaluator,
        inputs: Tensor,
        targets: Tensor,
        params: Params,
        new_params: Params,
        numbers: Sequence[int],
    ) -> dict[int, Tensor]:
        """grad_{W_i} L(W_1', .., W_{i-1}', W_i, .., W_k) for each layer i (Definition 2.1).

        ``new_params`` holds the primed parameters. All parameters of the preceding layers count,
        gamma, beta and bias included.
        """
        gradients = {}
        for number in numbers:
            mixed = {
                name: new_params[name] if self.layer_of(name) < number else value
                for name, value in params.items()
            }
            weight = self.weight_name(number)
            point = self.evaluate(objective, inputs, targets, params=mixed, wrt=[weight])
            gradients[number] = point.grads[weight]
        return gradients

    def second_order(
        self, objective: Evaluator, inputs: Tensor, targets: Tensor, params: Params | None = None
    ) -> HessianPoint:
        """The objective's value, gradient and Hessian at ``params`` (default: the network's own).

        In training mode, with frozen running statistics.
        """
        return objective.second_order(self, inputs, targets, params)


class Stage(nn.Module):
    """affine -> norm (and noise) -> non-linearity -> pooling: one layer of a `Chain`."""

    def __init__(
        self,
        affine: nn.Module,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.affine = affine
        self.norm = norm if norm is not None else nn.Identity()
        self.activation = activation if activation is not None else nn.Identity()
        self.pool = pool if pool is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.affine, nn.Linear):
            x = x.flatten(1)
        out: Tensor = self.pool(self.activation(self.norm(self.affine(x))))
        return out


class Chain(Network):
    """A network whose layers follow one another, each a `Stage`."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        super().__init__()
        self.stages = nn.ModuleDict({str(i): stage for i, stage in enumerate(stages, start=1)})
        self.number(Layer(f"stages.{i}.affine", f"stages.{i}.norm") for i in self.stages)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages.values():
            x = stage(x)
        return x

    def stage_outputs(self, number: int, x: Tensor, params: Params) -> Tensor:
        """Layer ``number`` alone on its input ``x``, with its parameters out of ``params``."""
        prefix = f"stages.{number}."
        stage = self.stages[str(number)]
        own = {name: params[prefix + name] for name, _ in stage.named_parameters()}
        with self.precision(x.device):
            out: Tensor = functional_call(stage, own, (x,))
        return out

    def mixed_gradients(
        self,
        objective: Evaluator,
        inputs: Tensor,
        targets: Tensor,
        params: Params,
        new_params: Params,
        numbers: Sequence[int],
    ) -> dict[int, Tensor]:
        """As `Network.mixed_gradients`: the new prefix is run once, each old suffix on what
        reaches it."""
        gradients, x = {}, inputs

        def suffix(first: int, x: Tensor, own: Params) -> Tensor:
            for number in range(first, len(self.layers) + 1):
                x = self.stage_outputs(number, x, own)
            return at_least_float32(x)

        for number in range(1, max(numbers) + 1):
            if number in numbers:
                weight = self.weight_name(number)
                point = objective.by_autograd(
                    self,
                    inputs,
                    targets,
                    params=params,
                    wrt=[weight],
                    forward=partial(suffix, number, x),
                )
                gradients[number] = point.grads[weight]
            if number < max(numbers):
                with torch.no_grad():
                    x = self.stage_outputs(number, x, new_params)
        return gradients
