"""The networks, each an ordered list of numbered layers, and the one function that builds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnexp.config.schema import DlnConfig, ModelConfig, NormConfig, VggConfig
from bnexp.errors import UserError
from bnexp.models.dln import dln
from bnexp.models.layers import Layer, Layers, Network, Params, captured
from bnexp.models.vgg import STAGES, vgg
from bnexp.norms import NormOptions, build_norm
from bnexp.seeds import derive

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Layer",
    "Layers",
    "Network",
    "Params",
    "build_model",
    "captured",
    "dln",
    "layer_count",
    "vgg",
]


def build_model(model: ModelConfig, norm: NormConfig, *, classes: int | None, seed: int) -> Network:
    """The network that the configs ``model`` and ``norm`` describe, initialised from ``seed``.

    Args:
        classes: how many classes the data has; None for regression.

    Raises:
        UserError: the model does not fit the data, or the initialisation is not known.
    """
    options = NormOptions(
        eps=norm.eps,
        momentum=norm.momentum,
        n_mu=norm.n_mu,
        n_sigma=norm.n_sigma,
        r_mu=norm.r_mu,
        r_sigma=norm.r_sigma,
    )

    def norm_of(number: int, units: int) -> nn.Module:
        return build_norm(norm.name, units, options, derive(seed, "noise", number))

    if isinstance(model, VggConfig):
        if classes is None:
            raise UserError(f"data: model={model.name} expects images with classes")
        return vgg(
            model.name,
            norm_of,
            classes=classes,
            width=model.width,
            head=model.hidden,
            init=model.init,
            seed=seed,
        )
    if classes is not None:
        raise UserError("data: model=dln expects data=gaussian")
    return dln(norm_of, k=model.k, d=model.d, init=model.init, seed=seed)


def layer_count(model: ModelConfig) -> int:
    """How many layers the network will have, without building it."""
    if isinstance(model, DlnConfig):
        return model.k
    return sum(STAGES[model.name]) + len(model.hidden) + 1
