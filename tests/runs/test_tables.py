from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bnexp.errors import UserError
from bnexp.runs import Manifest, TableWriter, read_table
from bnexp.runs.tables import missing, parts_in, read_part

PARTS = (range(0, 4), range(4, 8), range(8, 12))


def write(folder: Path, *parts: range, name: str = "train") -> tuple[TableWriter, Manifest]:
    """A writer of a table with these steps, one part per range, and the last manifest."""
    writer, manifest = TableWriter(folder), {}
    for part in parts:
        for step in part:
            writer.add(name, {"step": step, "x": step / 7})
        manifest = writer.flush()
    return writer, manifest


def steps(folder: Path, name: str = "train", manifest: Manifest | None = None) -> list[int]:
    frame = read_table(folder, name, manifest)
    return frame["step"].tolist() if len(frame) else []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_columns_come_back_as_they_were_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    loss, values = rng.normal(size=4), rng.normal(size=(4, 5))
    writer = TableWriter(tmp_path)
    columns = {"step": 7, "layer": range(1, 5), "split": "test", "loss": loss, "values": values}
    columns |= {"converged": [True, False, True, True], "iterations": [3.0, 4, 5, 6], "none": None}
    writer.add("activations", columns)
    assert writer.buffered == 1 + 4 + 4 + 4 + 4 + 4 + 1 + 20
    writer.flush()
    assert writer.buffered == 0
    read = read_table(tmp_path, "activations")
    expected = pd.DataFrame(
        {**columns, "loss": loss, "values": [*values], "none": np.full(4, np.nan)}
    )
    assert np.stack(read.pop("values").tolist()).tolist() == values.tolist()
    del expected["values"]
    pd.testing.assert_frame_equal(
        read, expected.astype({"iterations": int}), check_exact=True, check_dtype=True
    )
    (part,) = parts_in(tmp_path)["activations"]
    schema = read_part(tmp_path / "activations", part).schema
    assert schema.field("values").type == pa.list_(pa.field("element", pa.float64()))


def test_single_precision_is_of_what_it_can_hold(tmp_path: Path) -> None:
    rows = {
        "eta": [0.1, 0.2, 0.3],  # rows are found by it
        "loss": [np.pi, np.nan, -np.inf],
        "beta": [0.1, 1e200, 0.0],
        "l2": [1e-300, 0.1, 0.2],
    }
    writer = TableWriter(tmp_path, single=["landscape"])
    writer.add("landscape", {"step": [1, 2, 3], **rows})
    found = read_table(tmp_path, "landscape", writer.flush())
    assert set(found.drop(columns="step").dtypes) == {np.dtype(np.float64)}
    for name, values in (rows | {"loss": np.float32(rows["loss"])}).items():
        np.testing.assert_array_equal(found[name], values)


def test_doubles_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    # Two kinds of NaN, both zeros, infinities, the smallest and the largest double.
    special = (0x7FF8000000000000, 0x7FF8000000000123, 0, 1 << 63, 0x7FF << 52, 0xFFF << 52, 1)
    bits = np.array([*special, 0x7FEFFFFFFFFFFFFF], dtype=np.uint64)
    writer = TableWriter(tmp_path)
    writer.add("landscape", {"step": 0, "loss": bits.view(np.float64)})
    writer.flush()
    read = read_table(tmp_path, "landscape")["loss"].to_numpy().view(np.uint64)
    assert read.tolist() == bits.tolist()


@pytest.mark.parametrize(
    ("name", "first", "second", "dtype"),
    [
        ("x", float("nan"), 0.5, np.float64),
        ("x", None, 0.5, np.float64),
        ("x", 1, 0.5, np.float64),
        ("x", np.float32(0.5), 0.25, np.float64),
        ("unit", 2**62, 3, np.int64),
        ("layer", np.int32(4), 5.0, np.int64),
        ("x", True, False, np.bool_),
    ],
)
def test_types_do_not_depend_on_the_part(
    tmp_path: Path, name: str, first: Any, second: Any, dtype: type
) -> None:
    writer = TableWriter(tmp_path)
    for step, value in enumerate([first, second]):
        writer.add("train", {"step": step, name: value})
        writer.flush()
    read = read_table(tmp_path, "train")[name]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read.to_numpy(), np.array([first, second], dtype=dtype))


def test_what_the_caller_changes_later_does_not_reach_the_table(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    x, values = np.zeros(2), np.zeros(3)
    for step in range(2):
        x[:], values[:] = step, step
        writer.add("train", {"step": step, "x": x, "values": [values, values]})
    manifest = writer.flush()
    manifest["train"].clear()
    writer.add("train", {"step": 2, "x": x, "values": [values, values]})
    assert len(writer.flush()["train"]) == 2
    read = read_table(tmp_path, "train")
    assert read["x"].tolist() == [0, 0, 1, 1, 1, 1]
    assert [row.tolist() for row in read["values"]] == [[0] * 3] * 2 + [[1] * 3] * 4


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("train", {"step": 0, "x": [1, 2], "y": [1, 2, 3]}),
        ("train", {"x": [1, 2]}),
        ("train", {"step": 0, "x": 1.0, "y": 2.0}),
        ("train", {"step": 0, "layer": 1.5}),
        ("train", {"step": 0, "layer": "1"}),
        ("train", {"step": 0, "layer": float("nan")}),
        *((name, {"step": 0, "x": 0.0}) for name in ("", "../x", "A", ".hidden", "a/b")),
    ],
)
def test_rows_that_do_not_fit_are_refused_when_added(
    tmp_path: Path, table: str, columns: dict[str, Any]
) -> None:
    writer = TableWriter(tmp_path)
    writer.add("train", {"step": 0, "x": 1.0})
    with pytest.raises(ValueError):
        writer.add(table, columns)


