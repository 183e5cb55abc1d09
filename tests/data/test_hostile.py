"""What a folder or archive may not hold: each is refused by name, and nothing is written."""

from __future__ import annotations

import io
import lzma
import os
import random
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bnexp.data import load_dataset, members
from bnexp.errors import UserError


def refused(make: Any, path: Path, *words: str) -> None:
    """Loading ``path`` raises one line with all of ``words`` and leaves every file as it was."""
    before = sorted(make.root.rglob("*"))
    with pytest.raises(UserError) as caught:
        load_dataset(make.config(path), 0)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert all(word in message for word in words), message
    assert sorted(make.root.rglob("*")) == before
    assert not (make.root.parent / "evil.png").exists()


@pytest.mark.parametrize(
    "name",
    [
        *["/train/cat/evil.png", "../evil.png", "train/cat/../../../evil.png", "train/cat/.."],
        *["train\\cat\\evil.png", "C:/cat/evil.png"],
    ],
)
def test_paths_that_lead_elsewhere(make: Any, tree: Any, name: str) -> None:
    image = make.encoded(make.noise(50))
    refused(make, make.tar(tree | {name: image}), repr(name), "relative path")
    refused(make, make.zip(tree | {name: image}), repr(name), "relative path")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_in_tar(make: Any, tree: Any, kind: bytes) -> None:
    member = tarfile.TarInfo("train/cat/9.png")
    member.type, member.linkname = kind, "train/cat/0.png"
    refused(make, make.tar(tree, extra=(member,)), "'train/cat/9.png'", "link", "device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_zip(make: Any, tree: Any, kind: int) -> None:
    path = make.zip(tree)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("train/cat/9.png")
        member.external_attr = (kind | 0o644) << 16
        archive.writestr(member, "/etc/passwd")
    refused(make, path, "'train/cat/9.png'", "link", "device")


@pytest.mark.parametrize("kind", ["file link", "folder link", "pipe"])
def test_links_and_devices_in_a_folder(make: Any, tree: Any, kind: str) -> None:
    path = make.folder(tree)
    odd = path / "train" / "cat" / "9.png"
    if kind == "file link":
        odd.symlink_to(path / "train/cat/0.png")
    elif kind == "folder link":
        odd.symlink_to(path)
    else:
        os.mkfifo(odd)
    refused(make, path, "'train/cat/9.png'", "link", "device")


def test_a_folder_that_is_itself_a_link_is_fine(make: Any, tree: Any) -> None:
    link = make.root / "link"
    link.symlink_to(make.folder(tree))
    assert len(load_dataset(make.config(link), 0).train) == 4


# Bombs


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz"])
def test_huge_member_is_refused_unread(make: Any, tree: Any, suffix: str) -> None:
    bomb = bytes(64 << 20)
    refused(make, make.tar(tree | {"train/cat/9.png": bomb}, suffix), "'train/cat/9.png'", "bytes")


def test_huge_member_of_zip_and_folder(make: Any, tree: Any) -> None:
    files = tree | {"train/cat/9.png": bytes(members.MAX_BYTES + 1)}
    refused(make, make.zip(files), "'train/cat/9.png'", "bytes")
    refused(make, make.folder(files), "'train/cat/9.png'", "bytes")


def test_huge_claim_without_the_bytes(make: Any) -> None:
    member = tarfile.TarInfo("train/cat/9.png")
    member.size = 1 << 40
    path = make.root / "claim.tar"
    path.write_bytes(member.tobuf() + bytes(10240))
    refused(make, path, "'train/cat/9.png'", str(1 << 40))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_huge_extended_header_is_not_read_into_memory(make: Any, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 1 << 32
    path = make.root / "header.tar.xz"
    path.write_bytes(lzma.compress(header.tobuf() + bytes(64 << 20)))
    refused(make, path, "headers larger")


def test_zip_methods_that_cannot_be_bounded(make: Any, tree: Any) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused(make, make.zip(tree, method), "'train/cat/0.png'", "deflate")


def test_many_pixels_in_few_bytes(make: Any, tree: Any) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))
    refused(make, make.tar(tree | {"test/dog/9.png": bomb}), "'test/dog/9.png'")


def test_too_many_members(make: Any, tree: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 5)
    refused(make, make.tar(tree), "'test/dog/0.png'", "at most 5")


# What is not an image of the one size


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe"])
def test_non_image(make: Any, tree: Any, data: bytes) -> None:
    for path in make.all_kinds(tree | {"train/dog/1.png": data}):
        refused(make, path, "'train/dog/1.png'", "image")


def test_truncated_image(make: Any, tree: Any) -> None:
    whole = make.encoded(make.noise(9), "JPEG")
    refused(make, make.tar(tree | {"train/dog/1.jpg": whole[:-200]}), "'train/dog/1.jpg'", "image")


