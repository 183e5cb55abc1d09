"""Data: whole splits in memory, batches by index.

A data set is an object in `bnexp.registry.DATASETS`, registered with a `DataOptions`:

    @DATASETS.register("mine", MyOptions, task="classification")  # or "regression"
    class Mine:
        @staticmethod
        def load(options: MyOptions, seed: int) -> Dataset: ...

        @staticmethod
        def fingerprint(options: MyOptions) -> str: ...

``load`` gives the data; they may depend on ``seed``. ``fingerprint`` gives one line that is the
same for the same data and differs for other data; it neither decodes nor downloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bnexp.data.batches import Batch, Batches
from bnexp.data.options import DataOptions
from bnexp.data.splits import Dataset, Split, image_dataset
from bnexp.registry import DATASETS, Entry, bind, expect

__all__ = [
    "Batch",
    "Batches",
    "DataOptions",
    "Dataset",
    "Split",
    "dataset_options",
    "fingerprint",
    "image_dataset",
    "load_dataset",
]


def load_dataset(cfg: Mapping[str, Any], seed: int) -> Dataset:
    """The data set that the ``data`` section of a config asks for.

    Raises:
        UserError: an option, or a file that it names, is not as expected.
    """
    dataset: Dataset = _entry(cfg).item.load(dataset_options(cfg), seed)
    return dataset


def fingerprint(cfg: Mapping[str, Any]) -> str:
    """One line that identifies the data; quick when asked again within a process.

    Raises:
        UserError: as `load_dataset`.
    """
    return str(_entry(cfg).item.fingerprint(dataset_options(cfg)))


def dataset_options(cfg: Mapping[str, Any]) -> DataOptions:
    """The ``data`` section of a config as the options of its data set, checked."""
    options = bind(_entry(cfg).options, cfg, "data")
    assert isinstance(options, DataOptions)
    return options


def _entry(cfg: Mapping[str, Any]) -> Entry:
    expect(isinstance(cfg, Mapping), "data", "a group of settings", cfg)
    return DATASETS[cfg.get("name", "")]
