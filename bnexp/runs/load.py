"""Finished and unfinished runs, as figures and claims see them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bnexp.errors import MARKUP, UserError
from bnexp.runs.directory import RunDirectory
from bnexp.runs.identity import NEUTRAL, canonical, model_name
from bnexp.runs.tables import parts_in, read_table

NOISE = {"n_mu", "n_sigma", "r_mu", "r_sigma"}
"""Options that every norm had in version 0.1, and that only noisy ones use."""
FRONT = ("run", "model", "norm", "lr", "seed", "width", "data")
"""What stands in front of tables that are joined with the settings of their runs."""
LATER = ("compile", "tf32")
"""Switches that came after version 0.1: off is what runs did before."""


@dataclass(frozen=True)
class Run:
    """One run directory as it was when it was found; its tables are read when asked for.

    ``config`` is in the present spelling, whichever version wrote it. ``model`` is the model's name
    with its depth (``vgg16``), ``family`` that without (``vgg``); ``width`` a multiple of the
    paper's, NaN where it has none; ``data`` what to call the data when speaking to people;
    ``code`` the characters of its id that name the code that made it, "" in old ids; ``memory``
    what was computed from the tables, for who looks at the run again.
    """

    path: Path
    id: str
    config: dict[str, Any] = field(compare=False, repr=False)
    status: dict[str, Any] = field(compare=False, repr=False)
    _tables: dict[str, pd.DataFrame] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    memory: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)

    @property
    def model(self) -> str:
        return model_name({"model": self.option("model")})

    @property
    def family(self) -> str:
        return str(self.option("model.name"))

    @property
    def norm(self) -> str:
        return str(self.option("norm.name"))

    @property
    def lr(self) -> float:
        return self._number("optim.lr")

    @property
    def seed(self) -> int:
        return int(self._number("seed"))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed, and those of data, weights and order, which may be chosen apart from it."""
        others = (self.config.get(key) for key in ("seed_data", "seed_init", "seed_order"))
        return self.seed, *(self.seed if seed is None else int(seed) for seed in others)

    @property
    def steps(self) -> int:
        return int(self._number("steps"))

    @property
    def width(self) -> float:
        has_width = self.option("model").get("width") is not None
        return self._number("model.width") if has_width else math.nan

    @property
    def data(self) -> str:
        label = self.config.get("data", {}).get("label") or self.option("data.name")
        return "".join("?" if c in MARKUP else c for c in printable(str(label)))

    @property
    def code(self) -> str:
        return self.id[-4:] if self.id[-5:-4] == "-" else ""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the run is by `FRONT` and ``code``, then every config value by its dotted key."""
        front = {"run": self.id, **{name: getattr(self, name) for name in (*FRONT[1:], "code")}}
        return {**front, **dict(flat(self.config)), **front}

    @cached_property
    def deciding(self) -> dict[str, Any]:
        """By dotted key what decides the run's numbers, less what only some versions wrote.

        Data by their label.
        """
        keys = dict(flat(canonical(self.config)))
        keys = {key: value for key, value in keys.items() if value or key not in LATER}
        keys["data.label"] = self.data
        law = str(keys.get("data.A"))
        for unused in {"normal": ("A_low", "A_high"), "uniform": ("A_std",)}.get(law, ()):
            keys.pop(f"data.{unused}", None)
        return keys

    @property
    def state(self) -> str:
        """``running``, ``done``, ``diverged``, ``failed``, ``interrupted`` or ``damaged``.

        Interrupted is what no process writes; damaged what has `problems`.
        """
        state = str(self.status.get("state", "running"))
        if state == "running" and not self.directory.is_locked():
            # It may have ended between being found and now.
            state = str(self.directory.read_status().get("state", "running"))
            state = "interrupted" if state == "running" else state
        return "damaged" if state != "running" and self.problems else state

    @cached_property
    def problems(self) -> list[str]:
        """What is wrong with the tables by the names and sizes of their parts, in words."""
        return self.directory.problems()

    def verify(self) -> list[str]:
        """All that is wrong with the tables, in words; reads every byte of them."""
        problems = self.problems
        for name in self.table_names():
            try:
                self._read(name)
            except UserError as error:
                known = any(problem.startswith(f"table {name}:") for problem in problems)
                problems += [] if known else [str(error)]
        return problems

    def option(self, key: str) -> Any:
        """The value of the dotted config ``key``; a missing one is a `UserError` naming it."""
        value: Any = self.config
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                raise UserError(f"{self.directory.config_file}: {key} is missing")
            value = value[name]
        return value

    def _number(self, key: str) -> float:
        value = self.option(key)
        if not isinstance(value, int | float) or not math.isfinite(value):
            file = self.directory.config_file
            raise UserError(f"{file}: {key}: expected a number; got {value!r}")
        return value

    def table_names(self) -> list[str]:
        """The tables that have rows, by name."""
        manifest = self.status.get("tables") or parts_in(self.directory.tables_dir)
        return sorted(name for name, parts in manifest.items() if parts)

    def columns(self, name: str) -> list[str]:
        """The columns of table ``name``; none when there is no such table."""
        if (key := ("columns", name)) not in self.memory:
            self.memory[key] = [str(column) for column in self._read(name).columns]
        return list(self.memory[key])

    def table(
        self, name: str, columns: Collection[str] | None = None, **where: Any
    ) -> pd.DataFrame:
        """Table ``name`` by step, the caller's to change; an empty frame when there is none.

        ``columns`` (all if None) come in their order; ``where`` gives by column the value or values
        that rows must have to be read.
        """
        if columns is not None or where:
            return self._read(name, columns, **where)
        if name not in self._tables:
            self._tables[name] = self._read(name)
        return self._tables[name].copy()

    def _read(self, name: str, columns: Any = None, **where: Any) -> pd.DataFrame:
        folder, manifest = self.directory.tables_dir, self.status.get("tables")
        try:
            return read_table(folder, name, manifest, columns, **where)
        except UserError:
            # It may have been resumed from an earlier checkpoint since it was found.
            if (now := self.directory.read_status().get("tables")) == manifest:
                raise
            return read_table(folder, name, now, columns, **where)


def find_runs(root: str | Path) -> list[Run]:
    """The runs in ``root``, sorted by id. Folders of other tools are passed over.

    ``root`` is the folder that holds ``runs/``, ``runs/`` itself, or one run directory.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: expected a folder of runs; there is none")
    if RunDirectory(root).config_file.is_file():
        return [_load(RunDirectory(root))]
    folder = root / "runs" if (root / "runs").is_dir() else root
    directories = map(RunDirectory, sorted(folder.iterdir()))
    return [_load(directory) for directory in directories if _is_run(directory)]