@pytest.mark.parametrize("side", [28, 33, 64])
def test_wrong_size(make: Any, tree: Any, side: int) -> None:
    image = make.encoded(make.noise(9, side))
    refused(
        make, make.tar(tree | {"test/cat/1.png": image}), "'test/cat/1.png'", f"{side}x{side}", "32"
    )


def test_pixels_that_rgb_would_change(make: Any, tree: Any) -> None:
    out = io.BytesIO()
    Image.fromarray(torch.full((32, 32), 999, dtype=torch.uint16).numpy()).save(out, "PNG")
    refused(make, make.tar(tree | {"test/cat/1.png": out.getvalue()}), "'test/cat/1.png'", "I;16")


# Layout


@pytest.mark.parametrize(
    "name",
    [
        *["readme.txt", "train/stray.png", "train/cat/deep/0.png", "val/cat/0.png"],
        *["a/b/train/cat/0.png", "top/train/cat/7.png"],
    ],
)
def test_file_out_of_place(make: Any, tree: Any, name: str) -> None:
    image = make.encoded(make.noise(9))
    for path in (make.tar(tree | {name: image}), make.zip(tree | {name: image})):
        refused(make, path, repr(name), "[top/](train|test)/class/file")


def test_no_train_split(make: Any, tree: Any) -> None:
    only_test = {name: data for name, data in tree.items() if name.startswith("test")}
    for files in (only_test, {}):
        refused(make, make.tar(files), "train/")


@pytest.mark.parametrize("name", ["test/zebra/0.png", "train/zebra/0.png"])
def test_class_of_one_split_only(make: Any, tree: Any, name: str) -> None:
    files = tree | {name: make.encoded(make.noise(9))}
    refused(make, make.tar(files), repr(name.rpartition("/")[0]), "class")


def test_member_named_twice(make: Any, tree: Any) -> None:
    refused(make, make.tar(tree | {"./train/cat/0.png": b"x"}), "'./train/cat/0.png'", "twice")


def test_control_characters_in_names_stay_on_one_line(make: Any, tree: Any) -> None:
    refused(make, make.tar(tree | {"a\nb\x1b[31m": b""}), r"'a\nb\x1b[31m'")


@pytest.mark.parametrize("name", ["data.rar", "data.png", "data"])
def test_unknown_kind(make: Any, name: str) -> None:
    (make.root / name).write_bytes(b"x")
    refused(make, make.root / name, ".tar.xz", ".zip")


# Damage


def test_truncated_archives(make: Any, tree: Any) -> None:
    for path in make.all_kinds(tree)[1:]:
        whole = path.read_bytes()
        for length in (0, 100, len(whole) // 2, len(whole) // 512 // 2 * 512, len(whole) - 10240):
            path.write_bytes(whole[: max(length, 0)])
            refused(make, path)


def test_tar_cut_where_a_member_ends_is_not_a_smaller_tar(make: Any, tree: Any) -> None:
    path = make.tar(tree)
    with tarfile.open(path) as archive:
        start = archive.getmembers()[4].offset
    path.write_bytes(path.read_bytes()[:start])
    refused(make, path, "missing end")


def test_damaged_header_is_not_the_end(make: Any, tree: Any) -> None:
    path = make.tar(tree)
    with tarfile.open(path) as archive:
        start = archive.getmembers()[4].offset
    for damage in (b"\xff" * 8, bytes(512)):
        data = bytearray(path.read_bytes())
        data[start : start + len(damage)] = damage
        path.write_bytes(data)
        refused(make, path)


def test_zip_whose_list_swallows_members_is_not_a_smaller_zip(make: Any, tree: Any) -> None:
    path = make.zip(tree)
    data = bytearray(path.read_bytes())
    entries = [n for n in range(len(data)) if data[n : n + 4] == b"PK\1\2"]
    end = data.rindex(b"PK\5\6")
    # The fourth entry's comment now reaches to the end of the list.
    struct.pack_into("<H", data, entries[3] + 32, end - entries[4])
    path.write_bytes(data)
    refused(make, path, "damaged list")


def test_a_flipped_bit_never_changes_a_compressed_archive_unnoticed(make: Any, tree: Any) -> None:
    """Refused, or (where the bit means nothing, as in a time) the very same data."""
    drawn = random.Random(0)
    for path in (make.tar(tree, ".tar.xz"), make.tar(tree, ".tar.gz"), make.zip(tree)):
        expected = load_dataset(make.config(path), 0)
        whole = path.read_bytes()
        for position in drawn.sample(range(len(whole)), 150):
            data = bytearray(whole)
            data[position] ^= 1 << drawn.randrange(8)
            path.write_bytes(data)
            try:
                found = load_dataset(make.config(path), 0)
            except UserError as error:
                assert re.match(rf"data\.path {path}: ", str(error))  # noqa: PT017
                continue
            assert torch.equal(found.train.targets, expected.train.targets)
            assert torch.equal(found.train.inputs, expected.train.inputs)
