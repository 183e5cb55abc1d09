"""Loggers: what the tables record, each point once, whatever happens; and no number changes."""

from __future__ import annotations

import csv
import importlib.util
import math
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave

from bnexp import loggers
from bnexp.cli import main
from bnexp.registry import LOGGERS
from bnexp.training import Job, train
from tests.training.runs import (
    DLN,
    EVERY,
    assert_same_state,
    assert_same_tables,
    cut_off,
    finished,
    job,
    tables,
)

RUN = (*DLN, "norm=bn", "steps=7", "threads=1", *EVERY)
Points = dict[tuple[str, int], list[float]]
"""By series and step all values that were logged: one, unless a point is doubled."""


def of_csv(logs: Path, name: str) -> Points:
    found: Points = {}
    with (logs / name / "scalars.csv").open() as file:
        for row in csv.DictReader(file):
            found.setdefault((row["name"], int(row["step"])), []).append(float(row["value"]))
    return found


def of_tensorboard(logs: Path, name: str) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(logs / name), {"scalars": 0}).Reload()
    found: Points = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            found.setdefault((tag, event.step), []).append(event.value)
    return found


def records(data: bytes) -> Iterator[bytes]:
    """Those of a log as LevelDB has it: in blocks of 32 KiB, each piece with length and type."""
    place, record = 7, b""  # after wandb's own header
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def of_wandb(logs: Path, name: str) -> Points:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = (logs / name).glob("wandb/offline-run-*/*.wandb")
    found: Points = {}
    for data in records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        items = {item.nested_key[0] or item.key: item.value_json for item in record.history.item}
        for key, value in items.items():
            if "/" in key and "fig" not in key:
                number = float(value.strip('"').replace("Infinity", "inf"))
                found.setdefault((key, int(items["step"])), []).append(number)
    return found


def of_mlflow(logs: Path, name: str) -> Points:
    from mlflow.tracking import MlflowClient

    client = MlflowClient((logs / "store").as_uri())
    experiment = client.get_experiment_by_name("bnexp")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == name
    assert run.data.params["optim.lr"] == "0.001"
    found: Points = {}
    for key in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, key):
            found.setdefault((key, metric.step), []).append(metric.value)
    return found


def of_aim(logs: Path, name: str) -> Points:
    import aim

    (run,) = aim.Repo.from_path(str(logs)).iter_runs()
    assert run.name == name
    found: Points = {}
    for metric in run.metrics():
        steps, (values, *_) = metric.data.items_list()
        for step, value in zip(steps, values, strict=True):
            found.setdefault((metric.name, step), []).append(value)
    return found


READ = {"csv": of_csv, "tensorboard": of_tensorboard, "wandb": of_wandb, "mlflow": of_mlflow}
READ["aim"] = of_aim