def folders_of_runs(root: str | Path) -> list[Path]:
    """The folders right below ``root`` that hold runs of their own, as presets' folders do."""
    return sorted(path.parent for path in Path(root).glob("*/runs") if find_runs(path))


def _is_run(directory: RunDirectory) -> bool:
    """Whether a run is there. Other tools, too, have folders with a ``config.yaml``.

    Those that are being removed have hidden names.
    """
    if directory.path.name.startswith("."):
        return False
    others = (directory.env_file, directory.status_file, directory.tables_dir)
    return directory.config_file.is_file() and any(path.exists() for path in others)


def _load(directory: RunDirectory) -> Run:
    """The run in ``directory``, with a config of version 0.1 in the present spelling."""
    config = directory.read_config()
    for key in ("model", "norm", "data", "optim", "probes"):
        if not isinstance(config.setdefault(key, {}), dict):
            raise UserError(f"{directory.config_file}: {key}: expected a mapping of options")
    model, norm, data = config["model"], config["norm"], config["data"]
    for section, gone in ((model, "family"), (config, "together"), (config, "cuda_graphs")):
        section.pop(gone, None)
    if match := re.fullmatch(r"vgg(\d+)", str(model.get("name"))):
        model |= {"name": "vgg", "depth": int(match[1])}
    if norm.get("name") not in ("noisy_bn", "noise_only"):
        config["norm"] = {key: value for key, value in norm.items() if key not in NOISE}
    if data.get("name") == "gaussian":
        data.setdefault("A", "normal")
    return Run(directory.path, directory.id, config, directory.read_status())


