"""Small random networks in the setting of Fig 7: a linear layer, BN, and a smooth random loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.seeds import derive, generator
from bnexp.theory.setting import Case

BATCHES = (3, 8, 32, 128)
INPUTS = (1, 3, 10, 30)
UNITS = (1, 2, 5)
OUTPUTS = 3
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (torch.tanh, F.softplus, lambda z: z)
LOSSES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda out, target: (out - target).square().sum() / 2,
    lambda out, target: F.cross_entropy(out, target.argmax(1)),
)


def random_cases(count: int, seed: int) -> Iterator[Case]:
    """``count`` cases, each a function of ``seed`` and its number; float64."""
    for number in range(count):
        yield random_case(seed, number)


def random_case(seed: int, number: int) -> Case:
    """Case ``number``: every batch size meets every number of inputs, of units, and loss.

    gamma has either sign and a size over two decades, the inputs a mean and a size of their own;
    tanh and the cross-entropy give Hessians of either sign.
    """
    stream = generator(seed, "theory", number)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    def decade() -> float:
        return 10 ** float(2 * torch.rand((), generator=stream, dtype=torch.float64) - 1)

    m, d = BATCHES[number % 4], INPUTS[number // 4 % 4]
    units = UNITS[number % 3]
    activation, loss = ACTIVATIONS[number // 2 % 3], LOSSES[number % 2]
    x = decade() * (normal(m, d) + normal(d))
    weight, bias = normal(units, d) / d**0.5, normal(units)
    mixing, shift, target = normal(units, OUTPUTS), normal(OUTPUTS), normal(m, OUTPUTS)

    def rest(z: Tensor) -> Tensor:
        return loss(activation(z) @ mixing + shift, target)

    def on(inputs: Tensor) -> Case:
        return replace(case, affine=lambda w: inputs @ w.T + bias, inputs=lambda: inputs)

    case = Case(
        affine=lambda w: x @ w.T + bias,
        weight=weight,
        rest=rest,
        gamma=decade() * normal(units),
        beta=normal(units),
        inputs=lambda: x,
        again=on,
        seed=derive(seed, "theory", number),
    )
    return case
