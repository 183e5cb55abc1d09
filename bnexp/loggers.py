"""Where the scalars of a run can be followed while it is made: files, TensorBoard, and others.

A logger only copies what the tables record, into ``<out>/logs/<logger>/<run id>``: it changes no
number, and one that fails is said in one line and left out. A run that is gone on with writes its
log anew, what its tables have first, so that no point is there twice and none is lost.
"""

from __future__ import annotations

import csv
import os
import shutil
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from bnexp.errors import UserError
from bnexp.registry import LOGGERS, Options
from bnexp.runs import RunDirectory, read_table

LABELS = {"layer": "layer {:02}", "eta": "eta {:g}"}
"""Columns, besides those of text, by which a table has several rows at a step."""


class Logger:
    """Writes to ``folder``, which is empty, what belongs to the run ``name`` with this ``config``.

    A subclass overrides what it needs; whatever is raised ends the logging and nothing else.
    """

    def __init__(self, options: Any, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.options, self.folder, self.name, self.config = options, folder, name, config

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point at ``step`` to each series."""

    def figure(self, name: str, file: Path) -> None:
        """Add a PNG."""

    def flush(self) -> None:
        """Let what was logged be seen; called every other second."""

    def close(self) -> None:
        """Nothing more comes."""


@dataclass(frozen=True)
class NeedsPackage(Options):
    """Options of a logger whose package is an extra of bnexp."""

    package: ClassVar[str]

    def check(self, key: str) -> None:
        if find_spec(self.package) is None:
            raise UserError(f"{key}: expected {self.package}: pip install bnexp[{self.package}]")


LOGGERS.register("none")(Logger)


@LOGGERS.register("csv")
class Csv(Logger):
    """``scalars.csv`` with columns step, name and value, every digit of them; figures beside it."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._file = (self.folder / "scalars.csv").open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow(("step", "name", "value"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._rows.writerows((step, name, repr(value)) for name, value in values.items())

    def figure(self, name: str, file: Path) -> None:
        shutil.copy(file, self.folder / f"{name}.png")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """``tensorboard --logdir <out>/logs/tensorboard``."""

    def __init__(self, *given: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        super().__init__(*given)
        # Not its SummaryWriter, which meets a full disk in a thread of its own.
        self._writer = RecordWriter((self.folder / "events.out.tfevents.bnexp").open("wb"))
        self._event, self._summary = Event, Summary
        self._write(file_version="brain.Event:2")

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=time.time(), **fields).SerializeToString())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        points = [self._summary.Value(tag=n, simple_value=v) for n, v in values.items()]
        self._write(step=step, summary=self._summary(value=points))

    def figure(self, name: str, file: Path) -> None:
        png = file.read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        size = {"width": width, "height": height, "colorspace": 3}
        image = self._summary.Image(**size, encoded_image_string=png)
        self._write(summary=self._summary(value=[self._summary.Value(tag=name, image=image)]))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class WandbOptions(NeedsPackage):
    package = "wandb"
    project: str


