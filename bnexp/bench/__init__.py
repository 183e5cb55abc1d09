"""How fast it is, as ratios measured side by side in one process: ``bnexp bench``."""

from bnexp.bench.comparisons import Row, growth, help_seconds, ratios
from bnexp.bench.machine import machine, product_rate

__all__ = ["Row", "growth", "help_seconds", "machine", "product_rate", "ratios"]
