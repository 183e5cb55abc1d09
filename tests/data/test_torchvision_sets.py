"""Each data set's own format, in miniature, and no network."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST

from bnexp.data import fingerprint, load_dataset
from bnexp.errors import UserError
from tests.data.conftest import defaults, noise

CFG = defaults("cifar10")


@pytest.fixture
def offline(monkeypatch: Any) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", fail)


@pytest.fixture
def archive(monkeypatch: Any) -> bytes:
    """Two training files and a test file of 4 images each, with torchvision's md5 sums of them."""
    out, sums = io.BytesIO(), []
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for number, name in enumerate(["data_batch_1", "data_batch_2", "test_batch", "meta"]):
            rows = torch.stack([noise(4 * number + row) for row in range(4)]).flatten(1).numpy()
            content = {"data": rows, "labels": [number, 1, 2, 3], "label_names": list("abcdefghij")}
            data = pickle.dumps(content)
            sums.append([name, hashlib.md5(data).hexdigest()])
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    monkeypatch.setattr(CIFAR10, "train_list", sums[:2])
    monkeypatch.setattr(CIFAR10, "test_list", sums[2:3])
    meta = {"filename": "meta", "key": "label_names", "md5": sums[3][1]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(out.getvalue()).hexdigest())
    return out.getvalue()


@pytest.mark.usefixtures("offline")
def test_archive_in_the_folder_is_read_row_for_row(make: Any, archive: bytes) -> None:
    (make.root / "cifar-10-python.tar.gz").write_bytes(archive)
    for _ in range(2):  # unpacked, then found unpacked
        data = load_dataset(CFG | {"path": str(make.root)}, 0)
        assert data.test is not None
        assert torch.equal(data.train.inputs, torch.stack([noise(n) for n in range(8)]))
        assert torch.equal(data.test.inputs, torch.stack([noise(n) for n in range(8, 12)]))
        assert data.train.targets.tolist() == [0, 1, 2, 3, 1, 1, 2, 3]
        assert data.test.targets.tolist() == [2, 1, 2, 3]
        assert data.train.inputs.is_contiguous(memory_format=torch.channels_last)
        assert (data.label, data.classes) == ("CIFAR-10", 10)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("damaged", [False, True])
def test_without_files_and_network_the_error_says_what_to_do(
    make: Any, archive: bytes, damaged: bool
) -> None:
    if damaged:
        (make.root / "cifar-10-python.tar.gz").write_bytes(archive[:-9])
    with pytest.raises(UserError, match=r"cifar10.*no network.*expected"):
        load_dataset(CFG | {"path": str(make.root)}, 0)


def _tensors(count: int, grey: bool = False) -> Any:
    images = torch.stack([noise(n) for n in range(count)])
    return images[:, :1, :28, :28] if grey else images


def _mnist(folder: Path, kind: Any, monkeypatch: Any) -> None:
    """IDX files: a magic number, the sizes, then bytes; gzipped."""
    raw, resources = folder / kind.__name__ / "raw", []
    raw.mkdir(parents=True)
    for split, count in (("train", 4), ("t10k", 2)):
        pixels = _tensors(count, grey=True)[:, 0].contiguous().numpy()
        contents = {
            f"{split}-images-idx3-ubyte": struct.pack(">4i", 0x803, count, 28, 28)
            + pixels.tobytes(),
            f"{split}-labels-idx1-ubyte": struct.pack(">2i", 0x801, count) + bytes(range(count)),
        }
        for name, content in contents.items():
            data = gzip.compress(content)
            (raw / f"{name}.gz").write_bytes(data)
            resources.append((f"{name}.gz", hashlib.md5(data).hexdigest()))
    monkeypatch.setattr(kind, "resources", resources)


def _svhn(folder: Path, kind: Any, monkeypatch: Any) -> None:
    """MATLAB files; the digit 0 has the label 10."""
    splits = {}
    for split, count in (("train", 4), ("test", 2)):
        pixels = _tensors(count).permute(2, 3, 1, 0).contiguous().numpy()
        file = folder / f"{split}_32x32.mat"
        scipy.io.savemat(file, {"X": pixels, "y": np.array([[10], [1], [2], [3]])[:count]})
        splits[split] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(kind, "split_list", splits)


def _cifar100(folder: Path, kind: Any, monkeypatch: Any) -> None:
    place, sums = folder / kind.base_folder, {}
    place.mkdir()
    for name, count in (("train", 4), ("test", 2), ("meta", 0)):
        rows = _tensors(count).flatten(1).numpy() if count else []
        content = {"data": rows, "fine_labels": [*range(count)], "fine_label_names": ["a"] * 100}
        (place / name).write_bytes(data := pickle.dumps(content))
        sums[name] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(kind, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(kind, "test_list", [["test", sums["test"]]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
    monkeypatch.setattr(kind, "meta", meta)


KINDS: dict[str, Any] = {
    "mnist": (_mnist, MNIST, 10),
    "fashion_mnist": (_mnist, FashionMNIST, 10),
    "svhn": (_svhn, SVHN, 10),
    "cifar100": (_cifar100, CIFAR100, 100),
}


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", KINDS)
def test_each_in_its_own_format_is_read_row_for_row(make: Any, name: str, monkeypatch: Any) -> None:
    write, kind, classes = KINDS[name]
    write(make.root, kind, monkeypatch)
    cfg = defaults(name, path=str(make.root), size=None)
    data = load_dataset(cfg, 0)
    grey = "mnist" in name
    assert data.test is not None
    assert torch.equal(data.train.inputs, _tensors(4, grey))
    assert torch.equal(data.test.inputs, _tensors(2, grey))
    assert (data.train.targets.tolist(), data.test.targets.tolist()) == ([0, 1, 2, 3], [0, 1])
    assert (data.classes, data.label) == (classes, defaults(name)["label"])
    resized = load_dataset(cfg | {"size": 40}, 0)
    assert resized.train.inputs.shape == (4, 1 if grey else 3, 40, 40)
    assert resized.train.inputs.dtype == torch.uint8


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", KINDS)
def test_where_there_are_no_files_the_error_says_how_to_get_them(make: Any, name: str) -> None:
    path = make.root / "nothing"
    for download, words in ((False, "data.download=true"), (True, "no network")):
        with pytest.raises(UserError, match=f"data={name}: no .*{words}") as caught:
            load_dataset(defaults(name, path=str(path), download=download), 0)
        assert "put into that folder" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.exists() == download


def test_fingerprints_are_the_published_checksums() -> None:
    published = {
        "cifar10": CIFAR10.tgz_md5,
        "cifar100": CIFAR100.tgz_md5,
        "mnist": MNIST.resources[0][1],
        "fashion_mnist": FashionMNIST.resources[0][1],
        "svhn": SVHN.split_list["train"][2],
    }
    assert {n: fingerprint(defaults(n)) for n in published} == {
        name: f"md5:{md5}" for name, md5 in published.items()
    }