@LOGGERS.register("wandb", WandbOptions)
class Wandb(Logger):
    """Weights & Biases, offline; ``wandb sync <out>/logs/wandb/*/wandb/*`` uploads."""

    def __init__(self, *given: Any) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        super().__init__(*given)
        quiet: dict[str, Any] = {
            "silent": True,
            "console": "off",
            "disable_git": True,
            "x_disable_stats": True,
        }
        about = {"project": self.options.project, "name": self.name, "id": self.name}
        self._image, settings = wandb.Image, wandb.Settings(**quiet, init_timeout=30)
        self._run = wandb.init(
            **about,
            dir=str(self.folder),
            mode="offline",
            config={**self.config},
            settings=settings,
            reinit="create_new",
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def figure(self, name: str, file: Path) -> None:
        self._run.log({name: self._image(str(file))})

    def close(self) -> None:
        self._run.finish()


@dataclass(frozen=True)
class MlflowOptions(NeedsPackage):
    package = "mlflow"
    experiment: str
    uri: str | None


@LOGGERS.register("mlflow", MlflowOptions)
class Mlflow(Logger):
    """MLflow: files in ``<out>/logs/mlflow/store``, or the server or data base at ``uri``."""

    def __init__(self, *given: Any) -> None:
        quiet = {"ALLOW_FILE_STORE": "true", "DISABLE_TELEMETRY": "true"}
        quiet |= {"HTTP_REQUEST_MAX_RETRIES": "1", "HTTP_REQUEST_TIMEOUT": "10"}
        for key, value in quiet.items():
            os.environ.setdefault(f"MLFLOW_{key}", value)
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        super().__init__(*given)
        store = (self.folder.parent / "store").absolute()
        self._client, self._metric = MlflowClient(self.options.uri or store.as_uri()), Metric
        there = self._client.get_experiment_by_name(name := self.options.experiment)
        experiment = there.experiment_id if there else self._client.create_experiment(name)
        before = self.folder.with_suffix(".id")  # of the run that was logged when this one began
        if before.exists():
            self._client.delete_run(before.read_text())
        self._id = self._client.create_run(experiment, run_name=self.name).info.run_id
        before.write_text(self._id)
        settings = pd.json_normalize(dict(self.config)).to_dict("records")[0]
        self._client.log_batch(
            self._id, params=[Param(str(k), str(v)) for k, v in settings.items()]
        )
        self._points: list[Any] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._points += [self._metric(name, value, now, step) for name, value in values.items()]

    def flush(self) -> None:
        while self._points:
            self._client.log_batch(self._id, metrics=self._points[:1000])
            del self._points[:1000]

    def figure(self, name: str, file: Path) -> None:  # noqa: ARG002 - it is called as the file is
        self._client.log_artifact(self._id, str(file), "figures")

    def close(self) -> None:
        self._client.set_terminated(self._id)


@dataclass(frozen=True)
class AimOptions(NeedsPackage):
    package = "aim"
    experiment: str


@LOGGERS.register("aim", AimOptions)
class Aim(Logger):
    """``aim up --repo <out>/logs/aim``."""

    def __init__(self, *given: Any) -> None:
        import aim

        super().__init__(*given)
        repo, before = str(self.folder.parent), self.folder.with_suffix(".id")
        if before.exists():
            aim.Repo.from_path(repo).delete_run(before.read_text())
        quiet: dict[str, Any] = {"system_tracking_interval": None, "capture_terminal_logs": False}
        self._run = aim.Run(repo=repo, experiment=self.options.experiment, **quiet)
        before.write_text(self._run.hash)
        self._image, self._run.name = aim.Image, self.name
        self._run["config"] = {**self.config}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._run.track(value, name, step=step)

    def figure(self, name: str, file: Path) -> None:
        self._run.track(self._image(str(file)), name)

    def close(self) -> None:
        self._run.close()


class Log:
    """What a run gives its logger: rows of tables, in whatever order; never raises."""

    def __init__(self, choice: Any, out: Path, name: str, config: Mapping[str, Any]) -> None:
        self.folder = out / "logs" / choice.name / name
        self._logger: Logger | None = None
        if choice.name != "none":
            self._kind = choice.name
            self._try(self._start, choice, config)

    def _start(self, choice: Any, config: Mapping[str, Any]) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        self._logger = choice.item(choice.options, self.folder, self.folder.name, config)

    def _try(self, call: Any, *given: Any) -> None:
        try:
            call(*given)
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            print(f"bnexp: logger={self._kind} failed and is left out: {why}", file=sys.stderr)
            self._logger = None

    def add(self, rows: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Log rows of tables, as `Probe` gives them."""
        if self._logger is not None:
            for step, values in scalars(rows):
                self.call("log", step, values)

    def replay(self, directory: RunDirectory, manifest: Mapping[str, Any]) -> None:
        """Log what the tables of a run have."""
        for table in manifest if self._logger is not None else ():
            frame = read_table(directory.tables_dir, table, dict(manifest))
            self.add({table: {str(name): frame[name].tolist() for name in frame}})

    def call(self, method: str, *given: Any) -> None:
        """Call ``method`` of the logger, as long as there is one."""
        if self._logger is not None:
            self._try(getattr(self._logger, method), *given)

    def close(self) -> None:
        """Nothing more comes."""
        self.call("flush")
        self.call("close")
        self._logger = None


def scalars(
    rows: Mapping[str, Mapping[str, Sequence[Any]]],
) -> Iterator[tuple[int, dict[str, float]]]:
    """By step the numbers in ``rows`` of tables, called such as ``gradient_shift/l2/layer 05``.

    The mean is taken over units, and over the values in one cell.
    """
    for table, columns in rows.items():
        labels = [n for n, c in columns.items() if n in LABELS or (len(c) and type(c[0]) is str)]
        parts = [[LABELS.get(n, "{}").format(v) for v in columns[n]] for n in labels]
        ends = ["".join(f"/{part}" for part in row) for row in zip(*parts, strict=True)]
        points: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for name in columns.keys() - {"step", "unit", *labels}:
            for place, (step, value) in enumerate(zip(columns["step"], columns[name], strict=True)):
                end = ends[place] if ends else ""
                mean = value if type(value) is float else float(np.mean(np.asarray(value, float)))
                points[int(step)][f"{table}/{name}{end}"].append(mean)
        for step, found in points.items():
            yield step, {n: v[0] if len(v) == 1 else float(np.mean(v)) for n, v in found.items()}
