"""Code that makes a run's numbers names the run; comments, figures and libraries do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bnexp.runs import code_hash
from bnexp.runs.identity import _file, _is_library, _parse

PLUGIN = '''
"""A norm."""
import math

import numpy
from my_helper import scale


def norm(x: float, eps: float = 1e-5) -> float:
    """Divide."""
    # by the root
    return x / math.sqrt(scale * x + eps)
'''
HELPER = "from __future__ import annotations\nscale = 2\n"

FRESH = """
import sys
sys.path.insert(0, sys.argv[1])
from bnexp.runs import code_hash
print(code_hash(sys.argv[2:]))
print(*[name for name in sys.modules if name.startswith(("torch", "my_")) or "bnexp.tr" in name])
"""


def fresh(folder: Path, *modules: str) -> str:
    """The hash in a process of its own, in which nothing was imported for it."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder), *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    digest, imported = done.stdout.split("\n")[:2]
    assert imported == ""
    return digest


def plugin(folder: Path, text: str = PLUGIN, helper: str = HELPER) -> str:
    """The hash of a user's own module in ``folder``, which imports one beside it."""
    folder.mkdir()
    (folder / "my_norm.py").write_text(text)
    (folder / "my_helper.py").write_text(helper)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr("bnexp.runs.identity._file", _file.__wrapped__)
        patch.setattr("bnexp.runs.identity._is_library", _is_library.__wrapped__)
        return code_hash(["my_norm"])


def test_nothing_is_imported_and_every_process_gets_the_same(tmp_path: Path) -> None:
    assert fresh(tmp_path, "bnexp.training.run") == code_hash(["bnexp.training.run"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A norm."""', '"""Another\n\ntext."""'),
        ("# by the root", "# as the paper says\n"),
        ('    """Divide."""\n', ""),
        ("import math\n\nimport numpy\n", "import math\n\n\nimport numpy\n"),
        ("x: float, eps: float = 1e-5) -> float", "x, eps=0.00001)"),
        ("x / math.sqrt(scale * x + eps)", "(x / math.sqrt((scale * x) + eps))"),
    ],
)
def test_what_changes_no_number_changes_no_hash(tmp_path: Path, old: str, new: str) -> None:
    assert old in PLUGIN
    assert plugin(tmp_path / "a") == plugin(tmp_path / "b", PLUGIN.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("1e-5", "1e-6"), ("x /", "x *"), ("scale * x", "x * scale"), ("math.sqrt", "math.cbrt")],
)
def test_what_may_change_a_number_changes_the_hash(tmp_path: Path, old: str, new: str) -> None:
    assert old in PLUGIN
    assert plugin(tmp_path / "a") != plugin(tmp_path / "b", PLUGIN.replace(old, new))


def test_what_is_imported_counts(tmp_path: Path) -> None:
    assert plugin(tmp_path / "a") != plugin(tmp_path / "b", helper=HELPER.replace("2", "3"))


def test_the_rooms_that_only_look_at_runs_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def parse(name: str, file: Path) -> tuple[str, frozenset[str]]:
        parsed.append(name)
        return _parse(name, file)

    monkeypatch.setattr("bnexp.runs.identity._parse", parse)
    code_hash(["bnexp.training.run", "bnexp.figures.panel"])
    rooms = {name.split(".")[1] for name in parsed if "." in name}
    assert {"training", "models", "norms", "probes", "objective", "seeds"} <= rooms
    assert not rooms & {"commands", "figures", "claims", "analysis", "report", "runs", "cli"}
    assert {name.partition(".")[0] for name in parsed} == {"bnexp"}
