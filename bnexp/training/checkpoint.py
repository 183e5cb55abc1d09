"""What a run saves to go on from where it was."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bnexp.errors import UserError
from bnexp.probes import Probe
from bnexp.runs.files import write_atomic

FORMAT = 1


def save(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    probes: Sequence[Probe] = (),
) -> None:
    """Write, in one step, all that step ``step`` needs to be made next.

    Parameters, buffers, the optimiser's state, that of the probes and torch's random state.
    bnexp's own random streams and the position in the data are functions of seed and step
    (``bnexp/seeds.py``).
    """
    content = io.BytesIO()
    state: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "probes": {probe.name: kept for probe in probes if (kept := probe.state())},
    }
    if torch.cuda.is_available():
        state["random_cuda"] = torch.cuda.get_rng_state_all()
    torch.save(state, content)
    write_atomic(path, content.getvalue())


def load(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    probes: Sequence[Probe] = (),
) -> int:
    """Put model, optimizer and probes back to what ``path`` holds; returns the next step.

    The file is read as tensors and plain values; nothing in it is run. One that says nothing of a
    probe puts it to its start.

    Raises:
        UserError: the file is damaged, or of another format.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if (damaged := file.testzip()) is not None:
                raise ValueError(f"checksum of {damaged}")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        for probe in probes:
            probe.load_state(state.get("probes", {}).get(probe.name, {}))
        return int(state["step"])
    except Exception as error:
        raise UserError(
            f"{path}: expected a checkpoint of format {FORMAT}; it is damaged or of another "
            f"version ({type(error).__name__})"
        ) from error


@dataclass(frozen=True)
class Checkpoints:
    """The last two checkpoints of the run in ``folder``."""

    folder: Path

    @property
    def files(self) -> tuple[Path, Path]:
        """The last one and the one before it, whether they are there or not."""
        return self.folder / "checkpoint.pt", self.folder / "checkpoint-before.pt"

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        probes: Sequence[Probe] = (),
    ) -> None:
        """A new last one. Cut off anywhere in between, one whole checkpoint is there."""
        last, before = self.files
        if last.exists():
            last.replace(before)
        save(last, step, model, optimizer, probes)

    def load(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        say: Callable[[str], None],
        probes: Sequence[Probe] = (),
    ) -> int:
        """Go back to the last one that is whole; returns the next step, 0 if there is none.

        Where the last one is damaged and the one before it is whole, ``say`` is told.

        Raises:
            UserError: there are only damaged ones.
        """
        damaged: list[UserError] = []
        start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        for file in self.files:
            if not file.exists():
                continue
            try:
                following = load(file, model, optimizer, probes)
            except UserError as error:
                damaged.append(error)
                model.load_state_dict(start[0])
                optimizer.load_state_dict(start[1])
                continue
            for one in damaged:
                say(f"{one}; going on from the one before it")
            return following
        if damaged:
            told = "; ".join(map(str, damaged))
            raise UserError(f"{told}; remove {self.folder} to make the run anew")
        return 0
