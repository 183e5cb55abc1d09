"""What the documents promise is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bnexp.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout.split()
DOCUMENTS = [ROOT / name for name in TRACKED if name.endswith(".md")] or [ROOT / "README.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    for link in links:
        if not link.startswith("https://"):
            assert (document.parent / link).exists(), link


def test_the_readme_names_only_commands_that_there_are() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^bnexp (\w+)", text, flags=re.MULTILINE))
    assert named
    assert named <= COMMANDS.keys()


def test_the_readmes_first_screen_has_a_figure_and_the_two_commands() -> None:
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:48])
    assert "![" in screen
    assert "bash scripts/reproduce.sh" in screen
    assert "bash scripts/test.sh" in screen


def test_what_is_said_of_reliability_is_tested() -> None:
    names = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reliability.md").read_text())
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) > 30
    assert [name for name in names if f"def {name}(" not in tests] == []


def test_the_reference_is_that_of_the_code() -> None:
    check = [sys.executable, str(ROOT / "scripts" / "reference.py"), "--check"]
    assert subprocess.run(check, check=False).returncode == 0, "python scripts/reference.py"
