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
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bnexp.data import fingerprint, load_dataset, members
from bnexp.errors import UserError

ODD = "train/cat/9.png"


def refused(make: Any, path: Path, *words: str) -> None:
    """Loading ``path`` raises one line with all of ``words`` and leaves every file as it was."""
    before = sorted(make.root.rglob("*"))
    with pytest.raises(UserError) as caught:
        load_dataset(make.config(path), 0)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (str(path), *words)), message
    assert sorted(make.root.rglob("*")) == before
    assert not (make.root.parent / "evil.png").exists()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int, bits: int, colour: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


# Paths, links and devices


@pytest.mark.parametrize(
    "name",
    [
        *["/train/cat/evil.png", "../evil.png", "train/cat/../../../evil.png", "train/cat/.."],
        *["train\\cat\\evil.png", "C:/cat/evil.png"],
    ],
)
def test_paths_that_lead_elsewhere(make: Any, tree: Any, name: str) -> None:
    for path in (make.tar(tree | {name: b"x"}), make.zip(tree | {name: b"x"})):
        refused(make, path, repr(name), "relative path")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"6"])
def test_links_and_devices_in_tar(make: Any, tree: Any, kind: bytes) -> None:
    member = tarfile.TarInfo(ODD)
    member.type, member.linkname = kind, "train/cat/0.png"
    refused(make, make.tar(tree, extra=(member,)), repr(ODD), "link", "device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_zip(make: Any, tree: Any, kind: int) -> None:
    path = make.zip(tree)
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo(ODD)
        member.external_attr = (kind | 0o644) << 16
        archive.writestr(member, "/etc/passwd")
    refused(make, path, repr(ODD), "link", "device")


@pytest.mark.parametrize("target", ["train/cat/0.png", "train", None])
def test_links_and_pipes_in_a_folder(make: Any, tree: Any, target: str | None) -> None:
    path = make.folder(tree)
    if target is None:
        os.mkfifo(path / ODD)
    else:
        (path / ODD).symlink_to(path / target)
    refused(make, path, repr(ODD), "link", "device")


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/null"])
def test_a_path_that_is_or_leads_to_a_pipe_or_device(make: Any, target: str) -> None:
    os.mkfifo(make.root / "pipe")
    link = make.root / "archive.tar"
    link.symlink_to(make.root / target)
    for path in (make.root / target, link):
        with pytest.raises(UserError, match="plain file"):
            fingerprint(make.config(path))
        refused(make, path, "plain file")


def test_a_folder_that_is_itself_a_link_is_fine(make: Any, tree: Any) -> None:
    link = make.root / "link"
    link.symlink_to(make.folder(tree))
    assert len(load_dataset(make.config(link), 0).train) == 4


def test_folders_nested_deep(make: Any) -> None:
    refused(make, make.folder({"a/" * 100 + "0.png": b""}), "nested too deep")


# Bombs


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz", ".zip", "folder"])
def test_huge_member_is_refused_unread(make: Any, tree: Any, suffix: str) -> None:
    files = tree | {ODD: bytes(members.MAX_BYTES + 1)}
    kinds = {".zip": make.zip, "folder": make.folder}
    path = kinds[suffix](files) if suffix in kinds else make.tar(files, suffix)
    refused(make, path, repr(ODD), "bytes")


def test_huge_claim_without_the_bytes(make: Any) -> None:
    member = tarfile.TarInfo(ODD)
    member.size = 1 << 40
    path = make.root / "claim.tar"
    path.write_bytes(member.tobuf() + bytes(10240))
    refused(make, path, repr(ODD), str(1 << 40))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_huge_extended_header_is_not_read_into_memory(make: Any, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 1 << 32
    path = make.root / "header.tar.xz"
    path.write_bytes(lzma.compress(header.tobuf() + bytes(4 << 20)))
    refused(make, path, "headers larger")


def test_gigabytes_of_zeros_are_refused_in_seconds(make: Any) -> None:
    """8 GiB in 1.3 MB: streams of xz, one after another, are one stream."""
    path = make.root / "zeros.tar.xz"
    path.write_bytes(lzma.compress(bytes(16 << 20)) * 512)
    start = time.process_time()
    refused(make, path, "expands to more than")
    assert time.process_time() - start < 10


def test_many_members_that_expand_too_far(make: Any, tree: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(members, "MIN_EXPANSION", 0)
    monkeypatch.setattr(members, "MAX_EXPANSION", 10)
    files = tree | {f"train/cat/{n}.png": bytes(1 << 19) for n in range(10, 20)}
    for path in (make.tar(files, ".tar.gz"), make.zip(files)):
        refused(make, path)
        with pytest.raises(UserError, match="expands to more than"):
            list(members.walk(path))


def test_zip_methods_that_cannot_be_bounded(make: Any, tree: Any) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused(make, make.zip(tree, method), "'train/cat/0.png'", "deflate")


def test_too_many_members(make: Any, tree: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 5)
    refused(make, make.tar(tree), "'test/dog/0.png'", "at most 5")


# What is not an image of the one size, with 8 bits


@pytest.mark.parametrize(
    ("data", "word"),
    [
        *[(b"", "image"), (b"not an image", "image"), (b"\x89PNG\r\n\x1a\n", "image")],
        *[(b"%!PS-Adobe", "image"), (png(30000, 8, 2, bytes(1000)), "image")],
        *[(png(33, 8, 2, bytes(33 * 100)), "33x33"), (png(28, 8, 2, bytes(28 * 85)), "28x28")],
        *[(png(32, 16, 0, bytes(32 * 65)), "I;16"), (png(32, 16, 2, bytes(32 * 193)), "16 bits")],
        *[(png(32, 16, 4, bytes(32 * 129)), "16 bits"), (png(32, 16, 6, bytes(8224)), "16 bits")],
    ],
)
def test_members_that_are_no_fitting_image(make: Any, tree: Any, data: bytes, word: str) -> None:
    refused(make, make.tar(tree | {"test/dog/9.png": data}), "'test/dog/9.png'", word)


def test_the_same_image_with_8_bits_is_fine_and_a_truncated_one_is_not(
    make: Any, tree: Any
) -> None:
    load_dataset(make.config(make.tar(tree | {ODD: png(32, 8, 2, bytes(32 * 97))})), 0)
    whole = make.encoded(make.noise(9), "JPEG")
    Image.open(io.BytesIO(whole)).load()
    refused(make, make.tar(tree | {ODD: whole[:-200]}), repr(ODD), "image")


# Layout


@pytest.mark.parametrize(
    "name",
    [
        *["readme.txt", "train/stray.png", "train/cat/deep/0.png", "val/cat/0.png"],
        *["a/b/train/cat/0.png", "top/train/cat/7.png", "a\nb\x1b[31m"],
    ],
)
def test_file_out_of_place(make: Any, tree: Any, name: str) -> None:
    refused(make, make.tar(tree | {name: b""}), repr(name), "[top/](train|test)/class/file")


def test_layouts_that_are_no_data_set(make: Any, tree: Any) -> None:
    refused(make, make.tar({k: v for k, v in tree.items() if k.startswith("test")}), "train/")
    refused(make, make.tar({}), "train/")
    refused(make, make.tar(tree | {"./train/cat/0.png": b"x"}), "'./train/cat/0.png'", "twice")
    for name in ("test/zebra/0.png", "train/zebra/0.png"):
        image = make.encoded(make.noise(9))
        refused(make, make.tar(tree | {name: image}), repr(name.rpartition("/")[0]), "class")
    for name in ("data.rar", "data.png", "data"):
        (make.root / name).write_bytes(b"x")
        refused(make, make.root / name, ".tar.xz", ".zip")


# Damage


def test_truncated_archives(make: Any, tree: Any) -> None:
    for path in make.all_kinds(tree)[1:]:
        whole = path.read_bytes()
        for length in (0, 100, len(whole) // 2, len(whole) // 512 // 2 * 512, len(whole) - 10240):
            path.write_bytes(whole[: max(length, 0)])
            refused(make, path)


def test_damaged_tar_is_not_a_smaller_tar(make: Any, tree: Any) -> None:
    path = make.tar(tree)
    with tarfile.open(path) as archive:
        start = archive.getmembers()[4].offset
    whole = path.read_bytes()
    path.write_bytes(whole[:start])
    refused(make, path, "missing end")
    for damage in (b"\xff" * 8, bytes(512)):
        path.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
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
        for position in drawn.sample(range(len(whole)), 40):
            data = bytearray(whole)
            data[position] ^= 1 << drawn.randrange(8)
            path.write_bytes(data)
            try:
                loaded = load_dataset(make.config(path), 0)
            except UserError as error:
                assert re.match(rf"data\.path {path}: ", str(error))  # noqa: PT017
                continue
            assert torch.equal(loaded.train.targets, expected.train.targets)
            assert torch.equal(loaded.train.inputs, expected.train.inputs)
