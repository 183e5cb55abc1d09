"""How far each layer's weight moves in a step, and by what angle it turns."""

from __future__ import annotations

import torch

from bnexp.probes.base import LayerProbe, LayerSchedule, Rows, Step
from bnexp.registry import PROBES


@PROBES.register("updates", LayerSchedule)
class Updates(LayerProbe):
    """Table ``updates``: W_i at theta_t and at theta_{t+1}, the weight of each layer as one vector.

    With a normalisation after it, a weight's length does not matter and its direction is what it
    computes; the relative update is the layer's effective learning rate. Under SGD with learning
    rate eta and L2 coefficient lambda it tends to sqrt(2 eta lambda) where the gradient is
    orthogonal to the weight (Wan et al. 2021; Kosson et al. 2023): rotational equilibrium.
    """

    tables = {
        "updates": {
            "step": "training step t",
            "layer": "layer i",
            "weight_norm": "||W_i|| at theta_t",
            "update_norm": "||W_i(theta_{t+1}) - W_i(theta_t)||",
            "relative_update": "update_norm / weight_norm",
            "angle": "between W_i at theta_t and at theta_{t+1}, in radians",
        }
    }
    passive = True
    wants_update = True

    def captures(self) -> list[int]:
        return []

    def after_update(self, step: Step) -> Rows:
        assert step.new_params is not None
        names = [self.setting.model.weight_name(number) for number in self.numbers]
        before, after = (
            [params[name].detach().double() for name in names]
            for params in (step.params, step.new_params)
        )
        size, new_size = torch._foreach_norm(before), torch._foreach_norm(after)
        moved = torch._foreach_norm(torch._foreach_sub(after, before))
        # Kahan's form: arccos of the cosine has no digits left at small angles.
        units = torch._foreach_div(before, size), torch._foreach_div(after, new_size)
        apart = torch.stack(torch._foreach_norm(torch._foreach_sub(*units)))
        along = torch.stack(torch._foreach_norm(torch._foreach_add(*units)))
        angle = 2 * torch.atan2(apart, along)
        relative = torch._foreach_div(moved, size)
        return self.rows(step, self.numbers, size, moved, relative, [*angle])
