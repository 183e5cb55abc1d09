"""The wheel works on its own: in an environment without bnexp, from another folder."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_holds_the_configs_and_the_papers_curves(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("bnexp", "*.py"), ("bnexp", "*.csv*"), ("bnexp/report", "*.[hjc]*[!c]")
    for folder, pattern in (("configs", "*.yaml"), *kinds):
        found = list((ROOT / folder).rglob(pattern))
        assert found
        prefix = "bnexp/" if folder == "configs" else ""
        for path in found:
            assert f"{prefix}{path.relative_to(ROOT)}" in inside
    assert "bnexp/CITATION.cff" in inside


def test_an_installed_wheel_trains_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Unpacked as an installer does; the dependencies are those of this environment."""
    packages, elsewhere = tmp_path / "packages", tmp_path / "else where ü"
    zipfile.ZipFile(wheel).extractall(packages)
    elsewhere.mkdir()
    (entry,) = packages.glob("*.dist-info/entry_points.txt")
    assert "bnexp = bnexp.cli:main" in entry.read_text()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    code = "import sys, bnexp.cli; print(bnexp.__file__); sys.exit(bnexp.cli.main(sys.argv[1:]))"
    tiny = ["model.depth=11", "model.width=0.05", "batch_size=8", "steps=1", "progress=false"]
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "model=vgg", *tiny, "probes=every"],
        cwd=elsewhere,
        env={**clean, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, run = done.stdout.splitlines()
    assert where.startswith(str(packages)), "the wheel's bnexp ran, not the checkout's"
    assert yaml.safe_load((elsewhere / run / "config.yaml").read_text())["steps"] == 1
    tables = {path.name for path in (elsewhere / run / "tables").iterdir()}
    assert tables >= {"train", "eval", "landscape"}


def test_the_wheel_asks_for_every_package_that_bnexp_imports(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    asked = {
        re.split(r"[^A-Za-z0-9_-]", line.removeprefix("Requires-Dist: "))[0].replace("-", "_")
        for line in lines
        if line.startswith("Requires-Dist: ") and not line.endswith(("'dev'", "'docs'"))
    }
    named = {"PIL": "pillow", "sklearn": "scikit_learn", "yaml": "pyyaml", "hydra": "hydra_core"}
    named |= {"markupsafe": "jinja2", "mlflow": "mlflow_skinny"}
    imported = set()
    for path in (ROOT / "bnexp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    outside = imported - set(sys.stdlib_module_names) - {"bnexp"}
    assert {named.get(name, name) for name in outside} <= asked
