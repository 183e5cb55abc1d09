"""What the registered networks share: their options, building and initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from bnexp.errors import UserError
from bnexp.models.dropout import add_dropout
from bnexp.models.network import Network
from bnexp.registry import MODELS, NORMS, Options, expect, one_of, positive
from bnexp.seeds import derive, generator

MakeNorm = Callable[[int, int], nn.Module]
"""The normalisation of layer ``number`` with so many ``units``."""

INITS: dict[str, Callable[..., Tensor]] = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
    "torch": partial(nn.init.kaiming_uniform_, a=math.sqrt(5)),
}
"""Laws of the initial weights; ``torch`` is that of torch's own modules."""


@dataclass(frozen=True)
class ModelOptions(Options):
    """``init`` is a key of `INITS`; ``loss`` one of ``bnexp/objective.py``, its targets smoothed by
    ``label_smoothing`` (Szegedy et al. 2016); ``dropout``: see `add_dropout`."""

    init: str
    loss: str
    dropout: float = field(default=0.0, kw_only=True)
    label_smoothing: float = field(default=0.0, kw_only=True)

    def check(self, key: str) -> None:
        one_of(f"{key}.init", self.init, tuple(INITS))
        for name in ("dropout", "label_smoothing"):
            value = getattr(self, name)
            expect(0 <= value < 1, f"{key}.{name}", "a number in [0, 1)", value)
        ok = self.label_smoothing == 0 or self.loss == "cross_entropy"
        expect(ok, f"{key}.label_smoothing", f"0 with the loss {self.loss}", self.label_smoothing)


@dataclass(frozen=True)
class ClassifierOptions(ModelOptions):
    """``width`` multiplies the channels or units of every hidden layer."""

    width: float

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.loss", self.loss, ("cross_entropy",))
        positive(f"{key}.width", self.width)


@dataclass(frozen=True)
class ConvolutionalOptions(ClassifierOptions):
    """``stem`` is cifar (a 3x3 convolution) or imagenet (7x7 with stride 2, then a max-pool)."""

    stem: str

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.stem", self.stem, ("cifar", "imagenet"))

    def stem_convolution(self, channels: int, out: int) -> nn.Conv2d:
        """The first layer's affine map."""
        size, stride = (3, 1) if self.stem == "cifar" else (7, 2)
        return nn.Conv2d(channels, out, size, stride, size // 2, bias=False)


@dataclass(frozen=True)
class Task:
    """What the data need: ``channels`` of the images and ``classes`` of the targets."""

    channels: int = 3
    classes: int = 10


def build_model(
    name: str, options: Options, norm: str, norm_options: Options, task: Task, seed: int
) -> Network:
    """The network called ``name`` with the norm called ``norm``, all initialised from ``seed``.

    torch's random state is left as it is.

    Raises:
        UserError: there is no such model or norm, the model has no numbered layers, or the norm is
            not for such a model.
    """

    def norm_of(number: int, units: int) -> nn.Module:
        module: nn.Module = NORMS[norm].item(units, norm_options, derive(seed, "noise", number))
        return module

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        network: Network = MODELS[name].item(options, norm_of, task)
    if not network.layers:
        raise UserError(f"model: expected numbered layers; model={name} has none")
    if isinstance(options, ModelOptions):
        initialise(network, options.init, seed, getattr(options, "init_scale", 1.0))
        if options.dropout:
            add_dropout(network, options.dropout, seed)
    attach(network)
    return network


def attach(network: Network) -> None:
    """Give each norm that has a method ``attach`` the affine map it follows (`bnexp.norms`)."""
    affine = {layer.norm: network.affine(number) for number, layer in network.layers.items()}
    for path, module in network.named_modules():
        if callable(give := getattr(module, "attach", None)):
            give(affine.get(path))


def initialise(network: Network, init: str, seed: int, scale: float = 1.0) -> None:
    """Fill the weight of every numbered layer by ``init`` (a key of `INITS`), its bias with zeros.

    Weights are multiplied by ``scale``.
    With ``torch`` biases are uniform within 1/sqrt(fan-in), as torch has them. Parameters that
    belong to no layer's affine map are left as they are. Layer i's weights depend on the seed and
    on i only, so networks that differ in their normalisation start from the same weights.
    """
    for number in network.layers:
        affine, source = network.affine(number), generator(seed, "init", number)
        assert isinstance(affine.weight, Tensor)
        INITS[init](affine.weight, generator=source)
        if scale != 1.0:
            with torch.no_grad():
                affine.weight.mul_(scale)
        if isinstance(affine.bias, Tensor):
            bound = affine.weight[0].numel() ** -0.5 if init == "torch" else 0.0
            nn.init.uniform_(affine.bias, -bound, bound, generator=source)


_LAYER_COUNTS: dict[str, int] = {}


def layer_count(name: str, options: Options, norm: str, norm_options: Options) -> int:
    """How many layers the network has; nothing of its size is allocated."""
    key = repr((name, options, norm, norm_options))
    if key not in _LAYER_COUNTS:
        with torch.device("meta"):
            make = NORMS[norm].item
            network = MODELS[name].item(options, lambda _, n: make(n, norm_options, 0), Task())
            attach(network)
        _LAYER_COUNTS[key] = len(network.layers)
    return _LAYER_COUNTS[key]
