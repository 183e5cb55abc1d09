"""The compiled code of the linear network's passes (``bnexp/models/linear.py``).

Everything acts on coordinates ``(units, r)`` over an orthonormal basis Q of [1, X], padded with
zeros to a multiple of `COLUMNS`. All of it is generic in its numbers, float64 or complex128; a
comparison or a sign is always that of the real part, and nothing is conjugated. Fast maths is that
of fused products and of sums in any order (``reassoc``): inf and nan stay what IEEE says.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numba import njit

NORMS = ("none", "bn", "l1", "l2", "linf")
NONE, BN, L1, L2, LINF = range(5)

COLUMNS = 8
"""Loops over as many coordinates are SIMD."""

SAMPLES = 256
"""How many samples ``l1`` and ``linf`` go through at a time: a block of Q stays in the L1 cache."""

WHOLE = np.empty(0, np.int64)
"""No layers' numbers: the gradient by all parameters is wanted."""

compiled = partial(njit, error_model="numpy")


@compiled
def _inverse(x):  # type: ignore[no-untyped-def]
    """1 / x; of a complex x to first order of its imaginary part, which is tiny."""
    real = 1.0 / x.real
    return real * (2.0 - x * real)


@compiled
def _root(x):  # type: ignore[no-untyped-def]
    """The square root of x, to the same order."""
    real = math.sqrt(x.real)
    return 0.5 * (real + x * (1.0 / real))


@compiled(fastmath={"contract", "reassoc"})
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = x[0] * y[0]
    for r in range(1, x.size):
        total += x[r] * y[r]
    return total


@compiled(fastmath={"contract"})
def _product(theta, start, down, across, x, out):  # type: ignore[no-untyped-def]
    """out = W x, with the entry (a, b) of W at ``start`` + a ``down`` + b ``across`` of theta."""
    d, width = x.shape
    for a in range(d):
        row = out[a]
        for r in range(width):
            row[r] = 0.0
        for b in range(d):
            w = theta[start + a * down + b * across]
            for r in range(width):
                row[r] += w * x[b, r]


@compiled(fastmath={"contract", "reassoc"})
def _average(u, basis, norm, out):  # type: ignore[no-untyped-def]
    """Rows s with s.u the average l_p norm of z = Q u, for each unit of ``u``.

    ``l1``: s = Q' sign(z) / n. ``linf``: sign(z) times the row of Q where |z| is largest.
    """
    rank, n = basis.shape
    out[:] = 0.0
    place, extreme = np.zeros(len(u), np.int64), np.zeros(len(u))
    for begin in range(0, n, SAMPLES):
        z = np.empty(min(SAMPLES, n - begin))
        end = begin + z.size
        for a in range(len(u)):
            z[:] = 0.0
            for r in range(0, rank, 2):  # two at a time: z is read and written less often
                h, g = u[a, r].real, u[a, r + 1].real
                row, below = basis[r, begin:end], basis[r + 1, begin:end]
                for i in range(z.size):
                    z[i] += h * row[i] + g * below[i]
            if norm == LINF:
                for i in range(z.size):
                    if abs(z[i]) > abs(extreme[a]):
                        place[a], extreme[a] = begin + i, z[i]
                continue
            for i in range(z.size):
                z[i] = 1.0 * (z[i] > 0.0) - 1.0 * (z[i] < 0.0)
            for r in range(0, rank, 2):
                total, other = 0.0, 0.0
                row, below = basis[r, begin:end], basis[r + 1, begin:end]
                for i in range(z.size):
                    total += z[i] * row[i]
                    other += z[i] * below[i]
                out[a, r] += total / n
                out[a, r + 1] += other / n
    if norm == LINF:
        for a in range(len(u)):
            out[a, :rank] = np.sign(extreme[a]) * basis[:, place[a]]


