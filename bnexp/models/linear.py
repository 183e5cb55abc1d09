"""Full-batch passes of the deep linear network, exact to rounding, without its samples.

Every pre-activation of a linear network is affine in the input, so over the batch it lies in the
span of the columns of [1, X]. With an orthonormal basis Q of that span (``(n, r)``, r = min(n,
1 + d), first column the constant 1/sqrt(n)) a unit's n values are Q h, and the network can be run
on the r coordinates h instead:

- mean h_0 / sqrt(n); mean of squares ||h||^2 / n; biased variance ||h_1..||^2 / n;
- subtracting the mean sets h_0 to 0; adding a constant c adds c sqrt(n) to h_0;
- ||Z - Y||^2 = ||H - Y'Q||^2 + ||Y - QQ'Y||^2, whose last term no parameter changes.

So ``none``, ``bn`` and ``l2`` never touch the samples. ``l1`` and ``linf`` need the signs or the
largest of z = Q h: mean|z| = s.h with s = Q' sign(z) / n, which is also its gradient by h; max|z|
likewise, with the row of Q where it is attained.

The same code runs on complex parameters. The gradient at theta + ih v has, for tiny h, the
imaginary part h H v with no truncation error and no cancellation (the complex step of Squire and
Trapp 1998), so Hessian-vector products are exact to rounding too.

The passes are compiled by numba: in NumPy the overhead of some 500 operations on 10 x 11 arrays is
most of the time. numba keeps what it compiled beside this file, or in the user's cache folder;
where it can write to neither it compiles in every process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnexp.models.linear_kernels import COLUMNS, NORMS, WHOLE, run

Array = NDArray[np.float64]

STEP = 1e-100
"""The largest entry of the imaginary part in a complex step: its square is 0 beside any number."""

NO_PREFIX = np.empty((0, 0, 0))

LOSSES = {"sum_squares": 1.0, "half_sum_squares": 0.5, "mean_squares": None}
"""The factor of the sum of squares by loss; None for one over the number of outputs."""


class Shape(NamedTuple):
    """What the compiled code needs to know of the network; ``stride`` is a layer's parameters."""

    k: int
    d: int
    norm: int
    eps: float
    bias: bool
    stride: int


class Data(NamedTuple):
    """Inputs and targets ``(n, d)`` in coordinates over the basis Q; made by `sufficient`.

    Attributes:
        basis: Q', ``(r, n)``; the last row is 0 where their number would be odd.
        inputs: X'Q, ``(d, r)``.
        targets: Y'Q, ``(d, r)``.
        rest: ||Y - QQ'Y||^2, what no affine map of X can explain.
    """

    basis: Array
    inputs: Array
    targets: Array
    rest: float

    def samples(self, coordinates: Array) -> Array:
        """The values ``(.., n, d)`` over the batch of units with ``coordinates`` ``(.., d, r)``."""
        values: Array = coordinates[..., : len(self.basis)] @ self.basis
        return values.swapaxes(-1, -2)


def sufficient(inputs: ArrayLike, targets: ArrayLike) -> Data:
    """The coordinates of ``inputs`` and ``targets``, ``(n, d)`` each, over a basis of [1, X]."""
    x, y = (np.asarray(values, dtype=np.float64) for values in (inputs, targets))
    n = len(x)
    # Householder's QR reproduces [1, X] whatever its rank
    q, r = np.linalg.qr(np.column_stack([np.ones(n), x]))
    if r[0, 0] < 0:
        q, r = -q, -r
    q[:, 0] = n**-0.5
    outside = float(np.square(y - q @ (q.T @ y)).sum())
    rank = q.shape[1]
    own, goal = (np.pad(v, ((0, 0), (0, -rank % COLUMNS))) for v in (r[:, 1:].T, y.T @ q))
    return Data(np.pad(q, ((0, 0), (0, rank % 2))).T.copy(), own, goal, outside)


