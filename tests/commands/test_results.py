"""The committed results: nothing in them names the machine or the folders that made them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bnexp.runs import find_runs

ROOT = Path(__file__).resolve().parents[2]
SETS = sorted(path.parent for path in (ROOT / "results").glob("*/runs"))


@pytest.mark.parametrize("folder", SETS, ids=lambda path: path.name)
def test_no_absolute_path_is_in_a_committed_run(folder: Path) -> None:
    runs = find_runs(folder)
    assert runs
    for run in runs:
        for path in (*run.path.glob("*.yaml"), *run.path.glob("*.json")):
            assert re.search(r"[ \"'](/[\w.-]+){2,}", path.read_text()) is None, path
