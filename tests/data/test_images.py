"""Images of a user's own: read right or refused by name, and decoded once."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bnexp.data import Dataset, fingerprint, images, load_dataset
from bnexp.errors import UserError
from tests.data.conftest import encoded, noise

ODD = "train/cat/9.png"


def holds(data: Dataset, pixels: dict[str, torch.Tensor]) -> None:
    assert data.test is not None
    rows = [pixels[name] for name in pixels]  # in the order of their names already
    assert torch.equal(data.train.inputs, torch.stack(rows[:4]))
    assert torch.equal(data.test.inputs, torch.stack(rows[4:]))
    assert data.train.inputs.is_contiguous(memory_format=torch.channels_last)
    assert data.train.targets.tolist() == [0, 0, 0, 1]
    assert data.test.targets.tolist() == [0, 1]
    assert data.classes == 2


def refused(make: Any, path: Path, *words: str) -> None:
    """Loading ``path`` raises one line with all of ``words`` and leaves every file as it was."""
    before = sorted(make.root.rglob("*"))
    with pytest.raises(UserError) as caught:
        load_dataset(make.config(path), 0)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ("data.path", str(path), *words)), message
    assert sorted(make.root.rglob("*")) == before


def test_folder_and_every_archive_of_it_are_the_same_data(
    make: Any, tree: Any, pixels: Any
) -> None:
    for path in make.all_kinds(tree):
        for _ in range(2):  # decoded, then from the cache
            holds(load_dataset(make.config(path), 0), pixels)
    (make.root / "link").symlink_to(make.root / "folder")
    holds(load_dataset(make.config(make.root / "link"), 0), pixels)


@pytest.mark.parametrize("prefix", ["top/", "./", "./top/"])
def test_order_in_the_archive_and_a_folder_on_top_do_not_matter(
    make: Any, tree: Any, pixels: Any, prefix: str
) -> None:
    files = {prefix + name: tree[name] for name in reversed(tree)}
    holds(load_dataset(make.config(make.tar(files)), 0), pixels)


def test_missing_test_split_is_none_and_the_label_may_be_given(make: Any, tree: Any) -> None:
    cfg = make.config(make.tar({k: v for k, v in tree.items() if k.startswith("train")}))
    for label in (None, "mine"):
        data = load_dataset(cfg | {"label": label}, 0)
        assert (data.test, data.label) == (None, label or "archive.tar")


@pytest.mark.parametrize("kind", images.FORMATS)
def test_formats_are_decoded_to_rgb(make: Any, kind: str) -> None:
    flat = torch.tensor([10, 200, 90], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
    path = make.tar({"train/a/0.img": encoded(flat, kind)})
    difference = load_dataset(make.config(path), 0).train.inputs[0].int() - flat.int()
    assert difference.abs().max() <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(name, "relative") for name in ("/train/a/0.png", "../0.png", "train/a/../../../0")],
        *[
            (name, "class/file")
            for name in ("readme", "train/0.png", "train/a/b/0", "valid/a/0.png")
        ],
        *[(name, "class/file") for name in ("a/b/train/a/0.png", "top/train/cat/7.png", "a\nb")],
        ("./train/cat/0.png", "different"),
    ],
)
def test_files_out_of_place(make: Any, tree: Any, name: str, expected: str) -> None:
    for write in (make.tar, make.zip):
        refused(make, write(tree | {name: encoded(noise(9))}), repr(name), expected)


def test_links_devices_and_unbounded_compression(make: Any, tree: Any) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"6"):
        member = tarfile.TarInfo(ODD)
        member.type, member.linkname = kind, "train/cat/0.png"
        refused(make, make.tar(tree, ".tar", member), repr(ODD), "links")
    for mode in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        refused(make, make.zip({ODD: b"/etc/passwd"}, mode=mode | 0o644), repr(ODD), "links")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused(make, make.zip(tree, method), "'train/cat/0.png'", "deflated")
    path = make.folder(tree)
    for target in ("train/cat/0.png", "train", "/dev/zero"):
        (path / ODD).symlink_to(path / target)
        refused(make, path, repr(ODD), "links")
        if target == "/dev/zero":
            refused(make, path / ODD, "a device")
        (path / ODD).unlink()


@pytest.mark.parametrize("suffix", [".tar.xz", ".tgz", ".zip", "folder"])
def test_limits(make: Any, tree: Any, suffix: str, monkeypatch: Any) -> None:
    def write(files: Any) -> Any:
        kinds = {".zip": make.zip, "folder": make.folder}
        return kinds[suffix](files) if suffix in kinds else make.tar(files, suffix)

    monkeypatch.setattr(images, "MAX_MEMBERS", 5)
    refused(make, write(tree), "at most 5 files")
    monkeypatch.undo()
    monkeypatch.setattr(images, "MAX_FILE", 1 << 20)
    refused(make, write(tree | {ODD: bytes((1 << 20) + 1)}), repr(ODD), "1048577")
    if suffix != "folder":
        monkeypatch.setattr(images, "MAX_EXPANSION", 1)
        big = {f"{n}.png": bytes(1 << 20) for n in range(2)}
        with pytest.raises(UserError, match="1048576 bytes in all"):
            list(images.walk(write(big)))


def test_headers_and_folders_without_end(make: Any, monkeypatch: Any) -> None:
    header = tarfile.TarInfo(ODD)
    header.pax_headers = {"comment": "x" * (2 * images.MAX_BYTES)}
    refused(make, make.tar({}, ".tgz", header), "a header of 209")
    folder = tarfile.TarInfo("train/cat")
    folder.type = tarfile.DIRTYPE
    monkeypatch.setattr(images, "MAX_EXPANSION", 1)
    refused(make, make.tar({}, ".tgz", *[folder] * 3000), "1048576 bytes in all")


def test_a_size_that_is_only_claimed(make: Any) -> None:
    member = tarfile.TarInfo(ODD)
    member.size = 1 << 40
    path = make.root / "claim.tar"
    path.write_bytes(member.tobuf() + bytes(10240))
    refused(make, path, repr(ODD), str(1 << 40))


def png(side: int, mode: str = "RGB") -> bytes:
    """An image of one colour."""
    out = io.BytesIO()
    Image.new(mode, (side, side)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        *[(b"", "image"), (b"not an image", "image"), (encoded(noise(0))[:600], "image")],
        *[(png(33), "(33, 33)"), (png(1025), "1025x1025"), (png(32, "I;16"), "I;16")],
    ],
)
def test_members_that_are_no_fitting_image(make: Any, tree: Any, data: bytes, word: str) -> None:
    refused(make, make.tar(tree | {ODD: data}), repr(ODD), word)


def test_layouts_that_are_no_data_set(make: Any, tree: Any) -> None:
    (make.root / "deep/a/b/c/d").mkdir(parents=True)
    refused(make, make.root / "deep", "b/c/d: expected")
    (make.root / "empty.tar").touch()
    refused(make, make.root / "empty.tar", "empty")
    if Path("/proc/kmsg").exists():  # a plain file by its kind, and without an end
        refused(make, Path("/proc/kmsg"))
    refused(make, make.tar({k: v for k, v in tree.items() if k.startswith("test")}), "train/")
    refused(make, make.tar({}), "train/")
    for name in ("test/zebra/0.png", "train/zebra/0.png"):
        refused(make, make.tar(tree | {name: encoded(noise(9))}), "['zebra']", "classes")
    (make.root / "data.rar").write_bytes(b"x")
    refused(make, make.root / "data.rar", "tar or zip")


@pytest.mark.parametrize("name", [None, "/nowhere/at/all.tar", "a\0b", "x" * 300])
def test_missing_path_is_named(make: Any, name: str | None) -> None:
    with pytest.raises(UserError, match=r"data\.path"):
        fingerprint(make.config(make.root) | {"path": name})


def test_damaged_archive_is_not_a_smaller_one(make: Any, tree: Any) -> None:
    for path in make.all_kinds(tree)[1:]:
        whole = path.read_bytes()
        for length in (0, 100, len(whole) // 2, len(whole) // 512 // 2 * 512, len(whole) - 10240):
            path.write_bytes(whole[: max(length, 0)])
            refused(make, path)
    path = make.tar(tree)
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        start = archive.getmembers()[4].offset
    for header in (b"\xff", bytes(512)):
        path.write_bytes(whole[:start] + header + whole[start + len(header) :])
        refused(make, path, "missing end")


def test_fingerprint_is_of_content_not_of_names_or_times(make: Any, tree: Any) -> None:
    for path in make.all_kinds(tree):
        first = fingerprint(make.config(path))
        os.utime(path, (1, 1))
        moved = path.rename(make.root / f"moved{path.name[path.name.find('.') :]}")
        assert fingerprint(make.config(moved)) == first
        file = moved / "train/dog/0.png" if moved.is_dir() else moved
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        os.utime(file, (2, 2))  # later than the clock's grain
        assert fingerprint(make.config(moved)) != first


def test_fingerprint_of_a_folder_tells_names_from_contents(make: Any) -> None:
    trees = [{"a": b"bc"}, {"ab": b"c"}, {"a": b"b", "c": b""}, {"a": b"", "b": b"c"}]
    folders = [make.folder(files, str(number)) for number, files in enumerate(trees)]
    assert len({fingerprint(make.config(folder)) for folder in folders}) == len(trees)


def test_fingerprint_asked_again_reads_nothing(make: Any, tree: Any, monkeypatch: Any) -> None:
    configs = [make.config(path) for path in make.all_kinds(tree)]
    first = [fingerprint(cfg) for cfg in configs]
    monkeypatch.setattr(images, "walk", None)  # a second reading would fail
    monkeypatch.setattr(images.hashlib, "file_digest", None)
    assert [fingerprint(cfg) for cfg in configs] == first


def test_content_decides_whether_the_cache_stands_in(
    make: Any, tree: Any, pixels: Any, monkeypatch: Any
) -> None:
    cfg = make.config(make.tar(tree))
    load_dataset(cfg, 0)
    decode = images.decode
    monkeypatch.setattr(images, "decode", None)  # a second decoding would fail
    holds(load_dataset(cfg, 0), pixels)

    def slow(path: Path, size: int | None) -> Any:
        splits = decode(path, size)
        make.tar(tree)
        return splits

    make.tar(tree | {"train/cat/1.png": encoded(noise(99))})
    monkeypatch.setattr(images, "decode", slow)
    with pytest.raises(UserError, match="changed while it was being read"):
        load_dataset(cfg, 0)
    monkeypatch.undo()
    make.tar(tree | {"train/cat/1.png": encoded(noise(98))})
    holds(load_dataset(cfg, 0), pixels | {"train/cat/1": noise(98)})
    assert len(list((make.root / "cache").iterdir())) == 2


def test_damaged_cache_is_made_again(make: Any, tree: Any, pixels: Any, caplog: Any) -> None:
    cfg = make.config(make.tar(tree))
    load_dataset(cfg, 0)
    (cached,) = (make.root / "cache").iterdir()
    whole = cached.read_bytes()
    flips = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(60, 2000, 250)]
    for damaged in (b"", whole[:-100], b"not a cache", *flips):
        cached.write_bytes(damaged)
        holds(load_dataset(cfg, 0), pixels)
        caplog.clear()
        holds(load_dataset(cfg, 0), pixels)
        assert not caplog.text  # whole again


def test_cache_that_cannot_be_written_costs_time_only(
    make: Any, tree: Any, pixels: Any, caplog: Any, monkeypatch: Any
) -> None:
    def full(*arguments: Any, **arrays: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full)
    holds(load_dataset(make.config(make.tar(tree)), 0), pixels)
    assert "cannot be written" in caplog.text
    assert not list((make.root / "cache").iterdir())


def test_other_sizes_are_taken_or_brought_to_one(make: Any) -> None:
    """The shorter side first, then the middle: of a wide image's thirds, the one in the middle."""
    tall = noise(3)[:, :, :16]
    path = make.tar({"train/a/0.png": encoded(tall)})
    assert torch.equal(load_dataset(make.config(path), 0).train.inputs[0], tall)
    thirds = torch.tensor([10, 200, 90], dtype=torch.uint8).repeat_interleave(24)
    wide = thirds.expand(3, 24, 72)
    path = make.tar({"train/a/0.png": encoded(wide), "train/a/1.png": encoded(noise(1))})
    refused(make, path, "one size, or data.size", "'train/a/1.png'", "(32, 32)")
    data = load_dataset(make.config(path) | {"size": 8}, 0)
    assert data.train.inputs.shape == (2, 3, 8, 8)
    assert (data.train.inputs[0, :, :, 1:-1] == 200).all()
    same = load_dataset(make.config(path) | {"size": 8}, 0)  # from the cache
    assert torch.equal(same.train.inputs, data.train.inputs)


