from __future__ import annotations

import os
import zipfile
from typing import Any

import pytest
import torch

from bnexp.data import Dataset, content, fingerprint, images, load_dataset
from bnexp.errors import UserError

ROWS = ["train/cat/0", "train/cat/1", "train/cat/2", "train/dog/0"]


def holds(data: Dataset, pixels: dict[str, torch.Tensor]) -> None:
    assert data.test is not None
    assert torch.equal(data.train.inputs, torch.stack([pixels[name] for name in ROWS]))
    test = torch.stack([pixels["test/cat/0"], pixels["test/dog/0"]])
    assert torch.equal(data.test.inputs, test)
    assert data.train.targets.tolist() == [0, 0, 0, 1]
    assert data.test.targets.tolist() == [0, 1]
    assert data.classes == 2


def test_folder_and_every_archive_of_it_are_the_same_data(
    make: Any, tree: Any, pixels: Any
) -> None:
    for path in make.all_kinds(tree):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "a") as archive:
                archive.mkdir("train")  # a folder is no member
        for _ in range(2):  # decoded, then from the cache
            holds(load_dataset(make.config(path), 0), pixels)


@pytest.mark.parametrize("prefix", ["", "top/", "./", "./top/"])
def test_order_in_the_archive_and_a_folder_on_top_do_not_matter(
    make: Any, tree: Any, pixels: Any, prefix: str
) -> None:
    files = {prefix + name: tree[name] for name in reversed(tree)}
    holds(load_dataset(make.config(make.tar(files)), 0), pixels)


def test_missing_test_split_is_none_and_the_label_may_be_given(make: Any, tree: Any) -> None:
    files = {name: data for name, data in tree.items() if name.startswith("train")}
    cfg = make.config(make.tar(files))
    for label in ("archive.tar", "mine"):
        data = load_dataset(cfg | {"label": None if label == "archive.tar" else label}, 0)
        assert (data.test, data.label) == (None, label)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_formats_are_decoded_to_rgb(make: Any, kind: str) -> None:
    flat = torch.tensor([10, 200, 90], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
    path = make.tar({"train/a/0.img": make.encoded(flat, kind)})
    found = load_dataset(make.config(path), 0).train.inputs[0].int()
    assert (found - flat.int()).abs().max() <= (3 if kind == "JPEG" else 0)


def test_cache_stands_in_for_decoding(make: Any, tree: Any, pixels: Any, monkeypatch: Any) -> None:
    cfg = make.config(make.tar(tree))
    load_dataset(cfg, 0)
    assert len(list((make.root / "cache").iterdir())) == 1
    monkeypatch.setattr(images, "decode", None)  # a second decoding would fail
    holds(load_dataset(cfg, 0), pixels)


def test_content_changed_is_content_decoded_again(make: Any, tree: Any, pixels: Any) -> None:
    load_dataset(make.config(make.tar(tree)), 0)
    other = make.noise(99)
    path = make.tar(tree | {"train/cat/1.png": make.encoded(other)})
    holds(load_dataset(make.config(path), 0), pixels | {"train/cat/1": other})


def test_cache_that_cannot_be_written_costs_time_only(
    make: Any, tree: Any, pixels: Any, caplog: Any
) -> None:
    (make.root / "file").write_text("in the way")
    cfg = make.config(make.tar(tree)) | {"cache": str(make.root / "file" / "cache")}
    holds(load_dataset(cfg, 0), pixels)
    assert "cannot be written" in caplog.text


def test_change_while_reading_is_told_and_not_kept(make: Any, tree: Any, monkeypatch: Any) -> None:
    path = make.tar(tree)
    decode = images.decode

    def slow(*arguments: Any) -> Any:
        splits = decode(*arguments)
        make.tar(tree | {"train/cat/1.png": make.encoded(make.noise(99))})
        return splits

    monkeypatch.setattr(images, "decode", slow)
    with pytest.raises(UserError, match="changed while it was being read"):
        load_dataset(make.config(path), 0)
    assert not (make.root / "cache").exists()


# The fingerprint


def test_fingerprint_is_of_content_not_of_names_or_times(make: Any, tree: Any) -> None:
    for path in make.all_kinds(tree):
        first = fingerprint(make.config(path))
        os.utime(path, (1, 1))
        assert fingerprint(make.config(path)) == first
        moved = path.rename(make.root / f"moved{path.name[path.name.find('.') :]}")
        assert fingerprint(make.config(moved)) == first


def test_fingerprint_differs_when_one_byte_does(make: Any, tree: Any) -> None:
    for path in make.all_kinds(tree):
        first = fingerprint(make.config(path))
        file = path / "train/dog/0.png" if path.is_dir() else path
        data = bytearray(file.read_bytes())
        for position in (0, len(data) // 2, len(data) - 1):  # size and clock tick stay the same
            data[position] ^= 1
            file.write_bytes(data)
            assert fingerprint(make.config(path)) != first
            data[position] ^= 1
        file.write_bytes(data)
        assert fingerprint(make.config(path)) == first


def test_fingerprint_of_a_folder_tells_names_from_contents(make: Any) -> None:
    trees = [{"a": b"bc"}, {"ab": b"c"}, {"a": b"b", "c": b""}, {"a": b"", "b": b"c"}, {}]
    found = set()
    for number, files in enumerate(trees):
        (make.root / str(number)).mkdir()
        found.add(content.fingerprint(make.folder(files, str(number))))
    assert len(found) == len(trees)


def test_fingerprint_asked_again_reads_nothing(make: Any, tree: Any, monkeypatch: Any) -> None:
    paths = make.all_kinds(tree)
    for path in paths:
        for file in [path, *path.rglob("*")]:
            os.utime(file, (1, 1))  # settled: not changed within the last clock tick
    first = [fingerprint(make.config(path)) for path in paths]
    monkeypatch.setattr(content, "_digest", None)  # a second reading would fail
    assert [fingerprint(make.config(path)) for path in paths] == first
    monkeypatch.undo()
    for path in paths:
        file = path / "train/dog/0.png" if path.is_dir() else path
        file.write_bytes(file.read_bytes() + b"\0")
    assert all(
        fingerprint(make.config(path)) != before for path, before in zip(paths, first, strict=True)
    )


@pytest.mark.parametrize("name", [None, "", "/nowhere/at/all.tar", "a\0b", "a\nb", "x" * 300])
def test_missing_path_is_named(make: Any, name: str | None) -> None:
    cfg = make.config(make.root) | {"path": name}
    for ask in (fingerprint, lambda cfg: load_dataset(cfg, 0)):
        with pytest.raises(UserError, match=r"data\.path"):
            ask(cfg)
