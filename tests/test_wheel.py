"""The wheel works on its own: in an environment without bnexp, from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
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


def test_an_installed_wheel_trains_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    packages = next((home / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(packages)
    # bnexp's dependencies are lent to the new environment; this checkout's bnexp is not, because
    # the .pth file of an editable install is not read in a folder that is on the path this way.
    (packages / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    elsewhere = tmp_path / "else where ü"
    elsewhere.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    tiny = ["model=vgg11", "model.width=0.05", "batch_size=8", "steps=2", "progress=false"]
    done = subprocess.run(
        [str(python), "-m", "bnexp.cli", "train", *tiny, "probes=every"],
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
        [str(python), "-c", "import bnexp; print(bnexp.__file__)"],
        cwd=elsewhere,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(home)), "the wheel's bnexp ran, not the checkout's"
