"""The architecture: which room may import which, what calls what, and how long it all may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bnexp"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

BASE = {"errors", "registry", "seeds"}
MAY_IMPORT = {
    "errors": set(),
    "seeds": set(),
    "registry": {"errors"},
    # the side that trains
    "norms": BASE,
    "models": BASE | {"objective", "norms"},
    "objective": set(),
    "data": BASE,
    "theory": BASE | {"objective", "models", "norms"},
    "probes": BASE | {"theory", "objective", "models", "norms"},
    "optim": BASE,
    "config": BASE,
    "measuring": BASE | {"config", "models", "objective", "probes"},
    "watching": BASE | {"measuring", "models", "probes", "runs", "training"},
    "loggers": BASE | {"runs"},
    "training": BASE
    | {"config", "runs", "loggers", "data", "norms", "models", "objective", "optim", "probes"},
    # the side that reads run directories
    "runs": {"errors"},
    "analysis": {"runs", "errors", "registry"},
    "figures": {"analysis", "runs", "errors", "registry"},
    "claims": {"analysis", "runs", "errors", "registry"},
    "report": {"claims", "figures", "analysis", "runs", "errors", "registry"},
}
"""commands -> training -> probes -> (theory ->) models -> objective, norms;
report -> claims, figures -> analysis -> runs. cli and commands may import everything."""

READING = ("runs", "analysis", "figures", "claims", "report")


def room(path: Path) -> str:
    """The first folder or file below the package that ``path`` lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules that the file at ``path`` imports, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def lines(paths: list[Path]) -> int:
    return sum(len(path.read_text().splitlines()) for path in paths)


def test_imports_run_one_way() -> None:
    wrong = []
    for path in FILES:
        here = room(path)
        if here in ("cli", "commands", "__init__"):
            continue
        for name in imported(path):
            there = name.split(".")[1] if name.startswith("bnexp.") else here
            if there not in MAY_IMPORT[here] | {here, "__version__"}:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_what_reads_runs_imports_no_torch() -> None:
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module('bnexp.{name}')\n" for name in READING)
    code += "from bnexp.registry import CLAIMS, FIGURES\nCLAIMS.names(), FIGURES.names()\n"
    code += "print(*{name.split('.')[0] for name in sys.modules if name.startswith('torch')})\n"
    code += "print(*[name for name in sys.modules if name.startswith('bnexp.training')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_registry_imports_neither_torch_nor_matplotlib() -> None:
    code = "import bnexp.registry, sys; print({'torch', 'matplotlib'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_one_place_calls_autograd() -> None:
    calls = re.compile(r"autograd\.grad\(|\.backward\(|torch\.func\.(grad|hessian|jvp|vjp|jac)")
    callers = {str(p.relative_to(PACKAGE)) for p in FILES if calls.search(p.read_text())}
    # growth differentiates by the activations of random networks, not by parameters
    assert callers <= {"objective.py", "theory/growth.py"}


def test_nothing_imports_hydras_internals() -> None:
    users = [path for path in FILES if any("_internal" in name for name in imported(path))]
    assert not users


def test_every_built_in_name_has_its_yaml() -> None:
    from bnexp.registry import DATASETS, LOGGERS, MODELS, NORMS, OPTIMISERS

    for group, names in {
        "norm": NORMS,
        "model": MODELS,
        "data": DATASETS,
        "logger": LOGGERS,
        "optim": OPTIMISERS,
    }.items():
        there = {path.stem for path in (ROOT / "configs" / group).glob("*.yaml")}
        assert set(names.names()) <= there, group


def test_no_file_is_over_400_lines() -> None:
    assert [str(path) for path in FILES if lines([path]) > 400] == []


@pytest.mark.xfail(max(lines([path]) for path in TESTS) > 400, reason="to be split", strict=True)
def test_no_file_of_tests_is_over_400_lines() -> None:
    assert [str(path) for path in TESTS if lines([path]) > 400] == []


@pytest.mark.xfail(lines(FILES) > 10_000, reason="the package is still too long", strict=True)
def test_the_package_has_at_most_10_000_lines() -> None:
    assert lines(FILES) <= 10_000


def test_tests_have_fewer_lines_than_the_package() -> None:
    assert lines(TESTS) < lines(FILES)
