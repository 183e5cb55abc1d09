"""Initialisation of the numbered layers, one random stream per layer.

Layer i's weights depend on the seed and on i only, so networks that differ in their normalisation
start from the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from bnexp.models.network import Network
from bnexp.seeds import generator

INITS: dict[str, Callable[..., Tensor]] = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "he_uniform": lambda w, generator: nn.init.kaiming_uniform_(
        w, nonlinearity="relu", generator=generator
    ),
    "he_normal": lambda w, generator: nn.init.kaiming_normal_(
        w, nonlinearity="relu", generator=generator
    ),
    "orthogonal": nn.init.orthogonal_,
    "torch": lambda w, generator: nn.init.kaiming_uniform_(w, a=math.sqrt(5), generator=generator),
}
"""Of the weights, by name; ``torch`` is the law of torch's own linear and convolutional modules."""


def initialise(network: Network, init: str, seed: int) -> None:
    """Fill the weight of every numbered layer by ``init`` (a key of `INITS`), its bias with zeros.

    With ``torch`` biases are uniform within 1/sqrt(fan-in), as torch has them. Parameters that
    belong to no layer's affine map are left as they are.
    """
    for number in network.layers:
        affine, source = network.affine(number), generator(seed, "init", number)
        assert isinstance(affine.weight, Tensor)
        INITS[init](affine.weight, generator=source)
        if isinstance(affine.bias, Tensor):
            bound = affine.weight[0].numel() ** -0.5 if init == "torch" else 0.0
            nn.init.uniform_(affine.bias, -bound, bound, generator=source)
