from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bnexp.errors import UserError
from bnexp.runs import TableWriter, read_table, table_names


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps(folder: Path, table: str = "train") -> list[int]:
    frame = read_table(folder, table)
    return [] if frame.empty else frame["step"].tolist()


def write(folder: Path, *parts: range) -> TableWriter:
    """A table train of one row per step, x = step / 7, flushed after each of ``parts``."""
    writer = TableWriter(folder)
    for part in parts:
        for step in part:
            writer.add("train", {"step": step, "x": step / 7})
        writer.flush()
    return writer


def test_what_is_added_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    writer = TableWriter(tmp_path)
    mean = rng.normal(size=(3, 4))
    for step in range(3):
        writer.add("moments", {"step": step, "layer": 2, "unit": np.arange(4), "mean": mean[step]})
        writer.flush()
    expected = pd.DataFrame(
        {
            "step": np.repeat(np.arange(3), 4),
            "layer": np.full(12, 2),
            "unit": np.tile(np.arange(4), 3),
            "mean": mean.ravel(),
        }
    )
    pd.testing.assert_frame_equal(read_table(tmp_path, "moments"), expected, check_exact=True)


def test_doubles_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    # Two kinds of NaN, both zeros, infinities, the smallest and the largest double.
    bits = np.array(
        [
            *(0x7FF8000000000000, 0x7FF8000000000123),
            *(0, 1 << 63),
            *(0x7FF << 52, 0xFFF << 52),
            *(1, 0x7FEFFFFFFFFFFFFF),
        ],
        dtype=np.uint64,
    )
    writer = TableWriter(tmp_path)
    writer.add("landscape", {"step": 0, "loss": bits.view(np.float64)})
    writer.flush()
    read = read_table(tmp_path, "landscape")["loss"].to_numpy().view(np.uint64)
    assert read.tolist() == bits.tolist()


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (float("nan"), 0.5, np.float64),
        (None, 0.5, np.float64),
        (1, 0.5, np.float64),  # a whole number in one part, a fraction in the next
        (np.float32(0.5), 0.25, np.float64),
        (2**62, 3, np.int64),
        (np.int32(4), 5, np.int64),
        (True, False, np.bool_),
    ],
)
def test_types_do_not_depend_on_the_part(
    tmp_path: Path, first: Any, second: Any, dtype: type
) -> None:
    writer = TableWriter(tmp_path)
    for step, value in enumerate([first, second]):
        writer.add("train", {"step": step, "accuracy": value})
        writer.flush()
    read = read_table(tmp_path, "train")["accuracy"]
    assert read.dtype == dtype
    expected = np.array([first, second], dtype=dtype)
    np.testing.assert_array_equal(read.to_numpy(), expected)


