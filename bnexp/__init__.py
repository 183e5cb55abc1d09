"""bnexp: what batch normalisation does to optimisation, by measurement."""

__version__ = "0.1.0"
