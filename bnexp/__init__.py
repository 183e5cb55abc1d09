"""bnexp: what batch normalisation does to optimisation, by measurement."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnexp.measuring import measure
    from bnexp.watching import watch

__version__ = "0.1.0"
__all__ = ["__version__", "measure", "watch"]


def __getattr__(name: str) -> Any:
    """`measure` and `watch`, imported when they are first asked for: they import torch."""
    homes = {"measure": "bnexp.measuring", "watch": "bnexp.watching"}
    if name not in homes:
        raise AttributeError(f"module 'bnexp' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(homes[name]), name)