class Pass(NamedTuple):
    """What `LinearPass.loss_and_grad` gives.

    Attributes:
        loss: the objective, L2 term included.
        data_loss: the objective without it.
        grad: the objective's gradient, ``(parameters,)``.
        coordinates: of each layer's pre-activations after the norm, ``(k, d, r)``;
            `Data.samples` makes values of them.
        means: of each normalised unit before its norm, ``(k - 1, d)``; no rows for ``none``.
        scales: the biased variance for ``bn``, the average l_p norm for the others; no eps in it.
    """

    loss: float
    data_loss: float
    grad: Array
    coordinates: Array
    means: Array
    scales: Array


class LinearPass:
    """Losses, gradients and Hessian-vector products of a deep linear network.

    Args:
        k: layers, ``d`` units each.
        norm: ``none``, ``bn``, ``l1``, ``l2`` or ``linf``, after every layer but the last, with the
            conventions of ``bnexp/norms``.
        bias: whether every affine map has a bias.
        loss: a key of `LOSSES`.
        weight_decay: lambda of the L2 term lambda/2 ||w||^2.
        decay: whether w is the ``weights`` W_1, .., W_k or ``all`` parameters.

    A point is the flat vector of all parameters: for each layer in turn its weight (row by row),
    its bias if there is one, then gamma and beta if it is normalised. Numbers that overflow become
    inf and nan. Arrays given are contiguous and writable (another kind is compiled for anew, which
    takes seconds).
    """

    def __init__(
        self,
        k: int,
        d: int,
        norm: str,
        eps: float,
        bias: bool,
        loss: str,
        weight_decay: float = 0.0,
        decay: str = "weights",
    ) -> None:
        stride = d * d + d * bias + 2 * d * (norm != "none")
        self._shape = Shape(k, d, NORMS.index(norm), float(eps), bool(bias), stride)
        self._loss = loss
        self._rates: Array = np.empty(0)
        if weight_decay:
            decayed = (np.arange(k * stride) % stride < d * d) | (decay == "all")
            size = k * stride - 2 * d * (norm != "none")  # the last layer has no norm
            self._rates = weight_decay * decayed[:size].astype(np.float64)

    def loss_and_grad(self, theta: Array, data: Data) -> Pass:
        """The objective and its gradient at ``theta``, and what the pass met on its way."""
        losses, grads, *rest = self._passes(theta.reshape(1, -1), data)
        return Pass(float(losses[0, 0]), float(losses[0, 1]), grads[0], *rest)

    def points(self, thetas: Array, data: Data) -> tuple[Array, Array]:
        """The objective ``(points,)`` and its gradient at each of ``thetas``, both as `thetas`."""
        losses, grads, *_ = self._passes(thetas, data)
        return losses[:, 0], grads

    def hvp(self, theta: Array, v: Array, data: Data) -> Array:
        """The product of the objective's Hessian at ``theta`` with ``v``."""
        largest = float(np.abs(v).max())
        if largest == 0.0:
            return np.zeros_like(theta)
        point = np.empty((1, theta.size), dtype=np.complex128)
        with np.errstate(all="ignore"):
            point.real, point.imag = theta, v * (STEP / largest)
            product: Array = self._passes(point, data)[1][0].imag * (largest / STEP)
        return product

    def mixed_gradients(
        self, old: Array, new: Array, data: Data, numbers: Iterable[int]
    ) -> dict[int, Array]:
        """The gradients of Definition 2.1 for the layers ``numbers`` (from 1).

        For layer i it is that by W_i, ``(d, d)``, where layers 1, .., i-1 have the parameters of
        ``new`` and layers i, .., k those of ``old``.
        """
        wanted, d = list(numbers), self._shape.d
        prefix = self.loss_and_grad(new, data).coordinates
        _, grads, *_ = self._passes(old.reshape(1, -1), data, np.asarray(wanted, np.int64), prefix)
        return dict(zip(wanted, grads.reshape(-1, d, d), strict=True))

    def _passes(
        self,
        thetas: NDArray[Any],
        data: Data,
        numbers: NDArray[np.int64] = WHOLE,
        prefix: Array = NO_PREFIX,
    ) -> tuple[Any, ...]:
        """What ``run`` of ``bnexp/models/linear_kernels.py`` returns."""
        factor = LOSSES[self._loss] or 1 / (self._shape.d * data.basis.shape[1])
        made: tuple[Any, ...] = run(thetas, numbers, prefix, self._shape, data, factor, self._rates)
        return made
