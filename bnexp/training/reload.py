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
from bnexp.training.checkpoint import Checkpoints
from bnexp.training.run import Job, trainer_of

LATER = {"tf32": False, "cuda_graphs": "auto", "together": True}
"""Keys that the config of an older run may lack; none changes what is loaded."""


def _told(text: str) -> None:
    """A damaged last checkpoint where the one before is whole: said, as when a run resumes."""
    print(f"bnexp: {text}", file=sys.stderr)


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
    checkpoints = Checkpoints(path)
    if not any(file.exists() for file in checkpoints.files):
        raise UserError(f"{path}: expected a checkpoint of the trained network; there is none")
    checked = check({**LATER, **config, "device": "cpu", "probes": {}, "progress": False})
    trainer, _ = trainer_of(Job(checked, torch.device("cpu"), "", RunDirectory(path)))
    model = trainer.setting.model
    initial = copy.deepcopy(model).double()
    state = torch.get_rng_state()
    following = checkpoints.load(model, trainer.optimizer, _told)
    torch.set_rng_state(state)
    step = min(following, trainer.steps)
    batch = trainer.batches.at(step)
    targets = batch.targets.double() if batch.targets.is_floating_point() else batch.targets
    at_step(model, step)
    return Reloaded(
        model.double().train(),
        initial,
        trainer.setting.objective,
        batch.inputs.double(),
        targets,
        step,
    )
