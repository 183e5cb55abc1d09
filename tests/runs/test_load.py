from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bnexp.errors import UserError
from bnexp.runs import (
    Manifest,
    Run,
    RunDirectory,
    TableWriter,
    describe,
    find_runs,
    load_runs,
    scale,
)

from .conftest import DLN, VGG

MakeRun = Callable[..., RunDirectory]


def only(directory: RunDirectory) -> Run:
    (run,) = find_runs(directory.path)
    return run


def test_runs_are_found_from_three_places_sorted_by_id(make_run: MakeRun, tmp_path: Path) -> None:
    b, a = make_run("b"), make_run("a", seed=1)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "readme.txt").touch()
    assert [run.id for run in find_runs(tmp_path)] == ["a", "b"]
    assert [run.id for run in find_runs(tmp_path / "runs")] == ["a", "b"]
    assert find_runs(b.path) == [Run(b.path, "b", {}, {})]
    assert only(a).seed == 1


def test_an_empty_folder_has_no_runs_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert find_runs(tmp_path) == []
    assert load_runs(tmp_path) == {}
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(UserError, match=name):
            find_runs(str(tmp_path / name))


def test_a_run_is_running_while_somebody_holds_it_and_interrupted_after(make_run: MakeRun) -> None:
    directory = make_run("a")
    assert only(directory).state == "interrupted"  # killed before its first status
    with directory.lock():
        assert only(directory).state == "running"
        directory.write_status(state="running", step=3)
        run = only(directory)
        assert run.state == "running"
    assert run.state == "interrupted"


def test_all_runs_are_joined_with_what_they_are(make_run: MakeRun, tmp_path: Path) -> None:
    for directory, steps in ((make_run("b", norm__name="l1"), 2), (make_run("a", DLN), 3)):
        writer = TableWriter(directory.tables_dir)
        for step in range(steps):
            writer.add("train", {"step": step, "loss": float(step), "accuracy": float("nan")})
        if steps == 2:
            writer.add("eval", {"step": 0, "split": "test", "loss": 0.5, "accuracy": 0.25})
        directory.write_status(state="done", step=1, tables=writer.flush())
    frames = load_runs(str(tmp_path))
    assert [*frames] == ["eval", "train"]
    front = ["run", "model", "norm", "lr", "seed", "width", "data"]
    expected = pd.DataFrame(
        [
            ["a", "dln", "bn", 1e-6, 0, np.nan, "Gaussian", 0, 0.0, np.nan],
            ["a", "dln", "bn", 1e-6, 0, np.nan, "Gaussian", 1, 1.0, np.nan],
            ["a", "dln", "bn", 1e-6, 0, np.nan, "Gaussian", 2, 2.0, np.nan],
            ["b", "vgg16", "l1", 0.1, 0, 0.125, "digits", 0, 0.0, np.nan],
            ["b", "vgg16", "l1", 0.1, 0, 0.125, "digits", 1, 1.0, np.nan],
        ],
        columns=[*front, "step", "loss", "accuracy"],
    )
    assert [*frames["train"].columns[:7]] == front
    texts = ["run", "model", "norm", "data"]
    assert set(frames["train"][texts].dtypes.map(str)) == {"category"}
    plain = frames["train"][expected.columns].astype(dict.fromkeys(texts, str))
    pd.testing.assert_frame_equal(plain, expected.astype(dict.fromkeys(texts, str)))
    assert [*load_runs(tmp_path, "eval", "none")] == ["eval"]
    assert frames["eval"]["run"].tolist() == ["b"]
    train = frames["train"].drop_duplicates("run")
    assert train["optim.momentum"].tolist()[1] == 0
    assert train["probes.landscape.etas"].tolist() == ["[0.5,1,2,4]"] * 2
    assert train["batch_size"].tolist()[1] == 128
    assert np.isnan(train["batch_size"].tolist()[0])
    keys = ("model.depth", "optim.lr", "data.label", "steps", "threads")
    assert all(key in train for key in keys)


def recorded(directory: RunDirectory, steps: int) -> Manifest:
    writer = TableWriter(directory.tables_dir)
    manifest: Manifest = {}
    for step in range(steps):
        writer.add("train", {"step": step, "loss": float(step)})
        manifest = writer.flush()
    return manifest


def test_a_run_that_lacks_a_part_is_damaged_and_says_which(make_run: MakeRun) -> None:
    directory = make_run("a")
    directory.write_status(state="done", step=2, tables=recorded(directory, 3))
    run = only(directory)
    assert (run.state, run.problems, run.verify()) == ("done", [], [])
    last = directory.tables_dir / "train" / "000000002-000000002.parquet"
    good = last.read_bytes()
    last.write_bytes(good[:50] + b"?" + good[51:])
    assert [last.name in problem for problem in only(directory).verify()] == [True]
    last.unlink()
    run = only(directory)
    assert run.problems == [f"table train: part {last.name} is missing"]
    assert run.state == "damaged"
    with pytest.raises(UserError, match=f"part {last.name} is missing"):
        run.table("train")


