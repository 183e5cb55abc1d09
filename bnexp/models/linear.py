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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

NORMS = ("none", "bn", "l1", "l2", "linf")
NONE, BN, L1, L2, LINF = range(5)

COLUMNS = 8
"""Coordinates are padded with zeros to a multiple of this many: loops over them are SIMD then."""

SAMPLES = 256
"""How many samples ``l1`` and ``linf`` go through at a time: a block of Q stays in the L1 cache."""

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


class _Shape(NamedTuple):
    """What the compiled code needs to know of network and objective."""

    k: int
    d: int
    norm: int
    eps: float
    bias: bool
    factor: float
    decay: float
    decay_all: bool


class LinearPass:
    """Losses, gradients and Hessian-vector products of a deep linear network.

    Args:
        k: layers, ``d`` units each.
        norm: ``none``, ``bn``, ``l1``, ``l2`` or ``linf``, after every layer but the last, with the
            conventions of ``bnexp/norms.py``.
        bias: whether every affine map has a bias.
        loss: ``sum_squares``, ``half_sum_squares`` or ``mean_squares``.
        weight_decay: lambda of the L2 term lambda/2 ||w||^2.
        decay: whether w is the ``weights`` W_1, .., W_k or ``all`` parameters.

    A point is the flat vector of all parameters: for each layer in turn its weight (row by row),
    its bias if there is one, then gamma and beta if it is normalised. Numbers that overflow become
    inf and nan. An instance has working memory of its own: not for several threads at once.
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
        self._work: dict[tuple[int, int, type], tuple[Any, ...]] = {}

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
        wanted = np.asarray(list(numbers), dtype=np.int64)
        grads = np.empty((len(wanted), self.d, self.d))
        shape, work, (path, means, scales) = self._memory(data, np.float64)
        prefix = np.empty_like(path)
        _call(
            _mixed, old, new, shape, data.basis, data.inputs, data.targets, data.rank, wanted,
            prefix, path, means, scales, work, grads,
        )  # fmt: skip
        return dict(zip(wanted.tolist(), grads, strict=True))

    def _passes(self, thetas: NDArray[Any], data: Data) -> tuple[Any, ...]:
        kind = thetas.dtype.type
        shape, work, found = self._memory(data, kind)
        losses, grads = np.empty((len(thetas), 2), kind), np.empty(thetas.shape, kind)
        _call(
            _passes, thetas, shape, data.basis, data.inputs, data.targets, data.rank, data.rest,
            *found, work, losses, grads,
        )  # fmt: skip
        return losses, grads, *found

    def _memory(self, data: Data, kind: type) -> tuple[_Shape, tuple[Any, ...], tuple[Any, ...]]:
        """The compiled code's constants and working memory; new arrays for what is returned."""
        k, d = self._of[:2]
        width, n = data.basis.shape
        key = (width, n, kind)
        if key not in self._work:
            factor = {"sum_squares": 1.0, "half_sum_squares": 0.5, "mean_squares": 1 / (n * d)}
            per_layer = (self.normalised, d, width)
            self._work[key] = (
                _Shape(*self._of, factor[self.loss], *self._decay),
                (
                    np.empty(per_layer, kind),
                    np.empty(per_layer, kind),
                    np.empty((self.normalised, d), kind),
                    np.empty((2, d, width), kind),
                    np.empty((2, SAMPLES)),
                ),
            )
        shape, work = self._work[key]
        units = (self.normalised, d)
        return shape, work, (np.empty((k, d, width), kind), np.empty(units), np.empty(units))


def _call(kernel: Callable[..., None], *args: object) -> None:
    try:
        kernel(*args)
    except OSError:  # what was compiled could not be written to the cache; it runs all the same
        kernel(*args)


