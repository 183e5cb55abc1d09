"""Kills, full disks, damage: what is read is what was written, or an error names the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bnexp.errors import UserError
from bnexp.runs import TableWriter, read_table, table_names
from bnexp.runs.parts import Part, list_parts, read_part, write_part

from .test_tables import names, steps, write

PARTS = (range(0, 4), range(4, 8), range(8, 12))


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: read_table(folder, name) for name in table_names(folder)}


# Truncation


@pytest.mark.parametrize("step", range(14))
def test_truncating_removes_the_step_and_all_after(tmp_path: Path, step: int) -> None:
    writer = write(tmp_path, *PARTS)
    writer.add("train", {"step": 12, "x": 12 / 7})  # not yet on the disk
    for _ in range(2):
        writer.truncate(step)
        assert steps(tmp_path) == [*range(min(step, 13))]
        last = [part.last for part in list_parts(tmp_path / "train")]
        assert last[-1:] == ([min(step, 13) - 1] if step else [])
        assert not [name for name in names(tmp_path / "train") if name.startswith(".")]


def test_a_resumed_table_equals_one_written_in_one_go(tmp_path: Path) -> None:
    write(tmp_path / "a", range(12))
    write(tmp_path / "b", *PARTS).truncate(6)
    write(tmp_path / "b", range(6, 9), range(9, 12))
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "a", "train"), read_table(tmp_path / "b", "train"), check_exact=True
    )


class Killed(BaseException):
    """Stands for the end of the process at one call of the system."""


def killed_at(monkeypatch: pytest.MonkeyPatch, call: int) -> list[str]:
    """From call number ``call`` on, no call that changes a folder is carried out any more."""
    made: list[str] = []
    for name in ("replace", "rename", "unlink"):
        real = getattr(Path, name)

        def change(self: Path, *args: Any, real: Any = real, name: str = name, **kw: Any) -> Any:
            made.append(name)
            if len(made) > call:
                raise Killed
            return real(self, *args, **kw)

        monkeypatch.setattr(Path, name, change)
    return made


def every_kill(act: Callable[[Path], None], check: Callable[[Path], None], folder: Path) -> int:
    """Do ``act`` on fresh tables, killed before its first, second, ... change, until it is done."""
    call = 0
    while True:
        target = folder / str(call)
        write(target, *PARTS)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, call)
            try:
                act(target)
            except Killed:
                done = False
            else:
                done = True
        check(target)
        if done:
            return call
        call += 1


def test_a_truncation_killed_anywhere_leaves_the_beginning_and_can_be_done_again(
    tmp_path: Path,
) -> None:
    def check(folder: Path) -> None:
        # Every step at most once, none missing between those that are there.
        seen = steps(folder)
        assert seen == [*range(len(seen))]
        assert len(seen) >= 6
        TableWriter(folder).truncate(6)
        assert steps(folder) == [*range(6)]
        write(folder, range(6, 9))
        assert steps(folder) == [*range(9)]

    assert every_kill(lambda folder: TableWriter(folder).truncate(6), check, tmp_path) == 3


def test_a_flush_killed_anywhere_leaves_the_old_rows_or_the_new_ones(tmp_path: Path) -> None:
    # More of step 11, so that the last part has to grow.
    def check(folder: Path) -> None:
        assert steps(folder) in ([*range(12)], [*range(12), *range(11, 14)])
        TableWriter(folder).truncate(10)
        assert steps(folder) == [*range(10)]

    def act(folder: Path) -> None:
        write(folder, range(11, 14))

    assert every_kill(act, check, tmp_path) == 2


WRITER = """
import sys
from pathlib import Path
from bnexp.runs import RunDirectory, TableWriter
directory = RunDirectory(Path(sys.argv[1]))
with directory.lock():
    writer = TableWriter(directory.tables_dir)
    start = int(sys.argv[2])
    writer.truncate(start)
    print("go", flush=True)
    for step in range(start, 10**9):
        writer.add("train", {"step": step, "x": step / 7})
        writer.add("moments", {"step": step, "layer": 1, "unit": [0, 1], "mean": [step, -step]})
        if step % 3 == 2:
            writer.flush()
