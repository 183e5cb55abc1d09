"""What every data set is configured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bnexp.registry import Options, expect

LABEL_LENGTH = 100


@dataclass(frozen=True)
class DataOptions(Options):
    """Base of a data set's options; a data set adds fields of its own.

    ``label`` is the name shown to people (null: the data set's own); ``augment`` asks for random
    flips and crops of the training images (`bnexp.data.batches.augmented`).
    """

    name: str
    label: str | None
    augment: bool

    def check(self, key: str) -> None:
        label = self.label or ""
        plain = label.isprintable() and len(label) <= LABEL_LENGTH
        expected = f"one line of at most {LABEL_LENGTH} printable characters"
        expect(plain, f"{key}.label", expected, self.label)


def cache_folder(cache: str | None) -> Path:
    """``cache``, or where it is null the platform's cache folder for bnexp."""
    import platformdirs

    return Path(cache or platformdirs.user_cache_dir("bnexp")).expanduser()