def test_grey_images_have_one_channel_unless_any_is_in_colour(make: Any) -> None:
    grey = {"train/a/0.png": png(32, "L"), "train/b/0.png": png(32, "1")}
    data = load_dataset(make.config(make.tar(grey)), 0)
    assert data.train.inputs.shape == (2, 1, 32, 32)
    assert data.mean is not None
    assert data.mean.shape == (1,)
    mixed = grey | {"train/b/1.png": encoded(noise(0))}
    assert load_dataset(make.config(make.tar(mixed)), 0).train.inputs.shape == (3, 3, 32, 32)


def test_val_is_for_testing_where_there_is_no_test(make: Any, tree: Any, pixels: Any) -> None:
    files = {name.replace("test/", "val/"): data for name, data in tree.items()}
    holds(load_dataset(make.config(make.tar(files)), 0), pixels)
    more = {name.replace("test/", "val/"): encoded(noise(50)) for name in tree if "test" in name}
    holds(load_dataset(make.config(make.tar(tree | more)), 0), pixels)


@pytest.mark.parametrize("top", ["", "top/"])
def test_of_a_flat_folder_a_seeded_share_of_each_class_is_held_out(make: Any, top: str) -> None:
    counts = {"cat": 10, "dog": 5}
    names = [(label, n) for label, count in counts.items() for n in range(count)]
    images_of = {
        f"{top}{a}/{n}.png": encoded(noise(100 * len(a) + n + 50 * (a == "dog"))) for a, n in names
    }
    cfg = make.config(make.tar(images_of))
    splits = [load_dataset(cfg, seed) for seed in (0, 0, 1)]
    for data in splits:
        assert data.test is not None
        assert data.train.targets.bincount().tolist() == [8, 4]
        assert data.test.targets.bincount().tolist() == [2, 1]
        rows = torch.cat([data.train.inputs, data.test.inputs]).flatten(1)
        assert len(rows.unique(dim=0)) == 15, "each image is in one of the two"
    first, again, other = (data.test.inputs for data in splits if data.test is not None)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert load_dataset(cfg | {"test_share": 0.0}, 0).test is None
    refused(make, make.tar({f"{top}train/0.png": encoded(noise(0))}), "class/file")