@pytest.mark.parametrize("first", ["tables", "status"])
def test_a_directory_copied_while_it_runs_is_never_taken_for_a_whole_one(
    make_run: MakeRun, tmp_path: Path, first: str
) -> None:
    """Files are copied one after the other while the run goes on from step 2 to its end."""
    directory = make_run("a")
    copy = RunDirectory(tmp_path / "copy" / "runs" / "a")
    early = recorded(directory, 2)
    directory.write_status(state="running", step=1, tables=early)
    shutil.copytree(directory.path, copy.path)
    writer = TableWriter(directory.tables_dir)
    writer.restore(early)
    writer.add("train", {"step": 2, "loss": 2.0})
    directory.write_status(state="done", step=2, tables=writer.flush())
    if first == "tables":
        shutil.copyfile(directory.status_file, copy.status_file)
        assert only(copy).state == "damaged"
        assert "000000002-000000002.parquet is missing" in only(copy).problems[0]
    else:
        shutil.copytree(directory.tables_dir, copy.tables_dir, dirs_exist_ok=True)
        assert only(copy).state == "interrupted"
        assert only(copy).table("train")["step"].tolist() == [0, 1]


def test_a_reader_that_going_back_overtakes_looks_again(make_run: MakeRun) -> None:
    directory = make_run("a")
    writer = TableWriter(directory.tables_dir)
    writer.add("train", {"step": 0})
    early = writer.flush()
    writer.add("train", {"step": 1})
    directory.write_status(state="running", step=1, tables=writer.flush())
    run = only(directory)
    directory.write_status(state="running", step=0, tables=early)
    writer.restore(early)
    assert run.table("train")["step"].tolist() == [0]


OLD = Path(__file__).parent / "old"
"""Two runs of version 0.1, most of their rows left out."""


def test_runs_of_version_0_1_are_read() -> None:
    dln, vgg = find_runs(OLD)
    assert (dln.model, dln.family, vgg.model, vgg.family) == ("dln", "dln", "vgg16", "vgg")
    assert (dln.state, dln.problems, dln.verify()) == ("done", [], [])
    assert vgg.table("train")["step"].tolist() == [0, 15, 30, 45]
    assert vgg.table("landscape", ["eta"], step=15)["eta"].is_monotonic_increasing
    assert dln.columns("train") == [*dln.table("train").columns]
    assert dln.columns("eval") == []
    assert dln.table_names() == ["landscape", "smoothness", "train"]
    assert describe(vgg) == "VGG-16 ×1/8, digits, batch 128, 300 steps"
    assert load_runs(OLD)["train"]["model"].tolist() == ["dln"] * 4 + ["vgg16"] * 4
    assert "n_mu" not in vgg.option("norm")


def test_old_and_new_runs_of_the_same_settings_are_of_one_scale(make_run: MakeRun) -> None:
    dln, vgg = find_runs(OLD)
    for number, old in enumerate((dln, vgg)):
        config = RunDirectory(old.path).read_config()
        model = {k: v for k, v in config["model"].items() if k != "family"}
        if old.family == "vgg":
            model |= {"name": "vgg", "depth": 16}
        else:
            config["data"] |= {"A": "normal", "A_low": 0.5, "A_high": 1.5}
        for key in ("together", "cuda_graphs"):
            config.pop(key, None)
        seeds = {"seed_data": 1, "seed_init": 1, "seed_order": 3}
        now = {"compile": False, "plugins": [], "stale": "ask", **seeds}
        new = only(make_run(f"new{number}", {**config, "model": model, **now, "seed": 3}))
        assert scale(new) == scale(old)
        assert (new.model, describe(new)) == (old.model, describe(old))


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ({"norm__name": "none"}, True),
        ({"norm__eps": 1e-3}, True),
        ({"optim__lr": 0.5}, True),
        ({"seed": 3}, True),
        ({"threads": 8, "out": "elsewhere", "data__path": "/x"}, True),
        ({"steps": 400.0}, True),
        ({"steps": 500}, False),
        ({"model__width": 1.0}, False),
        ({"batch_size": 64}, False),
        ({"data__label": "other"}, False),
        ({"optim__momentum": 0.9}, False),
        ({"probes__landscape__every": 50}, False),
    ],
)
def test_runs_of_one_scale_differ_in_norm_lr_and_seed_only(
    make_run: MakeRun, options: dict[str, Any], together: bool
) -> None:
    one, other = only(make_run("a")), only(make_run("b", **options))
    assert (scale(one) == scale(other)) is together
    assert one.config == VGG


WORDS = "VGG-16 ×1/8, digits, batch 128, 400 steps"


def test_a_run_is_described_for_people(make_run: MakeRun) -> None:
    for number, (options, words) in enumerate(
        [
            ({}, WORDS),
            ({"data__label": None}, WORDS),
            ({"model__width": 1, "steps": 15_000}, "VGG-16, digits, batch 128, 15,000 steps"),
            ({"model__width": 0.3}, WORDS.replace("1/8", "3/10")),
            (
                {"model__depth": 11, "batch_size": 1024},
                "VGG-11 ×1/8, digits, batch 1,024, 400 steps",
            ),
            ({"model": {"name": "perceptron"}}, "perceptron, digits, batch 128, 400 steps"),
        ]
    ):
        assert describe(only(make_run(f"a{number}", VGG, **options))) == words
    words = "DLN 25×10, Gaussian, full batch, 10,000 steps"
    assert describe(only(make_run("b", DLN))) == words
