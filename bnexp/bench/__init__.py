"""How fast it is, as ratios measured side by side in one process: ``bnexp bench``."""

from bnexp.bench.comparisons import Row, growth, help_seconds, ratios
from bnexp.bench.document import filled
from bnexp.bench.machine import machine, product_rate
from bnexp.bench.more import memory, tables
from bnexp.bench.seeds import many_seeds
from bnexp.bench.tried import trials

__all__ = [
    "Row",
    "filled",
    "growth",
    "help_seconds",
    "machine",
    "many_seeds",
    "memory",
    "product_rate",
    "ratios",
    "tables",
    "trials",
]
