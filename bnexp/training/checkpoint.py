"""What a run saves to go on from where it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bnexp.errors import UserError
from bnexp.runs.files import write_atomic

FORMAT = 1


def save(path: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write, in one step, all that step ``step`` needs to be made next.

    Parameters, buffers, the optimiser's state and torch's random state. bnexp's own random
    streams and the position in the data are functions of seed and step (``bnexp/seeds.py``).
    """
    content = io.BytesIO()
    state: dict[str, Any] = {
        "format": FORMAT,
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["random_cuda"] = torch.cuda.get_rng_state_all()
    torch.save(state, content)
    write_atomic(path, content.getvalue())


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put ``model`` and ``optimizer`` back to what ``path`` holds; returns the next step.

    The file is read as tensors and plain values; nothing in it is run.

    Raises:
        UserError: the file is damaged, or of another format.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']}")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if "random_cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["random_cuda"])
        return int(state["step"])
    except Exception as error:
        raise UserError(
            f"{path}: expected a checkpoint of format {FORMAT}; it is damaged or of another "
            f"version ({type(error).__name__}); remove it to start the run anew"
        ) from error