def _entry(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` compiled, and kept on disk where there is a place that can be written to."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        compiled: Callable[..., None] = njit(cache=True, **options)(function)
    except RuntimeError:  # no such place
        compiled = njit(**options)(function)
    return compiled


_part = njit(error_model="numpy", fastmath={"contract"})
"""For the parts of an entry. A product and a sum may be rounded once; no other freedom."""

_sum = njit(error_model="numpy", fastmath={"contract", "reassoc"})
"""For sums that may be taken in any order, so that they are SIMD."""


def _inverse(x):  # type: ignore[no-untyped-def]
    """1 / x; of a complex x with the first order of its imaginary part, which is tiny."""
    raise NotImplementedError


def _root(x):  # type: ignore[no-untyped-def]
    """The square root of x, to the same order."""
    raise NotImplementedError


@overload(_inverse)
def _inverse_of(x):  # type: ignore[no-untyped-def]
    if isinstance(x, types.Complex):
        # numba's own division raises where x is 0
        return lambda x: complex(1.0 / x.real, -x.imag / x.real / x.real)
    return lambda x: 1.0 / x


@overload(_root)
def _root_of(x):  # type: ignore[no-untyped-def]
    if isinstance(x, types.Complex):
        return lambda x: complex(np.sqrt(x.real), 0.5 * x.imag / np.sqrt(x.real))
    return lambda x: np.sqrt(x)


@_sum
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = x[0] * y[0]
    for r in range(1, x.size):
        total += x[r] * y[r]
    return total


@_part
def _product(theta, start, x, out):  # type: ignore[no-untyped-def]
    """out = W x, with W at ``start`` of ``theta``."""
    d, width = x.shape
    for a in range(d):
        row = out[a]
        for r in range(width):
            row[r] = 0.0
        for b in range(d):
            w = theta[start + a * d + b]
            for r in range(width):
                row[r] += w * x[b, r]


@_part
def _transposed_product(theta, start, x, out):  # type: ignore[no-untyped-def]
    """out = W'x, with W at ``start`` of ``theta``."""
    d, width = x.shape
    for b in range(d):
        row = out[b]
        for r in range(width):
            row[r] = 0.0
        for a in range(d):
            w = theta[start + a * d + b]
            for r in range(width):
                row[r] += w * x[a, r]


@_part
def _average_l1(u, basis, rank, block, out):  # type: ignore[no-untyped-def]
    """Rows s with mean|z| = s.u over the samples z = Q u of each unit: Q' sign(z) / n."""
    d = len(u)
    n = basis.shape[1]
    out[:] = 0.0
    for begin in range(0, n, SAMPLES):
        size = min(SAMPLES, n - begin)
        z, sign = block[0, :size], block[1, :size]
        for a in range(d):
            z[:] = 0.0
            for r in range(rank):
                h, q = u[a, r].real, basis[r, begin : begin + size]
                for i in range(size):
                    z[i] += h * q[i]
            for i in range(size):
                sign[i] = 1.0 if z[i] > 0.0 else (-1.0 if z[i] < 0.0 else 0.0)
            for r in range(rank):
                out[a, r] += _dot(sign, basis[r, begin : begin + size])
    for a in range(d):
        for r in range(rank):
            out[a, r] /= n


@_part
def _average_linf(u, basis, rank, block, out):  # type: ignore[no-untyped-def]
    """Rows s with max|z| = s.u: sign(z) times the row of Q where it is attained; ties share."""
    d = len(u)
    n = basis.shape[1]
    out[:] = 0.0
    largest, ties = np.full(d, -1.0), np.zeros(d)
    for begin in range(0, n, SAMPLES):
        size = min(SAMPLES, n - begin)
        z, absolute = block[0, :size], block[1, :size]
        for a in range(d):
            z[:] = 0.0
            for r in range(rank):
                h, q = u[a, r].real, basis[r, begin : begin + size]
                for i in range(size):
                    z[i] += h * q[i]
            for i in range(size):
                absolute[i] = abs(z[i])
            most = absolute.max()
            if most > largest[a]:
                largest[a], ties[a] = most, 0.0
                out[a] = 0.0
            if most == largest[a]:
                for i in range(size):
                    if absolute[i] == most:
                        ties[a] += 1.0
                        for r in range(rank):
                            out[a, r] += np.sign(z[i]) * basis[r, begin + i]
    for a in range(d):
        for r in range(rank):
            out[a, r] /= ties[a]


@_part
def _forward(theta, shape, basis, rank, first, x, path, means, scales, work):  # type: ignore[no-untyped-def]
    """Layers ``first``, .., k - 1 (from 0) on ``x``; their outputs are written to ``path``.

    ``work`` keeps, per normalised layer, the normalised values N, the gradient of what divides
    by the values before, and its inverse: all that `_backward` needs.
    """
    k, d = shape.k, shape.d
    n = basis.shape[1]
    root = np.sqrt(float(n))
    normal, slope, inverse, _, block = work
    stride = _stride(shape)
    for layer in range(first, k):
        start = layer * stride
        u = path[layer]
        _product(theta, start, x if layer == first else path[layer - 1], u)
        start += d * d
        if shape.bias:
            for a in range(d):
                u[a, 0] += theta[start + a] * root
            start += d
        if layer == k - 1 or shape.norm == NONE:
            continue
        slopes = slope[layer]
        if shape.norm == L1:
            _average_l1(u, basis, rank, block, slopes)
        elif shape.norm == LINF:
            _average_linf(u, basis, rank, block, slopes)
        for a in range(d):
            row = u[a]
            means[layer, a] = row[0].real / root
            if shape.norm == BN:
                row[0] = 0.0
                scale = _dot(row, row) * (1.0 / n)
                gain = _inverse(_root(scale + shape.eps))
            else:
                if shape.norm == L2:
                    scale = _root(_dot(row, row) * (1.0 / n))
                    # as torch has it: the gradient of the norm of a vector of zeros is 0
                    gain = _inverse(scale) * (1.0 / n) if scale.real != 0.0 else 0.0 * scale
                    for r in range(row.size):
                        slopes[a, r] = row[r] * gain
                else:
                    scale = _dot(slopes[a], row)
                gain = _inverse(scale + shape.eps)
                row[0] = 0.0
            scales[layer, a] = scale.real
            inverse[layer, a] = gain
            gamma, beta = theta[start + a], theta[start + d + a]
            for r in range(row.size):
                value = row[r] * gain
                normal[layer, a, r] = value
                row[r] = gamma * value
            if shape.norm == BN:
                for r in range(row.size):
                    slopes[a, r] = normal[layer, a, r] * (1.0 / n)
            row[0] = beta * root


@_part
def _backward(theta, shape, n, last, x, path, work, grad):  # type: ignore[no-untyped-def]
    """From the gradient by the outputs, in ``work``, to that by the parameters.

    Goes down to layer ``last`` (from 0), whose input is ``x``. ``grad`` takes the gradients of all
    layers from there on if its size is that of ``theta``, otherwise that of W of ``last`` only.
    """
    k, d = shape.k, shape.d
    root = np.sqrt(float(n))
    normal, slope, inverse, flow, _ = work
    stride = _stride(shape)
    whole = grad.size == theta.size
    here = 0
    for layer in range(k - 1, last - 1, -1):
        start = layer * stride
        g = flow[here]
        after = start + d * d
        if layer < k - 1 and shape.norm != NONE:
            scaling = after + (d if shape.bias else 0)
            for a in range(d):
                row = g[a]
                shift = row[0] * root
                row[0] = 0.0
                along = _dot(row, normal[layer, a])
                if whole:
                    grad[scaling + a], grad[scaling + d + a] = along, shift
                gain = theta[scaling + a] * inverse[layer, a]
                for r in range(row.size):
                    row[r] = gain * (row[r] - along * slope[layer, a, r])
        if whole and shape.bias:
            for a in range(d):
                grad[after + a] = g[a, 0] * root
        if whole or layer == last:
            source = x if layer == last else path[layer - 1]
            target = start if whole else 0
            for a in range(d):
                for b in range(d):
                    grad[target + a * d + b] = _dot(g[a], source[b])
        if layer > last:
            _transposed_product(theta, start, g, flow[1 - here])
            here = 1 - here


@_part
def _stride(shape):  # type: ignore[no-untyped-def]
    """How many parameters a layer that is not the last has."""
    d = shape.d
    return d * d + (d if shape.bias else 0) + (2 * d if shape.norm != NONE else 0)


@_part
def _residual(outputs, targets, factor, flow):  # type: ignore[no-untyped-def]
    """factor ||outputs - targets||^2; its gradient by the outputs goes to ``flow``."""
    total = 0.0 * outputs[0, 0]
    for a in range(len(outputs)):
        for r in range(outputs.shape[1]):
            flow[a, r] = outputs[a, r] - targets[a, r]
        total += _dot(flow[a], flow[a])
        for r in range(outputs.shape[1]):
            flow[a, r] *= 2.0 * factor
    return factor * total


@_part
def _add_decay(theta, shape, grad):  # type: ignore[no-untyped-def]
    """The L2 term; its gradient is added to ``grad``."""
    if shape.decay == 0.0:
        return 0.0 * theta[0]
    d, stride = shape.d, _stride(shape)
    total = 0.0 * theta[0]
    for start in range(0, theta.size, stride):
        end = min(start + stride, theta.size) if shape.decay_all else start + d * d
        total += _dot(theta[start:end], theta[start:end])
        for i in range(start, end):
            grad[i] += shape.decay * theta[i]
    return total * (shape.decay / 2)


@_entry
def _passes(  # type: ignore[no-untyped-def]
    thetas, shape, basis, inputs, targets, rank, rest, path, means, scales, work, losses, grads
):
    n = basis.shape[1]
    x = inputs.astype(thetas.dtype)
    for point in range(len(thetas)):
        theta, grad = thetas[point], grads[point]
        _forward(theta, shape, basis, rank, 0, x, path, means, scales, work)
        loss = _residual(path[shape.k - 1], targets, shape.factor, work[3][0])
        loss += shape.factor * rest
        _backward(theta, shape, n, 0, x, path, work, grad)
        losses[point, 0] = loss + _add_decay(theta, shape, grad)
        losses[point, 1] = loss


@_entry
def _mixed(  # type: ignore[no-untyped-def]
    old, new, shape, basis, inputs, targets, rank, numbers, prefix, path, means, scales, work, grads
):
    n = basis.shape[1]
    d, stride = shape.d, _stride(shape)
    _forward(new, shape, basis, rank, 0, inputs, prefix, means, scales, work)
    for place in range(len(numbers)):
        layer = numbers[place] - 1
        x = inputs if layer == 0 else prefix[layer - 1]
        _forward(old, shape, basis, rank, layer, x, path, means, scales, work)
        _residual(path[shape.k - 1], targets, shape.factor, work[3][0])
        grad = grads[place].reshape(d * d)
        _backward(old, shape, n, layer, x, path, work, grad)
        for i in range(d * d):
            grad[i] += shape.decay * old[layer * stride + i]
