"""A trained network back from its run directory, on the batch of its last step."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bnexp.config import check
from bnexp.errors import UserError
from bnexp.models import Network
from bnexp.norms import at_step
from bnexp.objective import Objective
from bnexp.runs import RunDirectory
from bnexp.training.build import trainer_of
from bnexp.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class Reloaded:
    """A network as its last checkpoint has it, in float64 on the CPU, in training mode.

    ``inputs`` and ``targets`` are the batch of step ``step``, whose noise the network is at;
    ``initial`` is the same network before training.
    """

    model: Network
    initial: Network
    objective: Objective
    inputs: Tensor
    targets: Tensor
    step: int


def reload(path: Path, config: dict[str, Any]) -> Reloaded:
    """The network of the run in ``path`` with this ``config``. Nothing is written.

    Raises:
        UserError: there is no checkpoint or only damaged ones, the config is not one of this
            version, or the data are not there.
    """
    checked = check({**config, "device": "cpu", "probes": {}, "progress": False, "plugins": []})
    checkpoints = Checkpoints(RunDirectory(path))
    last = checkpoints.load(lambda text: print(f"bnexp: {text}", file=sys.stderr))
    if last is None:
        raise UserError(f"{path}: expected a checkpoint of the trained network; there is none")
    following, state, _ = last
    trainer, _ = trainer_of(checked, torch.device("cpu"))
    model, objective = trainer.setting.model, trainer.setting.objective
    initial = copy.deepcopy(model).double()
    model.load_state_dict(state["model"])
    step = min(following, trainer.steps)
    batch = trainer.batches.at(step)
    targets = batch.targets.double() if batch.targets.is_floating_point() else batch.targets
    at_step(model, step)
    model = model.double().train()
    return Reloaded(model, initial, objective, batch.inputs.double(), targets, step)
