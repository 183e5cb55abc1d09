"""What is installed, which devices there are, what is missing, and whether locks hold.

Exit code 1 if something that every run needs does not hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from bnexp import __version__
from bnexp.errors import UserError

SECOND_PROCESS = """
import sys
from pathlib import Path
from bnexp.runs.lock import Lease, RunBusy
try:
    Lease(Path(sys.argv[1])).acquire(wait=False)
except RunBusy:
    sys.exit(3)
"""
"""A process that tries to take a lock which is held; it leaves with 3 where that is refused."""

Check = tuple[bool | None, str, str]
"""Whether it holds (None: there is nothing to hold), its name, what was found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp doctor``."""
    parser.add_argument("--runs", default="outputs", help="where runs are to lie (outputs)")


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp doctor``; returns the exit code."""
    checks = [*packages(), *devices(), *folder(Path(arguments.runs).expanduser())]
    for holds, name, found in checks:
        print(f"{ {True: 'ok', False: 'BAD', None: '-'}[holds]:4}{name:22}{found}")
    return int(any(holds is False for holds, *_ in checks))


def packages() -> Iterator[Check]:
    """Python, what bnexp needs, and its extras, as far as they are there."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield sys.version_info >= (3, 11), "python", found
    yield True, "bnexp", f"{__version__} in {Path(__file__).resolve().parents[1]}"
    extras: dict[str, list[str]] = {}
    for line in requires("bnexp") or []:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        only = re.search(r"extra == ['\"](\w+)", line)
        extras.setdefault(only[1] if only else "", []).append(name)
    for extra, names in extras.items():
        have = {name: _version(name) for name in names}
        missing = [name for name, number in have.items() if number is None]
        known = [f"{name} {number}" for name, number in have.items() if number is not None]
        if extra == "":
            lacking = f"missing: {', '.join(missing)}"
            yield not missing, "packages", lacking if missing else ", ".join(known)
        elif extra != "dev":
            how = f"not installed: pip install 'bnexp[{extra}]'"
            yield (
                (None if missing else True),
                f"extra {extra}",
                how if missing else ", ".join(known),
            )


def devices() -> Iterator[Check]:
    """What can be trained on."""
    import torch

    cores = len(os.sched_getaffinity(0))
    yield True, "cpu", f"{cores} cores, torch uses {torch.get_num_threads()} threads"
    count = torch.cuda.device_count()
    for number in range(count):
        yield True, f"cuda:{number}", torch.cuda.get_device_name(number)
    if not count:
        yield None, "cuda", "no device: runs are made on the CPU"
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    yield (True if compiler else None), "compile=true", compiler or "needs a C++ compiler"


def folder(path: Path) -> Iterator[Check]:
    """Whether runs can be kept in ``path``, or in the nearest folder above it that is there."""
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not there.is_dir():
        raise UserError(f"--runs: expected a folder; {there} is none")
    free = shutil.disk_usage(there).free
    yield free > 1 << 30, "disk", f"{free / 2**30:.1f} GiB free at {there}"
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".bnexp-doctor-") as scratch:
            yield True, "writable", str(there)
            yield _locks(Path(scratch))
    except OSError as error:
        yield False, "writable", f"{there}: {error.strerror}"


def _locks(scratch: Path) -> Check:
    """Whether a lock that this process holds keeps another one out."""
    from bnexp.runs.lock import Lease

    lease = Lease(scratch / "lock")
    lease.acquire(wait=False)
    try:
        command = [sys.executable, "-c", SECOND_PROCESS, str(lease.path)]
        code = subprocess.run(command, capture_output=True, check=False).returncode
        lease.check()
    finally:
        lease.release()
    return code == 3, "locks", "hold" if code == 3 else "a second process got a lock that is held"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
