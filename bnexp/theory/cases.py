"""Cases to check: small random networks, and layers of any network with numbered layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from bnexp.models.network import Network
from bnexp.norms import BatchNorm, at_least_float32, frozen_statistics
from bnexp.objective import Objective
from bnexp.seeds import derive, generator
from bnexp.theory.setting import Case

BATCHES, INPUTS, UNITS, OUTPUTS = (3, 8, 32, 128), (1, 3, 10, 30), (1, 2, 5), 3
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (torch.tanh, F.softplus, lambda z: z)
LOSSES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda out, target: (out - target).square().sum() / 2,
    lambda out, target: F.cross_entropy(out, target.argmax(1)),
)


def random_case(seed: int, number: int) -> Case:
    """A linear layer, BN, a non-linearity and a loss in float64, by ``seed`` and ``number``.

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
    return Case(
        affine=lambda w, x: x @ w.T + bias,
        weight=weight,
        x=x,
        rest=lambda z: loss(activation(z) @ mixing + shift, target),
        gamma=decade() * normal(units),
        beta=normal(units),
        seed=derive(seed, "theory", number),
    )


def inputs_of(model: Network, numbers: Sequence[int], batch: Tensor) -> dict[int, Tensor]:
    """What reaches the affine map of each layer of ``numbers`` when ``batch`` is run through.

    With the batch's statistics; the running ones are left as they are.
    """
    inputs: dict[int, Tensor] = {}

    def capture(number: int, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        inputs[number] = at_least_float32(args[0].detach())

    with ExitStack() as hooks, torch.no_grad(), frozen_statistics(model.parts):
        for number in numbers:
            hook = model.affine(number).register_forward_pre_hook(partial(capture, number))
            hooks.callback(hook.remove)
        model.outputs(batch)
    return inputs


def bn_of(model: Network, number: int) -> BatchNorm | None:
    """The layer's BN, noisy or not; None where it was trained without."""
    norm = model.norm(number)
    first = norm[0] if isinstance(norm, nn.Sequential) and len(norm) else norm
    return first if isinstance(first, BatchNorm) else None


def real_case(
    model: Network,
    objective: Objective,
    number: int,
    x: Tensor,
    inputs: Tensor,
    targets: Tensor,
    *,
    start: Tensor | None = None,
    own_eps: bool = False,
    seed: int = 0,
) -> Case:
    """Layer ``number`` of ``model`` on ``x``, its part of `inputs_of`; L is the data loss.

    A BN layer that was trained keeps its gamma and beta (eps is 0, or its own where ``own_eps``).
    After any other layer a BN layer is put with gamma = sigma and beta = mu, so that nothing else
    changes; another normalisation there belongs to the rest, as does the noise of noisy BN.
    """
    affine, bn = model.affine(number), bn_of(model, number)
    assert isinstance(affine, nn.Linear | nn.Conv2d)
    own = {name: value.detach() for name, value in affine.named_parameters()}
    params = {name: value.detach() for name, value in model.named_parameters()}

    def rest(z: Tensor) -> Tensor:
        hook = (affine if bn is None else bn).register_forward_hook(lambda *_: z)
        try:
            with frozen_statistics(model.parts):
                return objective.data(model.outputs(inputs, params), targets)
        finally:
            hook.remove()

    return Case(
        affine=lambda w, x: functional_call(affine, {**own, "weight": w}, (x,)),
        weight=own["weight"],
        x=x,
        rest=rest,
        gamma=None if bn is None else bn.weight.detach(),
        beta=None if bn is None else bn.bias.detach(),
        matrix=partial(_matrix, affine),
        start=start,
        eps=bn.eps if bn is not None and own_eps else 0.0,
        seed=seed,
    )


def _matrix(affine: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """X, a row for each sample and position, a column for each weight of a unit."""
    if isinstance(affine, nn.Linear):
        return x
    assert affine.groups == 1
    assert not isinstance(affine.padding, str)
    columns = F.unfold(x, affine.weight.shape[2:], affine.dilation, affine.padding, affine.stride)
    return columns.movedim(1, 2).flatten(0, 1)
