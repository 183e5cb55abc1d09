"""The compiled code of the linear network's passes (``bnexp/models/linear.py``).

Everything acts on coordinates ``(units, r)`` over an orthonormal basis Q of [1, X], padded with
zeros to `COLUMNS`. All of it is generic in its numbers, float64 or complex128; a comparison or a
sign is always that of the real part, and nothing is conjugated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

Array = NDArray[np.float64]

NORMS = ("none", "bn", "l1", "l2", "linf")
NONE, BN, L1, L2, LINF = range(5)


COLUMNS = 8
"""Coordinates are padded with zeros to a multiple of this many: loops over them are SIMD then."""

SAMPLES = 256
"""How many samples ``l1`` and ``linf`` go through at a time: a block of Q stays in the L1 cache."""


class Shape(NamedTuple):
    """What the compiled code needs to know of network and objective."""

    k: int
    d: int
    norm: int
    eps: float
    bias: bool
    factor: float
    decay: float
    decay_all: bool


class Work(NamedTuple):
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


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` compiled by numba at its first call, and kept on disk if that can be done."""
    kernel: Callable[..., None]
    try:
        kernel = njit(cache=True, error_model="numpy", nogil=True)(function)
    except RuntimeError:  # there is no folder to write to
        kernel = njit(error_model="numpy", nogil=True)(function)

    @wraps(function)
    def call(*args: object) -> None:
        try:
            kernel(*args)
        except OSError:  # writing failed, after it was compiled
            kernel(*args)

    return call


def _part(*freedom: str) -> Any:
    """A decorator for what `run` is made of: compiled with it, and never called from Python.

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


@compiled
def run(  # type: ignore[no-untyped-def]
    thetas, numbers, shape, basis, inputs, targets, rank, rest,
    prefix, path, means, scales, work, losses, grads,
):  # fmt: skip
    """See ``LinearPass._passes``; a single one of ``thetas`` or ``numbers`` is for all passes."""
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
