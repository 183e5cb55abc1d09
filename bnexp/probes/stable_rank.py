"""Stable rank of pre-activations: in how many directions inputs still differ at a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from bnexp.probes.base import LayerProbe, LayerSchedule, Rows, Step
from bnexp.registry import PROBES


@PROBES.register("stable_rank", LayerSchedule)
class StableRank(LayerProbe):
    """Table ``stable_rank``: ||A||_F^2 / ||A||_2^2 of the matrix A whose rows are samples of the
    batch and positions, and whose columns are the units of a layer.

    1 where all samples are parallel, which deep networks tend to at initialisation without BN and
    not with it (Daneshmand et al. 2020, arXiv 2003.01652); at most the number of units.
    """

    tables = {
        "stable_rank": {
            "step": "training step t",
            "layer": "layer, from 1",
            "stable_rank": "of its pre-activations: sum of squared singular values / the largest",
            "units": "units of the layer",
        }
    }
    passive = True

    def before_update(self, step: Step) -> Rows:
        ranks = [stable_rank(step.activations[number]) for number in self.numbers]
        units = [step.activations[number].shape[1] for number in self.numbers]
        return self.rows(step, self.numbers, ranks, units)


def stable_rank(values: Tensor) -> Tensor:
    """Of the matrix of ``values``, ``(batch, units, ..)``, a scalar; NaN where all are zero."""
    columns = values.movedim(1, -1).reshape(-1, values.shape[1]).double()
    gram = (columns / columns.abs().amax()).T @ columns  # scaled, so that nothing overflows
    rank: Tensor = gram.trace() / torch.linalg.eigvalsh(gram.nan_to_num())[-1]
    return rank
