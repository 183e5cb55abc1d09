"""A network as the paper sees it: an ordered list of numbered layers.

One :class:`Layer` is the paper's layer i: the affine map with weight W_i, then its normalisation,
its non-linearity and its pooling. Layers are numbered from 1, as in the paper's figures, also in
the names of the parameters: ``layers.10.affine.weight`` is W_10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bnexp.norms import widened

Params = Mapping[str, Tensor]
"""Parameters by name, as in ``dict(model.named_parameters())``."""


class Layer(nn.Module):
    """affine -> norm (and noise) -> non-linearity -> pooling.

    The output of ``norm`` is the pre-activation that the paper's distributions are about
    (Figs 1c, 2, 6, 8, 9): after the norm and noise, before the non-linearity.
    """

    def __init__(
        self,
        affine: nn.Conv2d | nn.Linear,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.affine = affine
        self.norm = norm if norm is not None else nn.Identity()
        self.activation = activation if activation is not None else nn.Identity()
        self.pool = pool if pool is not None else nn.Identity()
        self.keep: Callable[[Tensor], None] | None = None

    @property
    def units(self) -> int:
        """How many units (channels of a convolution) the layer has."""
        return int(self.affine.weight.shape[0])

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.affine, nn.Linear):
            x = x.flatten(1)
        x = self.norm(self.affine(x))
        if self.keep is not None:
            self.keep(x)
        out: Tensor = self.pool(self.activation(x))
        return out


class Layers(nn.Module):
    """The layers of a network, numbered from 1: ``layers[10]`` is the paper's layer #10."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        for number, layer in enumerate(layers, start=1):
            self.add_module(str(number), layer)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, number: int) -> Layer:
        if not 1 <= number <= len(self):
            raise IndexError(f"layers are numbered 1 to {len(self)}; there is no layer {number}")
        layer = self._modules[str(number)]
        assert isinstance(layer, Layer)
        return layer

    def __iter__(self) -> Iterator[Layer]:
        return (self[number] for number in self.numbers())

    def numbers(self) -> range:
        """1, 2, .., k."""
        return range(1, len(self) + 1)


class Network(nn.Module):
    """A chain of :class:`Layer`; what every probe measures.

    With ``autocast`` the layers multiply in that type, by torch's autocast, from parameters that
    stay float32; what the last one gives, and what `captured` keeps, is float32 again.
    """

    autocast: torch.dtype | None = None

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = Layers(layers)

    @cached_property
    def own_params(self) -> dict[str, Tensor]:
        """The network's own parameters by name; found once, as walking the modules takes long."""
        return dict(self.named_parameters())

    @cached_property
    def parts(self) -> tuple[nn.Module, ...]:
        """Every module of the network, itself included; found once, as `own_params`."""
        return tuple(self.modules())

    def forward(self, x: Tensor) -> Tensor:
        return self.run_from(1, x)

    def run_from(self, first: int, x: Tensor, params: Params | None = None) -> Tensor:
        """Layers ``first``, .., k on ``x``, the input of layer ``first``.

        ``params`` (by full name; default the network's own) stand in for the parameters.
        """
        with self._precision(x.device):
            for number in range(first, len(self.layers) + 1):
                x = self._run_layer(number, x, params)
        return widened(x)

    def run_layer(self, number: int, x: Tensor, params: Params | None = None) -> Tensor:
        """Layer ``number`` alone on its input ``x``, with its parameters out of ``params``."""
        with self._precision(x.device):
            return self._run_layer(number, x, params)

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        # no cache of converted weights: a pass uses each once, and graphs must not keep them
        return torch.autocast(device.type, self.autocast, cache_enabled=False)

    def _run_layer(self, number: int, x: Tensor, params: Params | None) -> Tensor:
        layer = self.layers[number]
        if params is None:
            out: Tensor = layer(x)
            return out
        prefix = f"layers.{number}."
        own = {name: params[prefix + name] for name, _ in layer.named_parameters()}
        replaced: Tensor = functional_call(layer, own, (x,))
        return replaced

    def weight_name(self, number: int) -> str:
        """The name of W_i, the affine map's weight of layer ``number``."""
        self.layers[number]
        return f"layers.{number}.affine.weight"

    def weight_names(self) -> list[str]:
        """The names of W_1, .., W_k."""
        return [self.weight_name(number) for number in self.layers.numbers()]

    def layer_of(self, name: str) -> int:
        """The number of the layer that the parameter ``name`` belongs to."""
        return int(name.split(".")[1])


@contextmanager
def captured(model: Network, numbers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """Within it, a forward pass leaves the pre-activations of the layers ``numbers`` in the dict.

    Each is ``(batch, units)`` or ``(batch, channels, height, width)``, detached. No second pass.
    """
    found: dict[int, Tensor] = {}

    def keeper(number: int) -> Callable[[Tensor], None]:
        def keep(x: Tensor) -> None:
            found[number] = widened(x.detach())

        return keep

    watched = {number: model.layers[number] for number in numbers}
    try:
        for number, layer in watched.items():
            # neither a hook nor a module's own way to set something: both take long
            object.__setattr__(layer, "keep", keeper(number))
        yield found
    finally:
        for layer in watched.values():
            object.__setattr__(layer, "keep", None)