@compiled(fastmath={"contract"})
def _forward(theta, shape, basis, first, x, path, means, scales, trace):  # type: ignore[no-untyped-def]
    """Layers ``first``, .., k - 1 (from 0) on ``x``; their outputs are written to ``path``.

    ``trace`` keeps, per normalised layer, the normalised values N, the gradient of what divides
    by the values before, and its inverse: all that `_backward` needs.
    """
    k, d = shape.k, shape.d
    n = basis.shape[1]
    root = math.sqrt(n)
    normal, slope, inverse = trace
    for layer in range(first, k):
        start = layer * shape.stride
        u = path[layer]
        _product(theta, start, d, 1, x if layer == first else path[layer - 1], u)
        start += d * d
        if shape.bias:
            for a in range(d):
                u[a, 0] += theta[start + a] * root
            start += d
        if layer == k - 1 or shape.norm == NONE:
            continue
        slopes = slope[layer]
        if shape.norm == L1 or shape.norm == LINF:
            _average(u, basis, shape.norm, slopes)
        for a in range(d):
            row = u[a]
            means[layer, a] = row[0].real / root
            if shape.norm == BN:
                row[0] = 0.0
                scale = _dot(row, row) * (1.0 / n)
                gain = _inverse(_root(scale + shape.eps))
            else:
                if shape.norm == L2:
                    scale = _dot(row, row) * (1.0 / n)
                    gain = 0.0 * scale  # as torch has it for the norm of a vector of zeros
                    if scale.real != 0.0:
                        scale = _root(scale)
                        gain = _inverse(scale) * (1.0 / n)
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


@compiled(fastmath={"contract"})
def _backward(theta, shape, n, last, x, path, trace, flow, grad):  # type: ignore[no-untyped-def]
    """From the gradient by the outputs, in ``flow[0]``, to that by the parameters.

    Goes down to layer ``last`` (from 0), whose input is ``x``. ``grad`` takes the gradients of all
    layers from there on if its size is that of ``theta``, otherwise that of W of ``last`` only.
    """
    k, d = shape.k, shape.d
    root = math.sqrt(n)
    normal, slope, inverse = trace
    whole = grad.size == theta.size
    here = 0
    for layer in range(k - 1, last - 1, -1):
        start = layer * shape.stride
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
            _product(theta, start, 1, d, g, flow[1 - here])
            here = 1 - here


def _run(thetas, numbers, prefix, shape, data, factor, rates):  # type: ignore[no-untyped-def]
    """Passes at ``thetas``, or one from each layer of ``numbers`` on, whose input ``prefix`` holds.

    Args:
        factor: of the sum of squares in the loss.
        rates: the weight decay of each parameter, or nothing.

    Returns:
        Objective and data loss ``(passes, 2)``; gradients ``(passes, ..)``, by all parameters or by
        the W of each of ``numbers``; outputs, means and scales of the layers in the last pass.
    """
    d, width = data.inputs.shape
    kind, n, normalised = (
        thetas.dtype,
        data.basis.shape[1],
        0 if shape.norm == NONE else shape.k - 1,
    )
    whole = numbers.size == 0
    count, size = (len(thetas), thetas.shape[1]) if whole else (len(numbers), d * d)
    losses, grads = np.empty((count, 2), kind), np.empty((count, size), kind)
    path = np.empty((shape.k, d, width), kind)
    means, scales = np.empty((normalised, d)), np.empty((normalised, d))
    layers = normalised, d, width
    trace = np.empty(layers, kind), np.empty(layers, kind), np.empty((normalised, d), kind)
    flow, x = np.empty((2, d, width), kind), np.empty((d, width), kind)
    for p in range(count):
        theta, grad = thetas[p if whole else 0], grads[p]
        first = 0 if whole else numbers[p] - 1
        x[:] = data.inputs
        if first > 0:
            x[:] = prefix[first - 1]
        _forward(theta, shape, data.basis, first, x, path, means, scales, trace)
        loss = factor * data.rest + 0.0 * theta[0]
        for a in range(d):
            for r in range(width):
                flow[0, a, r] = path[-1, a, r] - data.targets[a, r]
            loss += factor * _dot(flow[0, a], flow[0, a])
        flow[0] *= 2.0 * factor
        _backward(theta, shape, n, first, x, path, trace, flow, grad)
        losses[p] = loss
        start = first * shape.stride
        for i in range(size if rates.size else 0):
            decayed = rates[start + i] * theta[start + i]
            grad[i] += decayed
            losses[p, 0] += decayed * theta[start + i] / 2
    return losses, grads, path, means, scales


try:
    run = compiled(cache=True, nogil=True)(_run)
except RuntimeError:  # there is no folder to keep it in
    run = compiled(nogil=True)(_run)
