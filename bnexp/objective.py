"""What is minimised, and the only place that calls autograd.

The objective is the data loss plus lambda/2 ||w||^2. Weight decay is part of it, so it is part of
every loss and gradient that is measured, and the optimiser itself decays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Params = Mapping[str, Tensor]
"""Parameters by name, as in ``dict(model.named_parameters())``."""

DATA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "sum_squares": lambda out, target: (out - target).square().sum(),
    "half_sum_squares": lambda out, target: (out - target).square().sum() / 2,
    "mean_squares": lambda out, target: (out - target).square().mean(),
}
"""From outputs and targets to a scalar: the mean over a batch for cross_entropy and mean_squares,
the sum over the data for the others (paper, Appendix A.1)."""


@dataclass(frozen=True)
class Evaluation:
    """The objective and its gradient at a point, on one batch; everything is detached.

    ``data_loss`` is ``loss`` without the L2 term; ``accuracy`` is a fraction, NaN for regression;
    ``grads`` is the gradient by the parameters asked for, ``grad_norm`` its 2-norm as one vector;
    ``activations`` are the pre-activations of the layers asked for, ``(batch, units, ..)``.
    """

    loss: Tensor
    data_loss: Tensor
    accuracy: Tensor
    grads: Mapping[str, Tensor]
    grad_norm: Tensor
    activations: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """The data loss called ``data_loss`` plus ``weight_decay``/2 times ||w||^2.

    ``decay`` says what w is: ``weights``, the affine maps' weights W_1, .., W_k; or ``all``, every
    parameter, biases, gamma and beta included. ``label_smoothing`` mixes so much of the uniform
    distribution into the targets of cross_entropy, in evaluation as in training.
    """

    data_loss: str
    weight_decay: float = 0.0
    decay: str = "weights"
    label_smoothing: float = 0.0

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The data loss, a scalar."""
        if self.label_smoothing:
            return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        return DATA_LOSSES[self.data_loss](outputs, targets)

    def penalty(self, params: Params, weights: Collection[str]) -> Tensor | float:
        """The L2 term, a scalar; ``weights`` are the names of W_1, .., W_k."""
        if self.weight_decay == 0.0:
            return 0.0
        names = weights if self.decay == "weights" else params
        squares = torch.stack([params[name].square().sum() for name in names])
        return squares.sum() * (self.weight_decay / 2)

    def evaluation(
        self,
        outputs: Tensor,
        targets: Tensor,
        params: Params,
        weights: Collection[str],
        wrt: Sequence[str],
        activations: dict[int, Tensor],
    ) -> Evaluation:
        """The `Evaluation` of ``outputs``, whose graph leads back to ``params``."""
        data_loss = self.data(outputs, targets)
        loss = data_loss + self.penalty(params, weights)
        grads = torch.autograd.grad(loss, [params[name] for name in wrt], materialize_grads=True)
        return Evaluation(
            loss=loss.detach(),
            data_loss=data_loss.detach(),
            accuracy=accuracy(outputs.detach(), targets),
            grads=dict(zip(wrt, grads, strict=True)),
            grad_norm=norm(grads),
            activations=activations,
        )


class SecondOrder:
    """A scalar function at a point: its value, its gradient and products with its Hessian.

    ``function`` takes as many tensors as ``point`` has. The graph is made once, so each `hvp` costs
    one more backward pass.
    """

    value: Tensor
    gradient: list[Tensor]

    def __init__(self, function: Callable[..., Tensor], point: Iterable[Tensor]) -> None:
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
        bent = [i for i, part in enumerate(self._gradient) if part.requires_grad]
        if not bent:
            return [torch.zeros_like(leaf) for leaf in self._leaves]
        products = torch.autograd.grad(
            [self._gradient[i] for i in bent],
            self._leaves,
            [vectors[i] for i in bent],
            retain_graph=True,
            materialize_grads=True,
        )
        return [product.detach() for product in products]


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The 2-norm of all ``tensors`` taken as one vector, a scalar tensor."""
    whole: Tensor = torch.stack(torch._foreach_norm(list(tensors))).norm()
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
