"""Configs: composing them with Hydra, checking them, and the recipes of the figures.

Nothing here imports torch: the figures ask it which runs a recipe names.
"""

from bnexp.config.check import bind, check
from bnexp.config.compose import compose, config_dir, expand, parse, resolve
from bnexp.config.schema import Config

__all__ = ["Config", "bind", "check", "compose", "config_dir", "expand", "parse", "resolve"]
