"""What a run saves to go on from where it was, or to be looked at again."""

from __future__ import annotations

import copy
import io
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from bnexp.runs import Manifest, RunDirectory, write_atomic
from bnexp.runs.files import expect_plain
from bnexp.training.build import trainer_of
from bnexp.training.loop import Trainer

FORMAT = 2


def state_of(trainer: Trainer) -> dict[str, Any]:
    """What the next step depends on: parameters, buffers, optimiser, schedule, probes, random."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "model": trainer.setting.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.schedule.state_dict() if trainer.schedule else {},
        "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        "probes": {probe.name: own for probe in trainer.probes if (own := probe.state())},
    }


def load_state(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Put ``trainer`` back to what `state_of` gave."""
    trainer.setting.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.schedule:
        trainer.schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["random"]["cpu"])
    if state["random"]["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random"]["cuda"])
    for probe in trainer.probes:
        probe.load_state(state["probes"].get(probe.name, {}))


class Checkpoints:
    """The last checkpoint of the run in ``directory`` and the one before it."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.files = tuple(directory.path / f"checkpoint{name}.pt" for name in ("", "-before"))

    def save(self, step: int, state: Mapping[str, Any], manifest: Manifest) -> None:
        """Write all that ``step`` needs to be made next; cut off anywhere, one whole one is there.

        ``state`` holds tensors and plain values; ``manifest`` the parts of the tables that belong
        to it, flushed before.
        """
        content = io.BytesIO()
        saved = {"format": FORMAT, "run": self.directory.id, "step": step, "tables": manifest}
        torch.save({**saved, "state": dict(state)}, content)
        self.directory.check()
        last, before = self.files
        with suppress(UserError):  # damaged: the one before it is the better one
            if last.exists() and _read(last):
                last.replace(before)
        write_atomic(last, content.getvalue())

    def load(self, say: Callable[[str], None]) -> tuple[int, dict[str, Any], Manifest] | None:
        """The step, state and manifest of the last one that is whole; None if there is none.

        Where the last one is damaged and the one before it is whole, ``say`` is called with that.
        """
        damaged: list[str] = []
        for file in filter(Path.exists, self.files):
            try:
                content = _read(file)
            except UserError as error:
                damaged.append(str(error))
                continue
            if (of := content["run"]) != self.directory.id:
                mine = self.directory.id
                raise UserError(f"{file}: expected a checkpoint of run {mine}; it is of run {of}")
            for message in damaged:
                say(f"{message}; going on from the one before it")
            return content["step"], content["state"], content["tables"]
        if damaged:
            path = self.directory.path
            raise UserError(f"{'; '.join(damaged)}; remove {path} to make the run anew")
        return None


def _read(file: Path) -> dict[str, Any]:
    """The content of ``file``: tensors, on the CPU, and plain values; nothing in it is run."""
    expect_plain(file)
    try:
        with zipfile.ZipFile(file) as archive:
            if (record := archive.testzip()) is not None:
                raise ValueError(f"checksum of {record}")
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        kinds = {"format": int, "run": str, "step": int, "tables": dict, "state": dict}
        if not all(isinstance(content[key], kind) for key, kind in kinds.items()):
            raise TypeError("types")
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
    except Exception as error:
        raise UserError(
            f"{file}: expected a checkpoint of format {FORMAT}; it is damaged or of another "
            f"version ({type(error).__name__})"
        ) from error
    return content


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

    A `UserError` says what is missing or damaged: checkpoint, config or data.
    """
    bare = {"probes": {}, "logger": {"name": "none"}, "progress": False, "plugins": []}
    checked = check({**config, **bare, "device": "cpu"})
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
