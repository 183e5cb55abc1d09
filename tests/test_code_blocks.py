"""What README and docs tell a reader to type works."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from bnexp.cli import COMMANDS, main
from tests.commands.test_cli import QUICK, TINY
from tests.helpers import registries_restored

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)```", re.DOTALL)
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
SMALL = [*QUICK, "model.width=0.03125", "steps=2", "batch_size=4", "data=digits"]


def blocks(document: str) -> list[tuple[str, str, str]]:
    """Language, title and text of the code blocks of a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(match[1], match[2] or "", match[3]) for match in BLOCK.finditer(text)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_blocks_run(
    document: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with registries_restored(tmp_path):
        _run(document, tmp_path)
    capsys.readouterr()


def _run(document: str, folder: Path) -> None:
    if "load_runs" in str(blocks(document)):
        assert main(["train", *TINY, "out=outputs"]) == 0
        (folder / "outputs" / "quick").symlink_to(folder / "outputs")
    for language, title, text in blocks(document):
        if title:
            path = folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, document, "exec"), {})
        elif language == "bash":
            for line in text.splitlines():
                if line.startswith("bnexp "):
                    _try(shlex.split(line, comments=True)[1:])


def _try(words: list[str]) -> None:
    """Make a run with a plug-in for real, at a small size; compose others; parse the rest."""
    name, *arguments = words
    assert name in COMMANDS
    if name == "train" and any(word.startswith("plugins=") for word in arguments):
        small = [word for word in SMALL if "model=" not in str(arguments) or "width" not in word]
        assert main(["train", *arguments, *small]) == 0, words
    elif name == "train":
        assert main(["train", *arguments, "--cfg"][: None if "--help" not in words else -1]) == 0
    elif name == "reproduce":
        overrides = [word for word in arguments if "=" in word and "figures=" not in word]
        assert main(["train", *overrides, "--cfg"]) == 0, words
    else:
        command = importlib.import_module(f"bnexp.commands.{name}")
        parser = argparse.ArgumentParser(name)
        command.add_arguments(parser)
        parser.parse_args(arguments)
