"""What a run's numbers were made with: versions, device, threads, revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("bnexp", "torchvision", "numpy", "hydra-core", "pandas", "pyarrow")


def environment(device: torch.device, fingerprint: str) -> dict[str, Any]:
    """What ``env.json`` keeps; ``fingerprint`` is that of the data."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {**{name: _version(name) for name in PACKAGES}, "torch": torch.__version__},
        "device": str(device),
        "device_name": _device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "data_fingerprint": fingerprint,
        **_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _revision() -> dict[str, Any]:
    """The revision of the checkout that bnexp runs from, and whether files differ from it."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return {"git_revision": None, "git_dirty": None}
    try:
        revision = _git(here, "rev-parse", "HEAD")
        dirty = bool(_git(here, "status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return {"git_revision": None, "git_dirty": None}
    return {"git_revision": revision, "git_dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