def scale(run: Run) -> dict[str, Any]:
    """What two runs must share to be drawn together, by dotted key: what decides their numbers.

    Less what figures vary: norm, lr, seeds.
    """
    varied = ("norm.", "seed", "optim.lr")
    return {key: value for key, value in run.deciding.items() if not key.startswith(varied)}


def differing(runs: Sequence[Run], probes: Collection[str] = ()) -> dict[str, list[Any]]:
    """The settings that decide numbers in which ``runs`` differ, by dotted key: each value once.

    Less what follows from the model, of the norm's and data's options what their names say, of the
    seeds what ``seed`` says. Of the probes only ``probes`` count: others change no number.
    """
    keys = dict.fromkeys(key for run in runs for key in run.deciding)
    its = {key: [run.deciding.get(key, NEUTRAL.get(key)) for run in runs] for key in keys}
    texts = {key: [*map(written, values)] for key, values in its.items()}
    models = [run.model for run in runs]

    def told(key: str) -> bool:
        group = key.split(".")[0]
        name = {"norm": "norm.name", "data": "data.label"}.get(group, "seed" * ("seed" in key))
        names = [*zip(models, texts[name], strict=True)] if name in texts else models
        follows = len({*zip(names, texts[key], strict=True)}) == len({*names})
        return follows and key not in ("model.name", "norm.name", "data.label", "seed")

    return {
        key: list(dict(zip(texts[key], values, strict=True)).values())
        for key, values in its.items()
        if len({*texts[key]}) > 1
        and (key.split(".")[0] != "probes" or key.split(".")[1] in probes)
        and not told(key)
    }


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of ``config`` by dotted key."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def written(value: Any) -> str:
    """A config value as it is written on the command line, on one line of printable characters."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    short = isinstance(value, float) and float(f"{value:g}") == value
    return f"{value:g}" if short else printable(str(value))


def order(value: Any) -> tuple[bool, float, str]:
    """To sort by: numbers, or texts that are numbers, before other texts."""
    try:
        return False, float(value), ""
    except (TypeError, ValueError):
        return True, 0.0, written(value)


def printable(text: str) -> str:
    """``text`` on one line, ``?`` for what would move a terminal's cursor or reverse its order."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def describe(run: Run) -> str:
    """A run's `scale` for people, such as ``VGG-16 ×1/8, digits, batch 128, 400 steps``."""
    model, size = run.config["model"], run.option("batch_size")
    plain = " without skips" if model.get("skip") is False else ""
    blocks = "-".join(map(str, model.get("blocks") or ()))
    name = {
        "vgg": f"VGG-{model.get('depth')}",
        "resnet": f"ResNet-{model.get('depth')}{plain}",
        "densenet": f"DenseNet-BC {blocks}, growth {model.get('growth')}",
        "mlp": f"MLP-{model.get('depth')}",
        "dln": f"DLN {model.get('k')}×{model.get('d')}",
    }.get(run.family, run.model)
    if not (math.isnan(run.width) or run.width == 1):  # the paper's own needs no words
        fraction = Fraction(run.width).limit_denominator(64)
        name += f" ×{fraction if float(fraction) == run.width else run.width}"
    if (init := model.get("init", "glorot_uniform")) != "glorot_uniform":
        name += f" ({init})"
    batch = "full batch" if size is None else f"batch {size:,}"
    return f"{name}, {run.data}, {batch}, {run.steps:,} steps"
