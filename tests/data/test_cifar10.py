"""CIFAR-10's own format, in miniature, and no network."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import urllib.error
import urllib.request
from typing import Any

import pytest
import torch
from torchvision.datasets import CIFAR10

from bnexp.data import cifar10, fingerprint, load_dataset
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


def test_fingerprint_is_the_published_checksum() -> None:
    assert CIFAR10.tgz_md5 == cifar10.MD5
    assert fingerprint(CFG) == f"md5:{CIFAR10.tgz_md5}"
