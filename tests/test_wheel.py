"""The wheel works on its own: in an environment without bnexp, from another folder."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_holds_the_configs_and_the_papers_curves(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (("configs", "*.yaml"), ("bnexp", "*.py"), ("bnexp", "*.csv*")):
        found = list((ROOT / folder).rglob(pattern))
        assert found
        prefix = "bnexp/" if folder == "configs" else ""
        for path in found:
            assert f"{prefix}{path.relative_to(ROOT)}" in inside


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it, by the project's own installer."""
    home = tmp_path_factory.mktemp("wheel") / "env"
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    quiet = {"check": True, "capture_output": True}
    subprocess.run([uv, "venv", "--python", sys.executable, str(home)], **quiet)
    python = str(home / "bin" / "python")
    install = [uv, "pip", "install", "--offline", "--no-deps", "--python", python, str(wheel)]
    subprocess.run(install, **quiet)
    # The dependencies, gigabytes of them, are lent to the new environment. This checkout's bnexp
    # is not: the .pth file of an editable install is not read in a folder that is on the path so.
    packages = next((home / "lib").glob("python*/site-packages"))
    (packages / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home


def test_an_installed_wheel_trains_from_another_folder(installed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where ü"
    elsewhere.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    tiny = ["model=vgg11", "model.width=0.05", "batch_size=8", "steps=2", "progress=false"]
    done = subprocess.run(
        [str(installed / "bin" / "bnexp"), "train", *tiny, "probes=every"],
        cwd=elsewhere,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = elsewhere / done.stdout.splitlines()[-1]
    assert yaml.safe_load((run / "config.yaml").read_text())["steps"] == 2
    assert {p.name for p in (run / "tables").iterdir()} >= {"train", "eval", "landscape"}
    where = subprocess.run(
        [str(installed / "bin" / "python"), "-c", "import bnexp; print(bnexp.__file__)"],
        cwd=elsewhere,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed)), "the wheel's bnexp ran, not the checkout's"


def test_the_wheel_asks_for_every_package_that_bnexp_imports(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    asked = {
        re.split(r"[^A-Za-z0-9_-]", line.removeprefix("Requires-Dist: "))[0].replace("-", "_")
        for line in lines
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    }
    named = {"PIL": "pillow", "sklearn": "scikit_learn", "yaml": "pyyaml", "hydra": "hydra_core"}
    imported = set()
    for path in (ROOT / "bnexp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    outside = imported - set(sys.stdlib_module_names) - {"bnexp"}
    assert {named.get(name, name) for name in outside} <= asked