def installed(name: str) -> Callable[[Path, str], Points]:
    package = {"csv": "csv"}.get(name, name)
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{name} is not installed: pip install bnexp[{name}]")
    return READ[name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The run made in peace, without a logger."""
    return finished(tmp_path_factory.mktemp("whole"), *RUN)


def test_all_loggers_are_tested() -> None:
    assert {*READ, "none"} == set(LOGGERS.names())


@pytest.mark.parametrize("name", READ)
def test_every_number_of_every_probe_is_logged_once_also_where_the_run_was_cut_off(
    tmp_path: Path, whole: Job, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    read = installed(name)
    broken = job(tmp_path, *RUN, f"logger={name}")
    assert broken.id == whole.id, "a logger is no part of what a run computes"
    cut_off(broken, at=5, saved_after=2)
    assert train(broken) == "done"
    assert_same_tables(whole, broken)
    assert_same_state(whole, broken)
    assert "failed" not in capfd.readouterr().err

    points = read(tmp_path / "logs" / name, broken.id)
    made = tables(whole)
    expected: Points = {}
    for table, frame in made.items():
        labels = [label for label in ("split", "layer", "eta") if label in frame]
        for column in frame.columns.difference(["step", "unit", *labels]):
            values = frame[column].map(np.mean).astype(float)
            for keys, group in values.groupby([frame["step"], *(frame[n] for n in labels)]):
                texts = [
                    f"{label} {key:02}" if label == "layer" else f"{label} {key:g}"
                    if label == "eta" else key
                    for label, key in zip(labels, keys[1:], strict=True)
                ]  # fmt: skip
                expected["/".join([table, column, *texts]), keys[0]] = [group.mean(skipna=False)]
    assert len({key for key, _ in expected}) > 60
    assert points.keys() == expected.keys()
    relative = 1e-6 if name == "tensorboard" else 1e-13  # which keeps single precision
    for key, values in expected.items():
        assert points[key] == pytest.approx(values, rel=relative, nan_ok=True), key


@pytest.mark.parametrize("name", READ)
def test_figures_are_logged(tmp_path: Path, name: str) -> None:
    installed(name)
    picture = tmp_path / "fig04.png"
    imsave(picture, np.random.default_rng(0).random((20, 30, 3)))
    choice = job(tmp_path, *RUN, f"logger={name}").config.logger
    log = loggers.Log(choice, tmp_path, "figures", {})
    log.call("figure", "fig04", picture)
    log.close()
    logs = tmp_path / "logs" / name
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(logs / "figures")).Reload()
        (image,) = events.Images("fig04")
        assert (image.width, image.height) == (30, 20)
    elif name == "aim":
        import aim

        (run,) = aim.Repo.from_path(str(logs)).iter_runs()
        assert [sequence.name for sequence in run.images()] == ["fig04"]
    else:
        copies = [p for p in logs.rglob("*.png") if p.read_bytes() == picture.read_bytes()]
        assert len(copies) == 1


class Failing(loggers.Logger):
    """Fails at the point with this number; the last one is closing."""

    at = 0

    def log(self, *_: object) -> None:
        Failing.at -= 1
        if Failing.at == 0:
            raise OSError(28, "No space left\non device")

    def close(self) -> None:
        raise RuntimeError("no server")


@pytest.mark.parametrize("at", [1, 5, 10**6])
def test_a_logger_that_fails_is_said_in_one_line_and_the_run_goes_on(
    tmp_path: Path,
    whole: Job,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at: int,
) -> None:
    monkeypatch.setitem(LOGGERS._entries, "csv", replace(LOGGERS["csv"], item=Failing))
    monkeypatch.setattr(Failing, "at", at)
    made = job(tmp_path, *RUN, "logger=csv")
    assert train(made) == "done"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bnexp: logger=csv failed and is left out: ")
    assert ("No space left on device" in line) == (at < 100)
    assert_same_tables(whole, made)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("disk", ["a file", "full"])
def test_no_place_for_a_log_fails_no_run(
    tmp_path: Path, whole: Job, capfd: pytest.CaptureFixture[str], name: str, disk: str
) -> None:
    installed(name)
    logs = tmp_path / "logs"
    if disk == "a file":
        logs.touch()
    else:
        logs.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=8", "bnexp-test", str(logs)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("file systems cannot be mounted here")
    try:
        made = job(tmp_path, *RUN, f"logger={name}")
        assert train(made) == "done"
        assert_same_tables(whole, made)
        err = capfd.readouterr().err
        said = [line for line in err.splitlines() if line.startswith("bnexp:")]
        assert len(said) == 1 or (name == "wandb" and disk == "full"), err
    finally:
        if disk == "full":
            subprocess.run(["umount", "-l", str(logs)], check=True)


def test_a_server_that_is_not_there_fails_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed("mlflow")
    options = ["logger=mlflow", "logger.uri=http://127.0.0.1:9", "probes=none"]
    assert train(job(tmp_path, *DLN, "steps=2", *options)) == "done"
    assert "logger=mlflow failed and is left out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["wandb", "mlflow", "aim"])
def test_a_missing_extra_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda _: None)
    more = [f"logger.{'project' if name == 'wandb' else 'experiment'}=other"]  # bound anew
    for multi in ([], ["-m"]):
        assert main(["train", *multi, *DLN, f"logger={name}", *more, f"out={tmp_path}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"pip install bnexp[{name}]" in line
    assert not list(tmp_path.iterdir())


def test_the_series_of_a_table() -> None:
    rows = {
        "a": {"step": [3, 3], "layer": [1, 12], "x": [0.5, math.inf], "y": [[1, 2], [3.0]]},
        "b": {"step": [3, 4], "split": ["test", "test"], "ok": [True, None]},
    }
    found = [(step, values) for step, values in loggers.scalars(rows)]
    first = {"a/x/layer 01": 0.5, "a/x/layer 12": math.inf, "a/y/layer 01": 1.5}
    assert found[0] == (3, {**first, "a/y/layer 12": 3.0})
    assert found[1] == (3, {"b/ok/test": 1.0})
    assert math.isnan(found[2][1]["b/ok/test"])