"""


def test_sigkill_at_any_moment_leaves_whole_parts_only(tmp_path: Path) -> None:
    start = 0
    for delay in (0.0, 0.013, 0.037, 0.11):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            # A reader beside the writer sees whole rows without gaps, too.
            seen: list[int] = []
            while len(seen) < start + 10:
                seen = steps(tmp_path / "tables")
                assert seen == [*range(len(seen))]
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        train = read_table(tmp_path / "tables", "train")
        last = len(train)
        assert train["step"].tolist() == [*range(last)]
        assert train["x"].tolist() == [step / 7 for step in range(last)]
        moments = read_table(tmp_path / "tables", "moments")
        assert last - 3 <= len(moments) / 2 <= last
        assert moments["mean"].tolist() == [m for s in range(len(moments) // 2) for m in (s, -s)]
        start = last - 5  # the middle of a part, as a checkpoint could be


def test_a_reader_that_a_truncation_overtakes_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, *PARTS)
    calls = []

    def list_then_truncate(folder: Path) -> list[Part]:
        parts = list_parts(folder)
        calls.append(folder)
        if len(calls) == 1:
            TableWriter(tmp_path).truncate(6)
        return parts

    monkeypatch.setattr("bnexp.runs.tables.list_parts", list_then_truncate)
    assert steps(tmp_path) == [*range(6)]


# A full disk


def full(*args: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("more", [range(12, 15), range(11, 15)], ids=["new part", "grown part"])
def test_a_full_disk_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: range
) -> None:
    writer = write(tmp_path, *PARTS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()}
    for step in more:
        writer.add("train", {"step": step, "x": step / 7})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError) as caught:
            writer.flush()
    assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()} == before
    writer.flush()  # there is room again
    assert steps(tmp_path) == [*range(12), *more]


def test_a_table_written_before_the_disk_was_full_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TableWriter(tmp_path)
    writer.add("one", {"step": 0})
    writer.add("two", {"step": 0})

    def full_at_two(path: Path, rows: pa.Table) -> None:
        full() if path.parent.name == "two" else write_part(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr("bnexp.runs.tables.write_part", full_at_two)
        with pytest.raises(OSError):
            writer.flush()
    assert table_names(tmp_path) == ["one"]
    writer.flush()
    assert {name: len(frame) for name, frame in tables(tmp_path).items()} == {"one": 1, "two": 1}


# Damage


def sample_part(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    writer = TableWriter(folder)
    writer.add(
        "activations",
        {
            "step": 7,
            "layer": np.arange(1, 5),
            "split": "test",
            "loss": rng.normal(size=4),
            "values": rng.normal(size=(4, 5)),
        },
    )
    writer.flush()
    (part,) = list_parts(folder / "activations")
    return part.path


def test_no_flipped_bit_gives_other_numbers(tmp_path: Path) -> None:
    path = sample_part(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            read_table(tmp_path, "activations")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_other_length_gives_numbers(tmp_path: Path) -> None:
    path = sample_part(tmp_path)
    whole = path.read_bytes()
    for content in (*(whole[:n] for n in range(len(whole))), whole + b"x", whole + whole, b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            read_table(tmp_path, "activations")


def test_a_part_is_plain_parquet_to_other_readers(tmp_path: Path) -> None:
    path = sample_part(tmp_path)
    assert pq.read_table(path).equals(read_part(path))


def test_pages_carry_checksums(tmp_path: Path) -> None:
    path = sample_part(tmp_path)
    data = bytearray(path.read_bytes())
    meta = pq.read_metadata(path).row_group(0)
    loss = next(meta.column(i) for i in range(5) if meta.column(i).path_in_schema == "loss")
    data[loss.data_page_offset + loss.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_an_unreadable_part_is_named(tmp_path: Path) -> None:
    path = sample_part(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=path.name):
        read_table(tmp_path, "activations")


def test_truncating_a_damaged_part_names_it_and_leaves_it(tmp_path: Path) -> None:
    path = sample_part(tmp_path)
    path.rename(path.with_name("000000003-000000009.parquet"))
    (path.with_name("000000003-000000009.parquet")).write_bytes(b"damaged")
    with pytest.raises(UserError, match="000000003-000000009"):
        TableWriter(tmp_path).truncate(5)
    assert names(tmp_path / "activations") == ["000000003-000000009.parquet"]


def test_types_are_the_same_as_arrow_sees_them(tmp_path: Path) -> None:
    schema = read_part(sample_part(tmp_path)).schema
    assert {field.name: field.type for field in schema} == {
        "step": pa.int64(),
        "layer": pa.int64(),
        "split": pa.string(),
        "loss": pa.float64(),
        "values": pa.list_(pa.field("element", pa.float64())),
    }
