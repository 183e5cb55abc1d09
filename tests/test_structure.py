"""The architecture: which package may import which, and no file too long to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bnexp"

MAY_IMPORT = {
    "errors": set(),
    "seeds": set(),
    "config": {"errors"},
    "norms": {"errors", "seeds"},
    "models": {"norms", "config", "seeds", "errors"},
    "data": {"seeds", "errors"},
    "objective": {"models"},
    "probes": {"theory", "objective", "models", "norms", "config", "seeds", "errors"},
    "runs": {"errors"},
    "training": {
        "probes",
        "objective",
        "models",
        "norms",
        "data",
        "runs",
        "config",
        "seeds",
        "errors",
    },
    "figures": {"runs", "errors"},
    "claims": {"figures", "runs", "errors"},
    "theory": {"objective", "models", "norms", "seeds", "errors", "config"},
    "bench": {"training", "probes", "objective", "models", "runs", "config", "errors"},
    "commands": {
        "training",
        "figures",
        "claims",
        "theory",
        "bench",
        "runs",
        "config",
        "errors",
    },
    "cli": {"commands", "errors"},
}
"""cli -> training -> probes -> theory -> objective -> models -> norms; claims -> figures -> runs"""


def imported(path: Path) -> set[str]:
    """The rooms of bnexp that the file at ``path`` imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "bnexp" and len(parts) > 1:
                found.add(parts[1])
    return found


def room(path: Path) -> str:
    """The first folder or file below the package that ``path`` lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        assert imported(path) == set()
        return
    others = imported(path) - {here, "__version__"}
    assert others <= MAY_IMPORT[here], f"{path} imports {others - MAY_IMPORT[here]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_one_place_calls_autograd() -> None:
    callers = {
        room(path)
        for path in FILES
        if "autograd.grad(" in path.read_text() or ".backward(" in path.read_text()
    }
    # the benchmark writes the loop that others would write, to be timed against
    assert callers == {"objective", "bench"}
