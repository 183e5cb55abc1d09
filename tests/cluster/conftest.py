"""Tests that need minutes, or more than this project installs, are run when they are asked for."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "cluster" not in config.option.markexpr:
        skip = pytest.mark.skip(reason="to run it: pytest -n 0 -m cluster tests/cluster")
        for item in items:
            if "cluster" in item.keywords and item.get_closest_marker("cluster"):
                item.add_marker(skip)
