"""Decoded images kept between runs: one file per content, whole or not there."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from bnexp.data.splits import Split

_log = logging.getLogger(__name__)
Splits = dict[str, Split]


def file_for(folder: Path, fingerprint: str) -> Path:
    """Where the decoded images of that content are kept."""
    return folder / f"images-1-{fingerprint[:32]}.npz"


def read(path: Path, fingerprint: str) -> Splits | None:
    """The splits kept at ``path``, or None where there are none.

    A file that is damaged in any way, or of other content, counts as none: it is made again.
    """
    if not path.is_file():
        return None
    try:
        # numpy verifies an array's checksum only if it reads the array to its end, which a damaged
        # array header keeps it from. So all checksums come first.
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of {damaged}")
        with np.load(path, allow_pickle=False) as arrays:
            # Named in one array, so that a damaged directory cannot hide a split.
            found, *names = map(str, arrays["names"])
            if found != fingerprint:
                raise ValueError("of other content")
            return {
                name: images(arrays[f"{name}_inputs"], arrays[f"{name}_targets"]) for name in names
            }
    except Exception as problem:  # whatever it is, this is not the file that was written
        _log.warning("%s is damaged (%s): decoding again", path, problem)
        return None


def write(path: Path, fingerprint: str, splits: Splits) -> None:
    """Keep ``splits`` at ``path``, under that name only once all of it is on the disk.

    A folder that cannot be written to costs decoding again next time, not the run.
    """
    arrays = {"names": np.array([fingerprint, *splits])}
    for name, split in splits.items():
        arrays[f"{name}_inputs"] = split.inputs.permute(0, 2, 3, 1).numpy()
        arrays[f"{name}_targets"] = split.targets.numpy()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, suffix=".unfinished")
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123
                np.savez(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).replace(path)
        except BaseException:
            Path(unfinished).unlink()
            raise
    except OSError as problem:
        _log.warning("%s cannot be written (%s): the next run decodes again", path, problem)


def images(pixels: np.ndarray, targets: np.ndarray) -> Split:
    """The Split of uint8 (n, h, w, 3) pixels and int64 (n,) targets, without a copy."""
    return Split(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(targets))


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One process at a time, among those that ask for the same ``folder``.

    So that the runs of a sweep that start together decode or download once. It saves work and
    nothing depends on it: without the means to lock, all go ahead. The folder is made, and removed
    again if it is left empty.
    """
    import fcntl

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_if_empty, folder)
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # the folder itself: no lock file to leave
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
