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
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnexp.models.linear_kernels import COLUMNS, NORMS, SAMPLES, Array, Shape, Work, run

STEP = 1e-100
"""The largest entry of the imaginary part in a complex step: its square is 0 beside any number."""


@dataclass(frozen=True)
class Data:
    """Inputs and targets ``(n, d)`` in coordinates over the basis Q; made by `sufficient`.

    Attributes:
        basis: Q', ``(r, n)``; rows after the rank's are 0 (padding).
        inputs: X'Q, ``(d, r)``.
        targets: Y'Q, ``(d, r)``.
        rest: ||Y - QQ'Y||^2, what no affine map of X can explain.
        n: number of samples.
        rank: number of rows of ``basis`` that are not padding, min(n, 1 + d).
    """

    basis: Array
    inputs: Array
    targets: Array
    rest: float
    n: int
    rank: int

    def samples(self, coordinates: Array) -> Array:
        """The values ``(.., n, d)`` over the batch of units with ``coordinates`` ``(.., d, r)``."""
        values: Array = np.matmul(coordinates, self.basis)
        return values.swapaxes(-1, -2)


def sufficient(inputs: ArrayLike, targets: ArrayLike) -> Data:
    """The coordinates of ``inputs`` and ``targets``, ``(n, d)`` each, over a basis of [1, X]."""
    x, y = (np.asarray(values, dtype=np.float64) for values in (inputs, targets))
    n, d = x.shape
    # Householder's QR reproduces [1, X] whatever its rank
    q, r = np.linalg.qr(np.column_stack([np.ones(n), x]))
    if r[0, 0] < 0:
        q, r = -q, -r
    q[:, 0] = n**-0.5
    rank = q.shape[1]
    width = -(-rank // COLUMNS) * COLUMNS
    basis, own, goal = np.zeros((width, n)), np.zeros((d, width)), np.zeros((d, width))
    basis[:rank], own[:, :rank], goal[:, :rank] = q.T, r[:, 1:].T, y.T @ q
    outside = y - q @ (q.T @ y)
    return Data(basis, own, goal, float(np.square(outside).sum()), n, rank)


class Pass(NamedTuple):
    """What `LinearPass.loss_and_grad` gives. All arrays are new ones.

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
        loss: ``sum_squares``, ``half_sum_squares`` or ``mean_squares``.
        weight_decay: lambda of the L2 term lambda/2 ||w||^2.
        decay: whether w is the ``weights`` W_1, .., W_k or ``all`` parameters.

    A point is the flat vector of all parameters: for each layer in turn its weight (row by row),
    its bias if there is one, then gamma and beta if it is normalised. Numbers that overflow become
    inf and nan. Arrays given are contiguous and writable (another kind is compiled for anew, which
    takes seconds). An instance has working memory of its own: not for several threads at once.
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
        self.k, self.d, self.loss = k, d, loss
        self._of = (k, d, NORMS.index(norm), float(eps), bool(bias))
        self._decay = (float(weight_decay), {"weights": False, "all": True}[decay])
        self.normalised = k - 1 if norm != "none" else 0
        self.size = k * (d * d + d * bias) + self.normalised * 2 * d
        self._work: dict[tuple[int, int, type], tuple[Shape, Work, NDArray[np.int64]]] = {}

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
        wanted = list(numbers)
        prefix = self.loss_and_grad(new, data).coordinates
        _, grads, *_ = self._passes(old.reshape(1, -1), data, np.asarray(wanted, np.int64), prefix)
        return dict(zip(wanted, grads.reshape(-1, self.d, self.d), strict=True))

    def _passes(
        self,
        thetas: NDArray[Any],
        data: Data,
        numbers: NDArray[np.int64] | None = None,
        prefix: Array | None = None,
    ) -> tuple[Any, ...]:
        """Losses and gradients at ``thetas``; or, at one point, from each layer of ``numbers`` on.

        In the second case the layer's input is out of ``prefix`` and the gradient that by its W.
        """
        k, d = self._of[:2]
        width, n = data.basis.shape
        kind = thetas.dtype.type
        key = (width, n, kind)
        if key not in self._work:
            factor = {"sum_squares": 1.0, "half_sum_squares": 0.5, "mean_squares": 1 / (n * d)}
            layers = (self.normalised, d, width)
            self._work[key] = (
                Shape(*self._of, factor[self.loss], *self._decay),
                Work(
                    normal=np.empty(layers, kind),
                    slope=np.empty(layers, kind),
                    inverse=np.empty((self.normalised, d), kind),
                    flow=np.empty((2, d, width), kind),
                    block=np.empty(SAMPLES),
                    largest=np.empty(d),
                    ties=np.empty(d),
                ),
                np.ones(1, np.int64),
            )
        shape, work, whole = self._work[key]
        count, size = (len(thetas), self.size) if numbers is None else (len(numbers), d * d)
        losses, grads = np.empty((count, 2), kind), np.empty((count, size), kind)
        path, means, scales = np.empty((k, d, width), kind), *np.empty((2, self.normalised, d))
        inputs = data.inputs if kind is np.float64 else data.inputs.astype(kind)
        run(
            *(thetas, whole if numbers is None else numbers, shape),
            *(data.basis, inputs, data.targets, data.rank, data.rest),
            *(path if prefix is None else prefix, path, means, scales, work, losses, grads),
        )
        return losses, grads, path, means, scales
