"""Weight normalisation (Salimans and Kingma 2016, equation 2): the weight is g v / ||v||."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnexp.errors import UserError
from bnexp.norms.paper import at_least_float32
from bnexp.registry import NORMS


class WeightNorm(nn.Module):
    """g (y - b) / ||v|| + beta for y = v x + b, unit by unit: equals (g v / ||v||) x + beta.

    As a norm after the affine map, whose weight W_i (Definition 2.1, and the L2 term) is v; its
    bias b has no effect, as before batch normalisation, and the loss does not depend on the length
    of a row of v. g (``weight``) starts at ||v||, so the network starts as the one without.
    """

    _affine: tuple[nn.Linear | nn.Conv2d]  # in a tuple, as it is no part of this module

    def attach(self, affine: nn.Linear | nn.Conv2d | None) -> None:
        """``affine`` is the map that the norm follows."""
        if affine is None:
            raise UserError("norm: expected one that can act on several layers at once; got weight")
        self._affine = (affine,)
        self.weight = nn.Parameter(self._lengths().detach())
        self.bias = nn.Parameter(torch.zeros_like(self.weight))

    def _lengths(self) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(self._affine[0].weight.flatten(1), dim=1)
        return lengths

    def forward(self, x: Tensor) -> Tensor:
        gain = self.weight / self._lengths()
        bias = self._affine[0].bias
        shift = self.bias if bias is None else self.bias - gain * bias
        gain, shift = (value.view(1, -1, *[1] * (x.dim() - 2)) for value in (gain, shift))
        return torch.addcmul(shift, at_least_float32(x), gain).to(x.dtype)


NORMS.register("weight")(lambda _units, _options, _seed: WeightNorm())
