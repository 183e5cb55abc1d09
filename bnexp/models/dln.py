"""The deep linear network of the paper (Appendix A.1): k square linear layers, no non-linearity."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnexp.models.base import MakeNorm, ModelOptions, Task
from bnexp.models.linear import LOSSES, Data, LinearPass, sufficient
from bnexp.models.network import Chain, Stage
from bnexp.norms import BatchNorm, LpNorm, Statistics
from bnexp.objective import Evaluation, Objective, Params, SecondOrder
from bnexp.registry import MODELS, at_least, expect, one_of


@dataclass(frozen=True)
class DlnOptions(ModelOptions):
    """``k`` layers of ``d`` units."""

    k: int
    d: int

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.loss", self.loss, [*LOSSES])
        at_least(f"{key}.k", self.k, 1)
        at_least(f"{key}.d", self.d, 1)
        expect(self.k <= 1000, f"{key}.k", "1000 layers at most", self.k)
        expect(self.d <= 4096, f"{key}.d", "4096 units at most", self.d)


@MODELS.register("dln", DlnOptions, task="regression")
def dln(options: DlnOptions, norm: MakeNorm, task: Task) -> Chain:  # noqa: ARG001
    """W_k .. W_1 x: input and output ``(batch, d)``; every layer but the last is normalised.

    The layers have no biases. Weights are drawn in float64, as the gradients along the paper's
    grid of steps span 15 decades.
    """
    k, d = options.k, options.d
    return LinearNetwork(
        Stage(nn.Linear(d, d, bias=False, dtype=torch.float64), norm(i, d) if i < k else None)
        for i in range(1, k + 1)
    )


class LinearNetwork(Chain):
    """A chain of square linear layers, passed through on sufficient statistics where it can be.

    With a norm of ``bnexp/models/linear.py``, in float64 on the CPU and in training mode, losses,
    gradients and Hessian-vector products come from `LinearPass` and equal those of `Chain` to
    rounding; otherwise they are those of `Chain`. Parameters and running statistics lie in one
    vector each.
    """

    _theta: nn.Parameter | None

    def __init__(self, stages: Iterable[Stage]) -> None:
        super().__init__(stages)
        self._norms = [self.norm(number) for number in self.layers][:-1]
        kinds = {type(norm) for norm in self._norms} or {nn.Identity}
        names = {nn.Identity: "none", BatchNorm: "bn", LpNorm: getattr(self.norm(1), "name", None)}
        self._norm = names.get(kinds.pop()) if len(kinds) == 1 else None
        object.__setattr__(self, "_theta", None)
        self._by_vector = True
        self._pointers: list[int] = []
        self._running: list[Tensor] = []
        self._passes: dict[Objective, LinearPass] = {}
        self._data: tuple[Tensor, Tensor, Data] | None = None

    def evaluate(
        self, objective: Objective, inputs: Tensor, targets: Tensor, **options: Any
    ) -> Evaluation:
        if not self._applies(objective, inputs):
            return super().evaluate(objective, inputs, targets, **options)
        data = self._statistics(inputs, targets)
        point = self._pass(objective).loss_and_grad(self._flat(options.get("params")), data)
        self._track(point.means, point.scales, len(inputs))
        grads = _Parts(torch.from_numpy(point.grad), self._by_name)
        return Evaluation(
            loss=torch.tensor(point.loss, dtype=inputs.dtype),
            data_loss=torch.tensor(point.data_loss, dtype=inputs.dtype),
            accuracy=torch.tensor(torch.nan, dtype=inputs.dtype),
            grads=grads,
            grad_norm=torch.linalg.vector_norm(grads.vector),
            activations={
                number: torch.from_numpy(data.samples(point.coordinates[number - 1]))
                for number in options.get("capture", ())
            },
        )

    def mixed_gradients(
        self, objective: Objective, inputs: Tensor, targets: Tensor, *points: Any
    ) -> dict[int, Tensor]:
        if not self._applies(objective, inputs):
            return super().mixed_gradients(objective, inputs, targets, *points)
        params, new_params, numbers = points
        data = self._statistics(inputs, targets)
        old, new = self._flat(params), self._flat(new_params)
        gradients = self._pass(objective).mixed_gradients(old, new, data, numbers)
        return {number: torch.from_numpy(gradient) for number, gradient in gradients.items()}

    def along(self, objective: Objective, inputs: Tensor, targets: Tensor, *points: Any) -> Tensor:
        if not self._applies(objective, inputs):
            return super().along(objective, inputs, targets, *points)
        *vectors, etas = points
        start, here, way = map(self._flat, vectors)
        thetas = start - np.outer(etas, way)
        losses, there = self._pass(objective).points(thetas, self._statistics(inputs, targets))
        sizes = [parameter.numel() for parameter in self.own_params.values()]
        starts = np.cumsum([0, *sizes[:-1]])
        with np.errstate(all="ignore"):
            squares = np.add.reduceat((there - here) ** 2, starts, axis=1)
            found = losses, np.sqrt(squares.sum(axis=1)), np.sqrt(squares).sum(axis=1)
        return torch.from_numpy(np.stack(found))

    def second_order(
        self, objective: Objective, inputs: Tensor, targets: Tensor, params: Params | None = None
    ) -> SecondOrder:
        if not self._applies(objective, inputs):
            return super().second_order(objective, inputs, targets, params)
        data = self._statistics(inputs, targets)
        return _LinearSecondOrder(self, self._pass(objective), self._flat(params).copy(), data)

    def optimised(self, elementwise: bool) -> list[nn.Parameter]:
        """One vector that all parameters are parts of, where the optimiser is ``elementwise``."""
        self._by_vector = elementwise
        self._flat(None)
        assert self._theta is not None
        return [self._theta] if elementwise else super().optimised(elementwise)

    def assign_gradient(self, grads: Mapping[str, Tensor]) -> None:
        last = next(reversed(self.own_params.values()))
        if self._pointers[-1:] != [last.data_ptr()]:
            self._flat(None)  # a probe has moved the parameters
        assert self._theta is not None
        if not self._by_vector:
            super().assign_gradient(grads)
        elif isinstance(grads, _Parts):
            self._theta.grad = grads.vector
        else:
            self._theta.grad = torch.cat([grads[name].reshape(-1) for name in self.own_params])

    def _applies(self, objective: Objective, inputs: Tensor) -> bool:
        return (
            self._norm is not None
            and not hasattr(self, "dropouts")
            and objective.data_loss in LOSSES
            and self.training
            and inputs.dtype == torch.float64
            and inputs.device.type == "cpu"
        )

    def _pass(self, objective: Objective) -> LinearPass:
        if objective not in self._passes:
            eps, bias = getattr(self.norm(1), "eps", 0.0), self.affine(1).bias is not None
            network = len(self.layers), self.units(1), str(self._norm), eps, bias
            loss = objective.data_loss, objective.weight_decay, objective.decay
            self._passes[objective] = LinearPass(*network, *loss)
        return self._passes[objective]

    def _statistics(self, inputs: Tensor, targets: Tensor) -> Data:
        """The sufficient statistics of a batch; a full batch is the same one at every step."""
        if self._data is None or self._data[0] is not inputs or self._data[1] is not targets:
            self._data = inputs, targets, sufficient(inputs.numpy(), targets.numpy())
        return self._data[2]

    def _flat(self, params: Params | None) -> np.ndarray:
        """All parameters in one vector, in order; that of the network's own is no copy."""
        if isinstance(params, _Parts):
            return params.vector.numpy()
        if params is not None and params is not self.own_params:
            parts = [params[name].detach().reshape(-1) for name in self.own_params]
            return torch.cat(parts).numpy()
        own = list(self.own_params.values())
        theta = self._theta
        if theta is None or [p.data_ptr() for p in own] != self._pointers:
            vector = torch.cat([p.detach().reshape(-1) for p in own])
            for parameter, part in zip(own, self._by_name(vector).values(), strict=True):
                parameter.data = part
            if theta is None:
                theta = nn.Parameter(vector)
                object.__setattr__(self, "_theta", theta)  # not a parameter beside its parts
            theta.data = vector  # the same object, as an optimiser may hold it
            self._pointers = [p.data_ptr() for p in own]
            self._running = self._lay_out_running()
        return theta.detach().numpy()

    def _lay_out_running(self) -> list[Tensor]:
        """Running means and scales of all layers, ``(k - 1, d)`` each, whose rows are theirs."""
        norms = [norm for norm in self._norms if isinstance(norm, Statistics)]
        rows = []
        for name in ("running_mean", "running_scale") if norms else ():
            rows.append(torch.stack([norm._buffers[name] for norm in norms]))  # type: ignore[misc]
            for norm, row in zip(norms, rows[-1], strict=True):
                norm._buffers[name] = row
        return rows

    def _track(self, means: np.ndarray, scales: np.ndarray, n: int) -> None:
        """Move the running statistics as the norms' own forward pass does."""
        first = self._norms[0] if self._norms else None
        if not isinstance(first, Statistics) or not first.track_running_stats:
            return
        if isinstance(first, BatchNorm):
            scales = scales * (n / (n - 1))
        for running, batch in zip(self._running, (means, scales), strict=True):
            running.lerp_(torch.from_numpy(batch), first.momentum)

    def _by_name(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector of all parameters."""
        parts = torch.split(vector, [p.numel() for p in self.own_params.values()])
        return {
            name: part.view(p.shape)
            for part, (name, p) in zip(parts, self.own_params.items(), strict=True)
        }


class _Parts(UserDict[str, Tensor]):
    """A ``vector`` of all parameters, by name; taken apart when asked."""

    def __init__(self, vector: Tensor, split: Callable[[Tensor], dict[str, Tensor]]) -> None:
        self.vector, self._split = vector, split

    @cached_property
    def data(self) -> dict[str, Tensor]:  # type: ignore[override]
        return self._split(self.vector)


class _LinearSecondOrder(SecondOrder):
    """`SecondOrder` of a `LinearNetwork`."""

    def __init__(
        self, network: LinearNetwork, linear: LinearPass, theta: np.ndarray, data: Data
    ) -> None:
        self._network, self._linear, self._theta, self._data = network, linear, theta, data
        point = linear.loss_and_grad(theta, data)
        self.value = torch.tensor(point.loss, dtype=torch.float64)
        self.gradient = list(network._by_name(torch.from_numpy(point.grad)).values())

    def hvp(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """H v for ``v`` of the point's shapes, and so is the result."""
        v = torch.cat([part.detach().reshape(-1) for part in vectors]).numpy()
        product = self._linear.hvp(self._theta, v, self._data)
        return list(self._network._by_name(torch.from_numpy(product)).values())
