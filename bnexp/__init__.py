"""bnexp: what batch normalisation does to optimisation, by measurement."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnexp.measuring import measure

__version__ = "0.1.0"
__all__ = ["__version__", "measure"]


def __getattr__(name: str) -> Any:
    """`measure`, imported when it is first asked for: it imports torch."""
    homes = {"measure": "bnexp.measuring"}
    if name not in homes:
        raise AttributeError(f"module 'bnexp' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(homes[name]), name)
