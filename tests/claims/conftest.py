"""A world to put runs into."""

from __future__ import annotations

import pytest

from tests.claims.worlds import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """No runs yet."""
    return World(monkeypatch)
