"""Dropout that can be replayed, in any network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnexp.models.network import Network
from bnexp.norms import Replayed
from bnexp.seeds import derive


class Dropout(Replayed):
    """Drops a ``share`` of x and scales the rest by 1 / (1 - share), in training (Srivastava et al.
    2014). The same values for any dtype of ``x``."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(seed)
        self.share = share

    def sample(self, x: Tensor, stream: torch.Generator) -> tuple[Tensor, ...]:
        """What stays: true where it does."""
        return (torch.rand(x.shape, generator=stream, device=x.device) >= self.share,)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.draw(x)[0] / (1 - self.share) if self.training else x

    def before(self, _affine: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A hook that drops a module's first input."""
        return self(inputs[0]), *inputs[1:]


def add_dropout(network: Network, share: float, seed: int) -> None:
    """From now on drop a ``share`` of the inputs of every layer's affine map but the first's."""
    drops = {
        str(number): Dropout(share, derive(seed, "dropout", number)) for number in network.layers
    }
    del drops[min(drops, key=int)]
    network.dropouts = nn.ModuleDict(drops)
    for number, dropout in drops.items():
        network.affine(int(number)).register_forward_pre_hook(dropout.before)
