"""A network as the paper sees it: a module with numbered layers.

A `Layer` names, by module path, the paper's layer i: its affine map, whose weight is W_i, and its
normalisation, whose output is the pre-activation. The forward pass is free, so skip connections and
concatenation are nothing special. Layers are numbered from 1, in the order of the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnexp.norms import at_least_float32
from bnexp.objective import Evaluation, Objective, Params, SecondOrder, norms


class Layer(NamedTuple):
    """Layer i of a network: module paths of its affine map and of its normalisation."""

    affine: str
    norm: str | None = None


class Network(nn.Module):
    """A module with numbered ``layers``; what every probe measures.

    The three methods that follow from the definitions, `evaluate`, `mixed_gradients` and
    `second_order`, may be overridden by a network that computes the same numbers faster. In
    training mode their passes move the running statistics, unless they are frozen
    (`bnexp.norms`); the parameters and their ``.grad`` are never touched.

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

    def optimised(self, elementwise: bool) -> list[nn.Parameter]:  # noqa: ARG002
        """What an optimiser, which is ``elementwise`` or not, is given: the parameters."""
        return list(self.parameters())

    def assign_gradient(self, grads: Mapping[str, Tensor]) -> None:
        """Make ``grads``, by parameter, the ``.grad`` of what is `optimised`."""
        for name, parameter in self.own_params.items():
            parameter.grad = grads[name]

    def weight_name(self, number: int) -> str:
        """The name of W_i, the affine map's weight of layer ``number``."""
        return f"{self.layers[number].affine}.weight"

    def weight_names(self) -> list[str]:
        """The names of W_1, .., W_k."""
        return [self.weight_name(number) for number in self.layers]

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
    def layer_of(self) -> dict[str, int]:
        """The number of the layer that each parameter belongs to.

        That of its affine map and norm; any other parameter goes with the one listed before it.
        """
        paths = [(path, i) for i, layer in self.layers.items() for path in layer if path]
        numbers, current = {}, 1
        for name in self.own_params:
            own = [(len(path), i) for path, i in paths if name.startswith(f"{path}.")]
            numbers[name] = current = max(own)[1] if own else current
        return numbers

    def outputs(
        self, x: Tensor, params: Params | None = None, *, plain: bool = False, **part: Any
    ) -> Tensor:
        """The forward pass; ``params`` (default: the network's own) stand in for the parameters.

        ``plain`` says that no hook of a module has to run, so that `compiled` code may; ``part``
        goes to `forward`.
        """
        forward = self._compiled if plain and self._compiled is not None else self
        kind, enabled = x.device.type, self.autocast is not None
        with torch.autocast(kind, self.autocast, enabled=enabled, cache_enabled=False):
            if params is None:
                return at_least_float32(forward(x, **part))
            return at_least_float32(functional_call(self, dict(params), (x,), part))

    def preactivation(self, number: int, out: Tensor) -> Tensor:  # noqa: ARG002
        """What is captured of layer ``number``'s output ``out``: ``(batch, units, ..)``."""
        return at_least_float32(out.detach())

    @contextmanager
    def captured(self, numbers: Collection[int]) -> Iterator[dict[int, Tensor]]:
        """Within it, a forward pass leaves the pre-activations of the layers ``numbers`` in the
        dict, detached: after norm and noise, before the non-linearity (Figs 1, 2, 6, 8, 9)."""
        activations: dict[int, Tensor] = {}

        def capture(number: int, _module: nn.Module, _args: object, out: Tensor) -> None:
            activations[number] = self.preactivation(number, out)

        hooks = []
        for number in numbers:
            module = self.get_submodule(self.layers[number].norm or self.layers[number].affine)
            hooks.append(module.register_forward_hook(partial(capture, number)))
        try:
            yield activations
        finally:
            for hook in hooks:
                hook.remove()

    def evaluate(
        self,
        objective: Objective,
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
        """
        wanted = list(self.own_params if wrt is None else wrt)
        leaves = self.own_params if params is None else _leaves(params, wanted)
        with torch.enable_grad(), self.captured(capture) as activations:
            point = None if params is None else leaves
            outputs = self.outputs(inputs, point, plain=not capture)
            weights = self.weight_names()
            return objective.evaluation(outputs, targets, leaves, weights, wanted, activations)

    def mixed_gradients(
        self,
        objective: Objective,
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
                name: new_params[name] if self.layer_of[name] < number else value
                for name, value in params.items()
            }
            weight = self.weight_name(number)
            point = self.evaluate(objective, inputs, targets, params=mixed, wrt=[weight])
            gradients[number] = point.grads[weight]
        return gradients

    def along(
        self,
        objective: Objective,
        inputs: Tensor,
        targets: Tensor,
        params: Params,
        grads: Params,
        direction: Params,
        etas: Sequence[float],
    ) -> Tensor:
        """The landscape along ``direction``, ``(3, etas)``: at each point params - eta direction
        the objective, and the two `norms` of its gradient less ``grads``."""
        names, points = list(params), []
        start = [params[name].detach() for name in names]
        here, way = ([source[name] for name in names] for source in (grads, direction))
        for eta in etas:
            point = dict(zip(names, torch._foreach_add(start, way, alpha=-eta), strict=True))
            there = self.evaluate(objective, inputs, targets, params=point)
            change = norms(torch._foreach_sub([there.grads[name] for name in names], here))
            points.append(torch.cat([there.loss[None], change]))
        return torch.stack(points, 1)

    def second_order(
        self, objective: Objective, inputs: Tensor, targets: Tensor, params: Params | None = None
    ) -> SecondOrder:
        """The objective's value, gradient and Hessian at all of ``params``, in order (default: the
        network's own); with frozen running statistics where it is in training mode."""
        own = self.own_params if params is None else params

        def loss(*values: Tensor) -> Tensor:
            point = dict(zip(own, values, strict=True))
            data_loss = objective.data(self.outputs(inputs, point), targets)
            return data_loss + objective.penalty(point, self.weight_names())

        return SecondOrder(loss, own.values())


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
        self.norm = norm or nn.Identity()
        self.activation = activation or nn.Identity()
        self.pool = pool or nn.Identity()

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

    def forward(self, x: Tensor, first: int = 1, last: int | None = None) -> Tensor:
        """From the input of layer ``first`` to what leaves layer ``last`` (default: the last)."""
        for number in range(first, (last or len(self.stages)) + 1):
            x = self.stages[str(number)](x)
        return x

    def mixed_gradients(
        self,
        objective: Objective,
        inputs: Tensor,
        targets: Tensor,
        params: Params,
        new_params: Params,
        numbers: Sequence[int],
    ) -> dict[int, Tensor]:
        """As `Network.mixed_gradients`: the new prefix is run once, each old suffix on what
        reaches it."""
        gradients, x, reached = {}, inputs, 1
        for number in sorted(numbers):
            with torch.no_grad():
                if number > reached:
                    x = self.outputs(x, new_params, first=reached, last=number - 1)
            reached, weight = number, self.weight_name(number)
            old, weights = _leaves(params, [weight]), self.weight_names()
            with torch.enable_grad():
                outputs = self.outputs(x, old, first=number)
                suffix = objective.evaluation(outputs, targets, old, weights, [weight], {})
            gradients[number] = suffix.grads[weight]
        return gradients


def _leaves(params: Params, wanted: Collection[str]) -> dict[str, Tensor]:
    wanted = set(wanted)
    return {name: value.detach().requires_grad_(name in wanted) for name, value in params.items()}
