"""A layer of any network with numbered layers on its batch, in the setting of Fig 7."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from bnexp.models.network import Network
from bnexp.norms import BatchNorm, at_least_float32, frozen_statistics
from bnexp.objective import Objective
from bnexp.theory.setting import Case


def inputs_of(model: Network, numbers: Sequence[int], batch: Tensor) -> dict[int, Tensor]:
    """What reaches the affine map of each layer of ``numbers`` when ``batch`` is run through.

    With the batch's statistics; the running ones are left as they are.
    """
    inputs: dict[int, Tensor] = {}

    def capture(number: int, x: Tensor) -> None:
        inputs[number] = at_least_float32(x.detach())

    hooks = [
        model.affine(number).register_forward_pre_hook(
            lambda _module, args, number=number: capture(number, args[0])
        )
        for number in numbers
    ]
    try:
        with torch.no_grad(), frozen_statistics(model.parts):
            model.outputs(batch)
    finally:
        for hook in hooks:
            hook.remove()
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
    """Layer ``number`` of ``model`` on what reaches it; L is the data loss as a function of z.

    Args:
        x: what reaches the layer's affine map (`inputs_of`) when ``inputs`` is run through.

    The L2 term does not depend on y. A BN layer that was trained keeps its gamma and beta (eps is
    0, or its own where ``own_eps``). After any other layer a BN layer is put with gamma = sigma and
    beta = mu, so that nothing else changes; another normalisation there belongs to the rest, as
    does the noise of noisy BN. The rest is the network with z in place of that module's output.
    Use in training mode, with ``frozen_statistics``.
    """
    affine, bn = model.affine(number), bn_of(model, number)
    assert isinstance(affine, nn.Linear | nn.Conv2d)
    own = {name: value.detach() for name, value in affine.named_parameters()}
    params = {name: value.detach() for name, value in model.named_parameters()}

    def rest(z: Tensor) -> Tensor:
        with frozen_statistics(model.parts), _replaced(affine if bn is None else bn, z):
            return objective.data(model.outputs(inputs, params), targets)

    return Case(
        affine=lambda weight: functional_call(affine, {**own, "weight": weight}, (x,)),
        weight=own["weight"],
        rest=rest,
        gamma=None if bn is None else bn.weight.detach(),
        beta=None if bn is None else bn.bias.detach(),
        inputs=lambda: _matrix(affine, x),
        start=start,
        eps=bn.eps if bn is not None and own_eps else 0.0,
        seed=seed,
    )


@contextmanager
def _replaced(module: nn.Module, output: Tensor) -> Iterator[None]:
    """Within it ``output`` stands in for what ``module`` puts out."""
    hook = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        hook.remove()


def _matrix(affine: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """X, a row for each sample and position, a column for each weight of a unit."""
    if isinstance(affine, nn.Linear):
        return x
    assert affine.groups == 1
    assert not isinstance(affine.padding, str)
    columns = F.unfold(
        x, affine.weight.shape[2:], affine.dilation, affine.padding, affine.stride
    )  # fmt: skip
    return columns.movedim(1, 2).flatten(0, 1)
