"""What the registered networks share: their options, what the data ask of them, and building."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from bnexp.errors import UserError
from bnexp.models.init import INITS, initialise
from bnexp.models.network import Network
from bnexp.registry import MODELS, NORMS, Options, one_of
from bnexp.seeds import derive

MakeNorm = Callable[[int, int], nn.Module]
"""The normalisation of layer ``number`` with so many ``units``."""


@dataclass(frozen=True)
class ModelOptions(Options):
    """``init`` is a key of `INITS`; ``loss`` one of ``bnexp/objective.py``."""

    init: str
    loss: str

    def check(self, key: str) -> None:
        one_of(f"{key}.init", self.init, tuple(INITS))


@dataclass(frozen=True)
class Task:
    """What the data ask of a network: ``channels`` of the images and ``classes`` of the targets."""

    channels: int = 3
    classes: int = 10


def build_model(
    name: str, options: Options, norm: str, norm_options: Options, task: Task, seed: int
) -> Network:
    """The network called ``name`` with the norm called ``norm``, initialised from ``seed``.

    So are parameters that belong to no layer. torch's random state is left as it is.

    Raises:
        UserError: there is no such model or norm, or the model has no numbered layers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        network = _construct(name, options, norm, norm_options, task, seed)
    if not network.layers:
        raise UserError(f"model: expected numbered layers; model={name} has none")
    if isinstance(options, ModelOptions):
        initialise(network, options.init, seed)
    return network


_LAYER_COUNTS: dict[str, int] = {}


def layer_count(name: str, options: Options, norm: str, norm_options: Options) -> int:
    """How many layers the network has; nothing of its size is allocated."""
    key = repr((name, options, norm, norm_options))
    if key not in _LAYER_COUNTS:
        with torch.device("meta"):
            network = _construct(name, options, norm, norm_options, Task(), 0)
        _LAYER_COUNTS[key] = len(network.layers)
    return _LAYER_COUNTS[key]


def _construct(
    name: str, options: Options, norm: str, norm_options: Options, task: Task, seed: int
) -> Network:
    make = NORMS[norm].item

    def norm_of(number: int, units: int) -> nn.Module:
        module: nn.Module = make(units, norm_options, derive(seed, "noise", number))
        return module

    network: Network = MODELS[name].item(options, norm_of, task)
    return network
