from __future__ import annotations

import itertools
import multiprocessing
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.data import load_dataset, store
from bnexp.data.splits import Split

NAME = "ab" * 32


@pytest.fixture
def splits() -> dict[str, Split]:
    source = torch.Generator().manual_seed(0)
    train = torch.randint(0, 256, (3, 32, 32, 3), generator=source, dtype=torch.uint8)
    return {
        "train": store.images(train.numpy(), np.array([0, 1, 1])),
        "test": store.images(train[:2].numpy() ^ 5, np.array([1, 0])),
    }


def same(found: dict[str, Split] | None, expected: dict[str, Split]) -> bool:
    assert found is not None
    return list(found) == list(expected) and all(
        torch.equal(found[name].inputs, expected[name].inputs)
        and torch.equal(found[name].targets, expected[name].targets)
        for name in expected
    )


def test_round_trip(tmp_path: Path, splits: dict[str, Split]) -> None:
    path = store.file_for(tmp_path / "made", NAME)
    assert store.read(path, NAME) is None
    store.write(path, "cd" * 32, splits)
    assert store.read(path, NAME) is None  # of other content
    for kept in (splits, {"train": splits["train"]}):
        store.write(path, NAME, kept)
        found = store.read(path, NAME)
        assert same(found, kept)
        assert found is not None
        assert found["train"].inputs.is_contiguous(memory_format=torch.channels_last)
        assert list(path.parent.iterdir()) == [path]


def test_damage_is_never_wrong_data(tmp_path: Path, splits: dict[str, Split], caplog: Any) -> None:
    """Bits flipped in every header and in samples of the rest: the same data, or none."""
    caplog.set_level("ERROR")
    path = tmp_path / "x.npz"
    store.write(path, NAME, splits)
    whole = path.read_bytes()
    drawn = random.Random(0)
    headers = [n for n in range(len(whole)) if n < 1000 or n > len(whole) - 1000]
    for position in [*drawn.sample(headers, 200), *drawn.sample(range(len(whole)), 50)]:
        data = bytearray(whole)
        data[position] ^= 1 << drawn.randrange(8)
        path.write_bytes(data)
        found = store.read(path, NAME)
        assert found is None or same(found, splits), position
    for length in [0, 1, 50, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert store.read(path, NAME) is None


def test_damaged_cache_is_made_again(make: Any, tree: Any, caplog: Any) -> None:
    cfg = make.config(make.tar(tree))
    expected = load_dataset(cfg, 0)
    (kept,) = (make.root / "cache").iterdir()
    whole = kept.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", whole[:-100], bytes(flipped), b"not a cache"):
        kept.write_bytes(damaged)
        found = load_dataset(cfg, 0)
        assert torch.equal(found.train.inputs, expected.train.inputs)
        assert kept.name in caplog.text
        caplog.clear()
        load_dataset(cfg, 0)
        assert not caplog.text  # whole again


def test_failed_write_leaves_nothing(tmp_path: Path, splits: Any, monkeypatch: Any) -> None:
    def full(*arguments: Any, **arrays: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    store.write(tmp_path / "x.npz", NAME, splits)
    assert list(tmp_path.iterdir()) == []


def _hold(folder: Path, times: Any) -> None:
    with store.exclusive(folder):
        start = time.monotonic()
        time.sleep(0.1)
        times.put((start, time.monotonic()))


def test_exclusive_is_one_process_at_a_time_and_leaves_no_trace(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    times = context.Queue()
    folder = tmp_path / "new" / "cache"
    folder.mkdir(parents=True)
    (folder / "kept").touch()
    workers = [context.Process(target=_hold, args=(folder, times)) for _ in range(3)]
    for worker in workers:
        worker.start()
    spans = sorted(times.get(timeout=30) for _ in workers)
    for worker in workers:
        worker.join()
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with store.exclusive(tmp_path / "other"):
        assert (tmp_path / "other").is_dir()
    assert not (tmp_path / "other").exists()
