"""What is minimised, and the only place that calls autograd.

The objective is the data loss plus lambda/2 ||w||^2. Weight decay is part of it, so it is part of
every loss and gradient that is measured, and the optimiser itself decays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.models.network import Evaluation, Network, Params

DATA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "sum_squares": lambda out, target: (out - target).square().sum(),
    "half_sum_squares": lambda out, target: (out - target).square().sum() / 2,
    "mean_squares": lambda out, target: (out - target).square().mean(),
}
"""From outputs and targets to a scalar: the mean over a batch for cross_entropy and mean_squares,
the sum over the data for the others (paper, Appendix A.1)."""


@dataclass(frozen=True)
class Objective:
    """The data loss called ``data_loss`` plus ``weight_decay``/2 times ||w||^2.

    ``decay`` says what w is: ``weights``, the affine maps' weights W_1, .., W_k; or ``all``, every
    parameter, biases, gamma and beta included.
    """

    data_loss: str
    weight_decay: float = 0.0
    decay: str = "weights"

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The data loss, a scalar."""
        return DATA_LOSSES[self.data_loss](outputs, targets)

    def penalty(self, model: Network, params: Params) -> Tensor | float:
        """The L2 term, a scalar."""
        if self.weight_decay == 0.0:
            return 0.0
        names = model.weight_names() if self.decay == "weights" else list(params)
        squares = torch.stack([params[name].square().sum() for name in names])
        return squares.sum() * (self.weight_decay / 2)

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
    ) -> Evaluation:
        """`Network.evaluate` for any network.

        ``forward`` gives the outputs from the parameters, where that is not the whole network on
        ``inputs``.
        """
        own = model.own_params
        wanted = list(own if wrt is None else wrt)
        leaves: Params = own
        if params is not None:
            chosen = set(wanted)
            leaves = {
                name: value.detach().requires_grad_(name in chosen)
                for name, value in params.items()
            }
        with torch.enable_grad(), model.captured(capture) as activations:
            if forward is None:
                point = None if params is None else leaves
                outputs = model.outputs(inputs, point, plain=not capture)
            else:
                outputs = forward(leaves)
            data_loss = self.data(outputs, targets)
            loss = data_loss + self.penalty(model, leaves)
            grads = torch.autograd.grad(
                loss, [leaves[name] for name in wanted], materialize_grads=True
            )
        return Evaluation(
            loss=loss.detach(),
            data_loss=data_loss.detach(),
            accuracy=accuracy(outputs.detach(), targets),
            grads=dict(zip(wanted, grads, strict=True)),
            grad_norm=norm(grads),
            activations=activations,
        )

    def second_order(
        self, model: Network, inputs: Tensor, targets: Tensor, params: Params | None = None
    ) -> SecondOrder:
        """`Network.second_order` for any network; the point is all of ``params``, in order."""
        own = dict(model.own_params if params is None else params)

        def loss(*values: Tensor) -> Tensor:
            point = dict(zip(own, values, strict=True))
            return self.data(model.outputs(inputs, point), targets) + self.penalty(model, point)

        return SecondOrder(loss, list(own.values()))


class SecondOrder:
    """A scalar function at a point: its value, its gradient and products with its Hessian.

    ``function`` takes as many tensors as ``point`` has. The graph is made once, so each `hvp` costs
    one more backward pass.
    """

    def __init__(self, function: Callable[..., Tensor], point: Sequence[Tensor]) -> None:
        self._leaves = [value.detach().requires_grad_() for value in point]
        with torch.enable_grad():
            value = function(*self._leaves)
            self._gradient = torch.autograd.grad(
                value, self._leaves, create_graph=True, materialize_grads=True
            )
        self.value = value.detach()
        self.gradient = [part.detach() for part in self._gradient]

    def hvp(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """H v for ``v`` of the point's shapes, and so is the result."""
        pairs = [
            (part, v) for part, v in zip(self._gradient, vectors, strict=True) if part.requires_grad
        ]
        if not pairs:
            return [torch.zeros_like(leaf) for leaf in self._leaves]
        gradients, along = zip(*pairs, strict=True)
        products = torch.autograd.grad(
            gradients, self._leaves, along, retain_graph=True, materialize_grads=True
        )
        return [product.detach() for product in products]


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The 2-norm of all ``tensors`` taken as one vector, a scalar tensor."""
    whole: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return whole


def norms(tensors: Iterable[Tensor]) -> Tensor:
    """Two norms, ``(2,)``: the 2-norm of all ``tensors`` as one vector, which is the definition,
    and the sum of their own 2-norms, which Figs 10b, 11b and 13c show."""
    each = torch.stack(torch._foreach_norm(list(tensors)))
    return torch.stack([each.norm(), each.sum()])


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The fraction of rows whose largest output is the target class; NaN for regression."""
    if targets.is_floating_point():
        return outputs.new_full((), float("nan"))  # made on the device
    return (outputs.argmax(1) == targets).to(outputs.dtype).mean()
