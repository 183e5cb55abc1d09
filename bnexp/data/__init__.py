"""Data: whole splits in memory, batches by index.

A data set is a function in `bnexp.registry.DATASETS`, registered with its `DataOptions`:

    @DATASETS.register("mine", MyOptions, task="classification", fingerprint=name_of)
    def mine(options: MyOptions, seed: int) -> Dataset: ...

or is a class with both as static methods, ``load`` and ``fingerprint``.
``task`` may be "regression". ``fingerprint`` gives of options one line that differs for other data.
"""

from collections.abc import Mapping
from typing import Any, cast

from bnexp.data.batches import Batch, Batches
from bnexp.data.splits import DataOptions, Dataset, Split, image_dataset
from bnexp.registry import DATASETS, bind

__all__ = ["Batch", "Batches", "DataOptions", "Dataset", "Split", "image_dataset"]


def load_dataset(cfg: Mapping[str, Any], seed: int) -> Dataset:
    """The data set that the ``data`` section of a config asks for; UserError if it cannot be."""
    return cast(Dataset, DATASETS[cfg["name"]].item(dataset_options(cfg), seed))


def fingerprint(cfg: Mapping[str, Any]) -> str:
    """One line that identifies the data; quick when asked again within a process."""
    return str(DATASETS[cfg["name"]].more["fingerprint"](dataset_options(cfg)))


def dataset_options(cfg: Mapping[str, Any]) -> DataOptions:
    """The ``data`` section of a config as the options of its data set, checked."""
    return cast(DataOptions, bind(DATASETS[cfg["name"]].options, cfg, "data"))
