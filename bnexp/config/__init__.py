"""Configs: composing them with Hydra, checking them, and the recipes of the figures."""

from bnexp.config.check import Choice, Config, check
from bnexp.config.compose import compose, config_dir
from bnexp.config.expand import expand

__all__ = ["Choice", "Config", "check", "compose", "config_dir", "expand"]
