"""The layout of a run directory, the only thing that training hands to figures and claims."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bnexp.errors import UserError
from bnexp.runs.files import (
    TEMPORARY_SUFFIX,
    as_yaml,
    plain,
    read_json,
    read_text,
    write_atomic,
    write_json,
)
from bnexp.runs.lock import Lease, is_held
from bnexp.runs.tables import missing

_SEAL = "# SHA-256 of what follows: "
_STATES = ("running", "done", "diverged", "failed")
_STATUS = {"state": str, "step": int, "steps": int, "seconds": dict, "tables": dict}

FINISHED = ("done", "diverged")
"""The states of a run that has its result."""


class RunDirectory:
    """``<out>/runs/<id>/``: where each part of one run lies.

    A folder is a run directory once it has a ``config_file``, the resolved config. ``env_file``
    holds versions, device, threads and revision; ``status_file`` how far the run is and which parts
    its tables in ``tables_dir`` have; ``log_file`` what the run had to say; ``lock_file`` is there
    while a process writes the run. Every write first checks ``lease``, which `lock` gives.
    """

    def __init__(self, path: Path, lease: Lease | None = None) -> None:
        self.path, self.lease, self.id = path, lease, path.resolve().name
        self.config_file, self.env_file = path / "config.yaml", path / "env.json"
        self.status_file, self.tables_dir = path / "status.json", path / "tables"
        self.log_file, self.lock_file = path / "log.txt", path / "lock"

    def check(self) -> None:
        """Raise `RunBusy` if the run was this process's to write (see `lock`) and no longer is."""
        if self.lease is not None:
            self.lease.check()

    def create(self, config: Mapping[str, Any], env: Mapping[str, Any]) -> None:
        """Make the directory with its ``config`` and ``env``; a resumed run keeps what it has.

        Where it is resumed in another environment, that is added to ``env`` under ``resumed``.
        """
        self.check()
        if not self.env_file.exists():
            write_json(self.env_file, env)
        else:
            first = read_json(self.env_file)
            resumed = first.pop("resumed", [])
            if plain(env) != [first, *resumed][-1]:
                write_json(self.env_file, {**first, "resumed": [*resumed, env]})
        if not self.config_file.exists():
            self.write_config(config)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace the resolved config."""
        self.check()
        content = {**plain(config), "id": self.id}
        write_atomic(self.config_file, _sealed(as_yaml(content)))

    def read_config(self) -> dict[str, Any]:
        """The resolved config."""
        text = read_text(self.config_file)
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            if text.startswith(_SEAL) and text != _sealed(text.partition("\n")[2]):
                raise ValueError("SHA-256")
            # bnexp writes none, and aliases of aliases fill any memory. Each needs an anchor: "&".
            events = yaml.parse(text, loader) if "&" in text else ()
            if any(isinstance(event, yaml.AliasEvent) for event in events):
                raise ValueError("an alias")
            config = plain(yaml.load(text, loader))
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self.config_file}: expected YAML as bnexp wrote it; the file is damaged"
            ) from error
        if not isinstance(config, dict):
            raise UserError(f"{self.config_file}: expected a mapping of option groups")
        return self._mine(config, self.config_file)

    def read_status(self) -> dict[str, Any]:
        """What `write_status` wrote last; empty before the first."""
        if not self.status_file.exists():
            return {}
        status = self._mine(read_json(self.status_file), self.status_file)
        kinds_fit = all(isinstance(status.get(key, kind()), kind) for key, kind in _STATUS.items())
        if not kinds_fit or status.get("state") not in _STATES:
            raise UserError(f"{self.status_file}: expected a status as bnexp writes it")
        return status

    def write_status(self, **fields: Any) -> None:
        """Replace the status: state, step, steps, seconds, ``tables`` (the last manifest), ..."""
        self.check()
        write_json(self.status_file, {"id": self.id, **fields})

    def log(self, text: str) -> None:
        """Add an entry to the run's log."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text.rstrip()}\n")

    def problems(self) -> list[str]:
        """What is wrong with the tables by the names and sizes of their parts, in words."""
        status = self.read_status()
        ended = status.get("state") in FINISHED
        return missing(self.tables_dir, status["tables"], ended) if "tables" in status else []

    @contextmanager
    def lock(self, wait: bool = True) -> Iterator[RunDirectory]:
        """Be the run's one writer for the length of the block; gives this directory with its lease.

        What a killed writer left is removed. Raises `RunBusy` if another writes and not ``wait``.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lease = Lease(self.lock_file)
        lease.acquire(wait)
        try:
            for folder in (self.path, *self.tables_dir.glob("*/")):
                for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                    path.unlink(missing_ok=True)
            yield RunDirectory(self.path, lease)
        finally:
            lease.release()

    def is_locked(self) -> bool:
        """Whether a process is writing this run now."""
        return is_held(self.lock_file)

    def _mine(self, content: dict[str, Any], file: Path) -> dict[str, Any]:
        """``content`` less the run's id, which must be this directory's; older files have none."""
        if (of := content.pop("id", self.id)) != self.id:
            raise UserError(f"{file}: expected a file of run {self.id}; it is of run {of}")
        return content


def _sealed(text: str) -> str:
    return f"{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
