"""Glorot initialisation, one random stream per layer.

Layer i's weights depend on the run's seed and on i only, so networks that differ in their
normalisation start from the same weights.
"""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.nn.utils import skip_init

from bnexp.errors import UserError
from bnexp.seeds import generator

INITS = {"glorot_uniform": nn.init.xavier_uniform_, "glorot_normal": nn.init.xavier_normal_}


def initialise(affine: nn.Conv2d | nn.Linear, init: str, seed: int, number: int) -> None:
    """Fill the weight of layer ``number`` by ``init`` (a key of INITS) and its bias with zeros.

    Raises:
        UserError: ``init`` is not known.
    """
    if init not in INITS:
        raise UserError(f"model.init: expected one of {', '.join(INITS)}; got '{init}'")
    INITS[init](affine.weight, generator=generator(seed, "init", number))
    if affine.bias is not None:
        nn.init.zeros_(affine.bias)


M = TypeVar("M", bound=nn.Module)


def empty(kind: type[M], *args: Any, **kwargs: Any) -> M:
    """``kind(*args, **kwargs)`` with its parameters not filled in, so no random number is drawn."""
    module = skip_init(kind, *args, **kwargs)  # type: ignore[no-untyped-call]
    assert isinstance(module, kind)
    return module
