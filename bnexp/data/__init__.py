"""Data: whole splits in memory, batches by index.

`load_dataset` and `fingerprint` read the ``data`` part of a config; its ``name`` picks the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bnexp.data import cifar10, digits, gaussian, images
from bnexp.data.batches import Batch, Batches
from bnexp.data.splits import Dataset, Split
from bnexp.errors import UserError

__all__ = ["Batch", "Batches", "Dataset", "Split", "fingerprint", "load_dataset"]


@dataclass(frozen=True)
class _Source:
    load: Callable[[Mapping[str, Any], int], Dataset]
    fingerprint: Callable[[Mapping[str, Any]], str]


_SOURCES = {
    "gaussian": _Source(gaussian.load, gaussian.fingerprint),
    "digits": _Source(digits.load, digits.fingerprint),
    "images": _Source(images.load, images.fingerprint),
    "cifar10": _Source(cifar10.load, cifar10.fingerprint),
}


def load_dataset(cfg: Mapping[str, Any], seed: int) -> Dataset:
    """The dataset that the ``data`` config asks for. Raises UserError naming key or file."""
    return _source(cfg).load(cfg, seed)


def fingerprint(cfg: Mapping[str, Any]) -> str:
    """One line that is the same for the same data and differs for other data.

    Never decodes or downloads, and is cheap to ask again within a process. Raises UserError as
    `load_dataset` does.
    """
    return _source(cfg).fingerprint(cfg)


def _source(cfg: Mapping[str, Any]) -> _Source:
    name = cfg.get("name")
    if not isinstance(name, str) or name not in _SOURCES:
        raise UserError(f"data.name: got {name!r}; expected one of {', '.join(sorted(_SOURCES))}")
    return _SOURCES[name]