def test_only_the_rows_and_columns_asked_for_are_read(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    for step in range(6):
        writer.add("moments", {"step": step, "layer": [1, 2, 3], "mean": [step, -step, 0.5]})
        if step % 2:
            writer.flush()
    read = read_table(tmp_path, "moments", columns=["mean", "step"], step=(1, 2, 5), layer=2)
    assert read.to_dict("list") == {"mean": [-1, -2, -5], "step": [1, 2, 5]}
    (tmp_path / "moments" / "000000000-000000001.parquet").write_bytes(b"damaged")
    assert len(read_table(tmp_path, "moments", step=3)) == 3, "other parts are not opened"
    assert [*read_table(tmp_path, "moments", columns=["mean"], step=[]).columns] == ["mean"]
    with pytest.raises(UserError, match="variance"):
        read_table(tmp_path, "moments", columns=["variance"], step=3)


def test_a_step_that_was_written_before_is_refused(tmp_path: Path) -> None:
    writer, _ = write(tmp_path, range(10))
    writer.add("train", {"step": 9, "x": 0.0})
    with pytest.raises(ValueError, match="step 9"):
        writer.flush()
    assert steps(tmp_path) == [*range(10)]


def test_going_back_removes_what_the_manifest_does_not_list(tmp_path: Path) -> None:
    _, early = write(tmp_path / "a", *PARTS[:2])
    writer, late = write(tmp_path / "b", *PARTS)
    writer.add("train", {"step": 12, "x": 12 / 7})  # not yet on the disk
    writer.add("eval", {"step": 12})
    for manifest, last in ((late, 12), (early, 8), (early, 8)):
        writer = TableWriter(tmp_path / "b")
        writer.restore(manifest)
        assert steps(tmp_path / "b") == [*range(last)]
        assert names(tmp_path / "b") == ["train"]
    for step in range(8, 12):
        writer.add("train", {"step": step, "x": step / 7})
    assert writer.flush() == late, "the same bytes as in one go"
    writer.restore({})
    assert steps(tmp_path / "b") == []


class Killed(BaseException):
    """Stands for the end of the process at one call of the system."""


@pytest.mark.parametrize("allowed", range(7))
def test_going_back_killed_anywhere_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    manifests = []
    writer = TableWriter(tmp_path)
    for step in range(4):
        for table in ("eval", "train"):
            writer.add(table, {"step": step})
        manifests.append(writer.flush())
    real, calls = Path.unlink, itertools.count()

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if next(calls) >= allowed:
            raise Killed
        real(self, missing_ok)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Path, "unlink", unlink)
        TableWriter(tmp_path).restore(manifests[0])
    for manifest in (manifests[0], None):
        read = read_table(tmp_path, "train", manifests[0])
        assert read["step"].tolist() == [0]
        TableWriter(tmp_path).restore(manifests[0])
        assert read_table(tmp_path, "train", manifest)["step"].tolist() == [0]


def damage(folder: Path, how: str) -> None:
    parts = sorted((folder / "train").iterdir())
    if how == "a part is missing":
        parts[1].unlink()
    elif how == "the table is missing":
        for part in parts:
            part.unlink()
        (folder / "train").rmdir()
    elif how == "a part is doubled":
        (folder / "train" / "000000012-000000015.parquet").write_bytes(parts[1].read_bytes())
    elif how == "an extra table":
        (folder / "copy").mkdir()
        (folder / "copy" / parts[1].name).write_bytes(parts[1].read_bytes())
    elif how == "a part is cut":
        parts[1].write_bytes(parts[1].read_bytes()[:-9])
    elif how == "a part of another run":
        write(folder.parent / "other", range(4, 8))
        pq.write_table(pq.read_table(folder.parent / "other" / "train" / parts[1].name), parts[1])


LACKING = ("a part is missing", "the table is missing", "a part is cut", "a part of another run")


@pytest.mark.parametrize("how", [*LACKING, "a part is doubled", "an extra table"])
def test_what_lacks_or_is_too_much_is_named(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "tables"
    _, manifest = write(folder, *PARTS)
    assert missing(folder, manifest, ended=True) == []
    damage(folder, how)
    table = "copy" if "extra" in how else "train"
    part = "000000012-000000015" if "doubled" in how else "000000004-000000007"
    problems = missing(folder, manifest, ended=True)
    assert any(f"table {table}: part {part}.parquet" in problem for problem in problems)
    assert bool(missing(folder, manifest, ended=False)) is (how in LACKING)
    if how in LACKING:
        for act in (lambda: read_table(folder, "train", manifest), restored(folder, manifest)):
            before = names(folder / "train")
            with pytest.raises(UserError, match=r"\.parquet"):
                act()
            assert names(folder / "train") == before
    else:
        assert steps(folder, manifest=manifest) == [*range(12)]


def restored(folder: Path, manifest: Manifest) -> Any:
    return lambda: TableWriter(folder).restore(manifest)


def test_no_flipped_bit_of_a_part_is_overlooked(tmp_path: Path) -> None:
    _, manifest = write(tmp_path, range(3))
    (part,) = manifest["train"]
    path = tmp_path / "train" / part["name"]
    good = path.read_bytes()
    for place in range(0, len(good), 3):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        with pytest.raises(UserError, match=path.name):
            read_part(path.parent, part)
