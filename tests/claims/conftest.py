"""A world to put runs into."""

import pytest

from tests.claims.worlds import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)
