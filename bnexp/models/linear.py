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

import math
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


class _Work(NamedTuple):
    """Working memory. Per normalised layer: the normalised values N, the gradient of what divides
    them by the values before, and its inverse; the gradient on its way back; samples of a unit, the
    largest |z| of each unit so far and in how many samples."""

    normal: NDArray[Any]
    slope: NDArray[Any]
    inverse: NDArray[Any]
    flow: NDArray[Any]
    block: Array
    largest: Array
    ties: Array


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
        self._work: dict[tuple[int, int, type], tuple[_Shape, _Work, NDArray[np.int64]]] = {}

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
        wanted = list(numbers)
        prefix = self.loss_and_grad(new, data).coordinates
        _, grads, *_ = self._passes(old.reshape(1, -1), data, np.asarray(wanted), prefix)
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
                _Shape(*self._of, factor[self.loss], *self._decay),
                _Work(
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
        args = (
            *(thetas, whole if numbers is None else numbers, shape),
            *(data.basis, inputs, data.targets, data.rank, data.rest),
            *(path if prefix is None else prefix, path, means, scales, work, losses, grads),
        )
        try:
            _run(*args)
        except OSError:  # what was compiled could not be written to the cache; it runs all the same
            _run(*args)
        return losses, grads, path, means, scales


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` compiled, and kept on disk where there is a place that can be written to."""
    try:
        return njit(cache=True, error_model="numpy", nogil=True)(function)
    except RuntimeError:  # no such place
        return njit(error_model="numpy", nogil=True)(function)


def _part(*freedom: str) -> Any:
    """A decorator for what `_run` is made of: compiled with it, and never called from Python.

    ``freedom``: ``contract`` lets a product and a sum be rounded once, ``reassoc`` lets sums be
    taken in any order, so that they are SIMD. inf and nan stay what IEEE says.
    """
    unwrapped: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", fastmath=set(freedom), **unwrapped)


def _inverse(x: Any) -> Any:
    """1 / x; of a complex x to first order of its imaginary part, which is tiny."""
    raise NotImplementedError


def _root(x: Any) -> Any:
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
        return lambda x: complex(math.sqrt(x.real), 0.5 * x.imag / math.sqrt(x.real))
    return lambda x: math.sqrt(x)


@_part("contract", "reassoc")
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = x[0] * y[0]
    for r in range(1, x.size):
        total += x[r] * y[r]
    return total


@_part("contract")
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


@_part("contract")
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


@_part("contract", "reassoc")
def _average(u, basis, rank, norm, z, largest, ties, out):  # type: ignore[no-untyped-def]
    """Rows s with s.u the average l_p norm of z = Q u, for each unit of ``u``.

    ``l1``: s = Q' sign(z) / n. ``linf``: sign(z) times the row of Q where |z| is largest; those
    that are equally large share.
    """
    n = basis.shape[1]
    for a in range(len(u)):
        largest[a], ties[a] = -1.0, 0.0
        for r in range(out.shape[1]):
            out[a, r] = 0.0
    for begin in range(0, n, SAMPLES):
        end = min(begin + SAMPLES, n)
        size = end - begin
        for a in range(len(u)):
            row, s = u[a], out[a]
            for i in range(size):
                z[i] = 0.0
            for r in range(0, rank, 4):  # four at a time: z is read and written less often
                h0, h1, h2, h3 = row[r].real, row[r + 1].real, row[r + 2].real, row[r + 3].real
                q0, q1 = basis[r, begin:end], basis[r + 1, begin:end]
                q2, q3 = basis[r + 2, begin:end], basis[r + 3, begin:end]
                for i in range(size):
                    z[i] += h0 * q0[i] + h1 * q1[i] + h2 * q2[i] + h3 * q3[i]
            if norm == L1:
                ties[a] = float(n)
                for i in range(size):
                    z[i] = 1.0 if z[i] > 0.0 else (-1.0 if z[i] < 0.0 else 0.0)
                for r in range(0, rank, 4):
                    q0, q1 = basis[r, begin:end], basis[r + 1, begin:end]
                    q2, q3 = basis[r + 2, begin:end], basis[r + 3, begin:end]
                    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                    for i in range(size):
                        s0 += z[i] * q0[i]
                        s1 += z[i] * q1[i]
                        s2 += z[i] * q2[i]
                        s3 += z[i] * q3[i]
                    s[r] += s0
                    s[r + 1] += s1
                    s[r + 2] += s2
                    s[r + 3] += s3
                continue
            m0, m1, m2, m3 = -1.0, -1.0, -1.0, -1.0
            for i in range(0, size - 3, 4):
                m0, m1 = max(m0, abs(z[i])), max(m1, abs(z[i + 1]))
                m2, m3 = max(m2, abs(z[i + 2])), max(m3, abs(z[i + 3]))
            most = max(max(m0, m1), max(m2, m3))
            for i in range(size - size % 4, size):
                most = max(most, abs(z[i]))
            if most > largest[a]:
                largest[a], ties[a] = most, 0.0
                for r in range(rank):
                    s[r] = 0.0
            if most == largest[a]:
                for i in range(size):
                    if abs(z[i]) == most:
                        ties[a] += 1.0
                        sign = 1.0 if z[i] > 0.0 else (-1.0 if z[i] < 0.0 else 0.0)
                        for r in range(rank):
                            s[r] += sign * basis[r, begin + i]
    for a in range(len(u)):
        for r in range(rank):
            out[a, r] *= 1.0 / ties[a]


@_part("contract")
def _forward(theta, shape, basis, rank, first, x, path, means, scales, work):  # type: ignore[no-untyped-def]
    """Layers ``first``, .., k - 1 (from 0) on ``x``; their outputs are written to ``path``.

    ``work`` keeps, per normalised layer, the normalised values N, the gradient of what divides
    by the values before, and its inverse: all that `_backward` needs.
    """
    k, d = shape.k, shape.d
    n = basis.shape[1]
    root = math.sqrt(n)
    normal, slope, inverse = work.normal, work.slope, work.inverse
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
        if shape.norm == L1 or shape.norm == LINF:
            _average(u, basis, rank, shape.norm, work.block, work.largest, work.ties, slopes)
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


@_part("contract")
def _backward(theta, shape, n, last, x, path, work, grad):  # type: ignore[no-untyped-def]
    """From the gradient by the outputs, in ``work``, to that by the parameters.

    Goes down to layer ``last`` (from 0), whose input is ``x``. ``grad`` takes the gradients of all
    layers from there on if its size is that of ``theta``, otherwise that of W of ``last`` only.
    """
    k, d = shape.k, shape.d
    root = math.sqrt(n)
    normal, slope, inverse, flow = work.normal, work.slope, work.inverse, work.flow
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


@_part("contract")
def _stride(shape):  # type: ignore[no-untyped-def]
    """How many parameters a layer that is not the last has."""
    d = shape.d
    return d * d + (d if shape.bias else 0) + (2 * d if shape.norm != NONE else 0)


@_part("contract")
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


@_part("contract")
def _add_decay(theta, shape, first, grad):  # type: ignore[no-untyped-def]
    """The L2 term; its gradient is added to ``grad``."""
    total = 0.0 * theta[0]
    if shape.decay == 0.0:
        return total
    d, stride = shape.d, _stride(shape)
    if grad.size < theta.size:  # that of one W
        for i in range(d * d):
            grad[i] += shape.decay * theta[first * stride + i]
        return total
    for start in range(0, theta.size, stride):
        end = min(start + stride, theta.size) if shape.decay_all else start + d * d
        total += _dot(theta[start:end], theta[start:end])
        for i in range(start, end):
            grad[i] += shape.decay * theta[i]
    return total * (shape.decay / 2)


@_compiled
def _run(  # type: ignore[no-untyped-def]
    thetas, numbers, shape, basis, inputs, targets, rank, rest,
    prefix, path, means, scales, work, losses, grads,
):  # fmt: skip
    """See `LinearPass._passes`. Of ``thetas`` and of ``numbers`` a single one is for all passes."""
    n = basis.shape[1]
    for p in range(len(grads)):
        theta, grad = thetas[min(p, len(thetas) - 1)], grads[p]
        first = numbers[min(p, len(numbers) - 1)] - 1
        x = inputs if first == 0 else prefix[first - 1]
        _forward(theta, shape, basis, rank, first, x, path, means, scales, work)
        loss = _residual(path[shape.k - 1], targets, shape.factor, work.flow[0])
        loss += shape.factor * rest
        _backward(theta, shape, n, first, x, path, work, grad)
        losses[p, 0] = loss + _add_decay(theta, shape, first, grad)
        losses[p, 1] = loss
