"""The VGG networks (Simonyan and Zisserman 2015) for 32x32 input (paper, Appendix A.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from bnexp.models.init import empty, initialise
from bnexp.models.layers import Layer, Network

STAGES: dict[str, tuple[int, int, int, int, int]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""How many 3x3 convolutions each of the five stages has; a max-pool ends each stage."""

CHANNELS = (64, 128, 256, 512, 512)


def vgg(
    name: str,
    norm: Callable[[int, int], nn.Module],
    *,
    classes: int,
    width: float = 1.0,
    head: Sequence[int] = (),
    init: str = "glorot_uniform",
    seed: int = 0,
) -> Network:
    """The VGG called ``name``: input ``(batch, 3, 32, 32)``, logits ``(batch, classes)``.

    Args:
        norm: gives the normalisation of layer ``number`` with so many ``units``; put after each
            convolution, before the ReLU. The head is not normalised.
        width: multiplies the channels of every convolution (at least one is kept).
        head: widths of hidden linear layers before the logits; none is the linear head.

    The convolutions are layers 1 to 8, 10, 13 or 16, the head's layers come after them.
    """
    layers: list[Layer] = []
    channels = 3

    def add(affine: nn.Conv2d | nn.Linear, **rest: nn.Module | None) -> None:
        initialise(affine, init, seed, len(layers) + 1)
        layers.append(Layer(affine, **rest))

    for convolutions, full in zip(STAGES[name], CHANNELS, strict=True):
        for i in range(convolutions):
            out = max(1, round(full * width))
            pool = nn.MaxPool2d(2) if i == convolutions - 1 else None
            conv = empty(nn.Conv2d, channels, out, 3, padding=1)
            add(conv, norm=norm(len(layers) + 1, out), activation=nn.ReLU(), pool=pool)
            channels = out
    for hidden in head:
        add(empty(nn.Linear, channels, hidden), activation=nn.ReLU())
        channels = hidden
    add(empty(nn.Linear, channels, classes))
    return Network(layers)
