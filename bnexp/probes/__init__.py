"""The measurements of the paper, one file each.

A new one is a file here with a class under ``@register`` and its settings under ``probes`` in a
config; the training loop knows no probe by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from bnexp.config import bind
from bnexp.probes.base import PROBES, Options, Probe, Rows, Setting, Step, unknown_probe

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["PROBES", "Options", "Probe", "Rows", "Setting", "Step", "build_probes", "check_probes"]


def check_probes(probes: Mapping[str, Mapping[str, Any]], layers: int) -> dict[str, Options]:
    """The options of every probe named in the config's ``probes``.

    Args:
        layers: how many layers the network has.

    Raises:
        UserError: no probe has that name, or an option is unknown, of the wrong type or out of
            range.
    """
    checked = {}
    for name, given in probes.items():
        if name not in PROBES:
            raise unknown_probe(name)
        options = bind(PROBES[name].options, given, f"probes.{name}")
        options.check(name, layers)
        checked[name] = options
    return checked


def build_probes(probes: Mapping[str, Mapping[str, Any]], setting: Setting) -> list[Probe]:
    """The probes that the config's ``probes`` name.

    Raises:
        UserError: as ``check_probes``, or a unit that the network lacks.
    """
    checked = check_probes(probes, len(setting.model.layers))
    return [PROBES[name].probe(options, setting) for name, options in checked.items()]
