"""What a run saves to go on from where it was."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bnexp.errors import UserError
from bnexp.runs import Manifest, write_atomic

FORMAT = 2


def random_state() -> dict[str, Any]:
    """torch's random state on every device, to be saved with a checkpoint."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put torch's random state back to what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@dataclass(frozen=True)
class Checkpoints:
    """The last two checkpoints of run ``run_id`` in ``folder``.

    ``check`` is called before anything is written; it raises where the run is not this process's.
    """

    folder: Path
    run_id: str
    check: Callable[[], None] = lambda: None

    @property
    def files(self) -> tuple[Path, Path]:
        """The last one and the one before it, whether they are there or not."""
        return self.folder / "checkpoint.pt", self.folder / "checkpoint-before.pt"

    def save(self, step: int, state: Mapping[str, Any], manifest: Manifest) -> None:
        """Write all that ``step`` needs to be made next; cut off anywhere, one whole one is there.

        ``state`` holds tensors and plain values; ``manifest`` the parts of the tables that belong
        to it, flushed before.
        """
        content = io.BytesIO()
        saved = {"format": FORMAT, "run": self.run_id, "step": step, "tables": manifest}
        torch.save({**saved, "state": dict(state)}, content)
        self.check()
        last, before = self.files
        with suppress(UserError):  # damaged: the one before it is the better one
            if last.exists() and self._read(last):
                last.replace(before)
        write_atomic(last, content.getvalue())

    def load(self, say: Callable[[str], None]) -> tuple[int, dict[str, Any], Manifest] | None:
        """The step, state and manifest of the last one that is whole; None if there is none.

        Read as tensors, on the CPU, and plain values; nothing in the files is run. Where the last
        one is damaged and the one before it is whole, ``say`` is called with that.
        """
        damaged: list[str] = []
        for file in self.files:
            if not file.exists():
                continue
            try:
                content = self._read(file)
            except UserError as error:
                damaged.append(str(error))
                continue
            if content["run"] != self.run_id:
                raise UserError(
                    f"{file}: expected a checkpoint of run {self.run_id}; "
                    f"it is of run {content['run']}"
                )
            for message in damaged:
                say(f"{message}; going on from the one before it")
            return content["step"], content["state"], content["tables"]
        if damaged:
            raise UserError(f"{'; '.join(damaged)}; remove {self.folder} to make the run anew")
        return None

    def _read(self, file: Path) -> dict[str, Any]:
        """The content of ``file``, each record of which has a checksum."""
        try:
            with zipfile.ZipFile(file) as archive:
                if (record := archive.testzip()) is not None:
                    raise ValueError(f"checksum of {record}")
            content = torch.load(file, map_location="cpu", weights_only=True)
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
        checked: dict[str, Any] = content
        return checked
