"""What a run computes with: how this process is set up for it, and what is kept of that."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bnexp import __version__

PACKAGES = ("torchvision", "numpy", "hydra-core", "pandas", "pyarrow")


def environment(device: torch.device, fingerprint: str) -> dict[str, Any]:
    """What ``env.json`` keeps; ``fingerprint`` is that of the data."""
    packages = {name: version(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {"bnexp": __version__, **packages, "torch": torch.__version__},
        "device": str(device),
        "device_name": _device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "data_fingerprint": fingerprint,
        **_revision(),
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


@cache
def _revision() -> dict[str, Any]:
    """The revision of the checkout that bnexp runs from, and whether files differ from it.

    As it was when this process asked first: its code does not change while it runs.
    """
    here = Path(__file__).resolve().parents[2]
    command = ["git", "status", "--porcelain=v2", "--branch"]
    try:
        if not (here / ".git").exists():
            raise FileNotFoundError
        done = subprocess.run(
            command, cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return {"git_revision": None, "git_dirty": None}
    lines = done.stdout.splitlines()
    revision = lines[0].removeprefix("# branch.oid ")
    return {"git_revision": revision, "git_dirty": not all(line[0] == "#" for line in lines)}


def set_up_cuda(*, tf32: bool, deterministic: bool) -> None:
    """float32 in full precision unless ``tf32``; if asked, only kernels that repeat themselves.

    For the whole process. TensorFloat-32 rounds the factors of a product to 10 bits.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB that it freed for the next step; glibc only.

    By default large blocks go back to the system, which clears each page of them again in the next
    pass. That takes longer than many of the kernels that then write there.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option in (-1, -3):  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
            libc.mallopt(option, 1 << 30)