def test_text_and_samples_keep_their_types_in_every_part(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    samples = [[1.0, 2.0], [], [3.0]]
    for step, values in enumerate(samples):
        writer.add("eval", {"step": step, "split": "test", "loss": 1.5})
        writer.add("activations", {"step": step, "layer": [3], "values": [np.array(values)]})
        writer.flush()
    split = read_table(tmp_path, "eval")["split"]
    assert split.tolist() == ["test"] * 3
    read = read_table(tmp_path, "activations")["values"]
    assert [row.tolist() for row in read] == samples
    assert {row.dtype for row in read} == {np.dtype(np.float64)}


def test_a_matrix_is_one_sample_per_row(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    writer = TableWriter(tmp_path)
    writer.add("activations", {"step": 0, "layer": [1, 2], "values": values})
    writer.flush()
    read = np.stack(read_table(tmp_path, "activations")["values"].tolist())
    assert read.tolist() == values.tolist()


def test_what_the_caller_changes_later_does_not_reach_the_table(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    x, values = np.zeros(2), np.zeros(3)
    for step in range(2):
        x[:], values[:] = step, step
        writer.add("train", {"step": step, "x": x, "values": [values, values]})
    writer.flush()
    read = read_table(tmp_path, "train")
    assert read["x"].tolist() == [0, 0, 1, 1]
    assert [row.tolist() for row in read["values"]] == [[0] * 3] * 2 + [[1] * 3] * 2


@pytest.mark.parametrize(
    "columns",
    [
        {"step": 0, "x": [1, 2], "y": [1, 2, 3]},
        {"x": [1, 2]},
        {"step": 0, "x": 1.0, "y": 2.0},
    ],
    ids=["unequal lengths", "no step", "other columns"],
)
def test_rows_that_do_not_fit_are_refused_when_added(
    tmp_path: Path, columns: dict[str, Any]
) -> None:
    writer = TableWriter(tmp_path)
    if "y" in columns and columns["y"] == 2.0:
        writer.add("train", {"step": 0, "x": 1.0})
    with pytest.raises(ValueError):
        writer.add("train", columns)


@pytest.mark.parametrize("value", [1.5, "1", float("nan")])
def test_a_counting_column_holds_whole_numbers_only(tmp_path: Path, value: Any) -> None:
    writer = TableWriter(tmp_path)
    writer.add("train", {"step": 0, "layer": value})
    with pytest.raises(ValueError, match="layer"):
        writer.flush()


@pytest.mark.parametrize("values", [["a", 1], [1.0, "a"]])
def test_text_and_numbers_do_not_mix(tmp_path: Path, values: list[Any]) -> None:
    writer = TableWriter(tmp_path)
    writer.add("train", {"step": 0, "x": values})
    with pytest.raises(ValueError, match="x"):
        writer.flush()
    writer = TableWriter(tmp_path)
    for value in values:
        writer.add("train", {"step": 0, "x": value})
    with pytest.raises(ValueError, match="x"):
        writer.flush()


@pytest.mark.parametrize("name", ["", "../x", "A", ".hidden", "a/b"])
def test_a_table_is_named_as_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        TableWriter(tmp_path).add(name, {"step": 0})


def test_parts_are_named_by_their_steps_and_sort_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, range(9, 11), range(99, 101), range(20_000, 20_001))
    assert names(tmp_path / "train") == [
        "000000009-000000010.parquet",
        "000000099-000000100.parquet",
        "000020000-000020000.parquet",
    ]


def test_rows_within_a_part_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    for step, x in [(2, 0.0), (1, 1.0), (2, 2.0), (1, 3.0)]:
        writer.add("train", {"step": step, "x": x})
    writer.flush()
    read = read_table(tmp_path, "train")
    assert read["step"].tolist() == [1, 1, 2, 2]
    assert read["x"].tolist() == [1, 3, 0, 2]


def test_a_step_flushed_in_pieces_lies_in_one_part(tmp_path: Path) -> None:
    write(tmp_path, range(0, 3), range(2, 3), range(2, 5))
    assert steps(tmp_path) == [0, 1, 2, 2, 2, 3, 4]
    assert names(tmp_path / "train") == ["000000000-000000004.parquet"]


def test_a_step_before_what_is_on_the_disk_is_refused(tmp_path: Path) -> None:
    write(tmp_path, range(10))
    with pytest.raises(ValueError, match="step 5"):
        write(tmp_path, range(5, 15))
    assert steps(tmp_path) == [*range(10)]


def test_nothing_added_writes_nothing(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    writer.add("train", {"step": [], "x": []})
    writer.flush()
    assert names(tmp_path) == []
    assert table_names(tmp_path) == []
    assert read_table(tmp_path, "train").empty
    assert read_table(tmp_path / "none", "train").empty
    assert table_names(tmp_path / "none") == []


def test_what_is_no_part_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    for name in (".000000003-000000004.parquet.0a.tmp", "x.parquet", "000000003-000000004.txt"):
        (tmp_path / "train" / name).write_bytes(b"half")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert steps(tmp_path) == [0, 1, 2]
    assert table_names(tmp_path) == ["train"]


def test_parts_with_columns_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    for step, x in enumerate(["text", 1.0]):
        writer = TableWriter(tmp_path)
        writer.add("train", {"step": step, "x": x})
        writer.flush()
    with pytest.raises(UserError, match="train"):
        read_table(tmp_path, "train")


def test_memory_holds_a_bounded_number_of_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnexp.runs.tables.BUFFERED_VALUES", 40)
    writer = TableWriter(tmp_path)
    for step in range(10):
        for layer in (1, 2):  # a step in two pieces, of 6 values each
            writer.add("activations", {"step": step, "layer": layer, "values": np.ones((1, 4))})
    # 4 steps of 12 values are the first to reach 40; the last two steps wait.
    assert names(tmp_path / "activations") == [
        "000000000-000000003.parquet",
        "000000004-000000007.parquet",
    ]
    writer.flush()
    assert steps(tmp_path, "activations") == [step for step in range(10) for _ in (1, 2)]


def test_a_row_at_every_step_costs_microseconds(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    row = {"step": 1, "loss": 1.0, "data_loss": 1.0, "accuracy": 0.5, "grad_norm": 2.0}
    times = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(100):
            writer.add("train", row)
        times.append((time.perf_counter() - start) / 100)
    assert min(times) < 20e-6


def test_a_long_run_is_read_in_half_a_second(tmp_path: Path) -> None:
    write(tmp_path, *(range(start, start + 100) for start in range(0, 15_000, 100)))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        frame = read_table(tmp_path, "train")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5
    assert frame["step"].tolist() == [*range(15_000)]
