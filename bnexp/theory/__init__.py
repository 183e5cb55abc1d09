"""The paper's theorems, checked numerically: both sides of each, on random and on real networks."""

from bnexp.theory import weights as _weights  # noqa: F401  enters its theorems
from bnexp.theory.check import TOLERANCE, Finding, Report, check_cases
from bnexp.theory.counterexample import Counterexample, counterexample
from bnexp.theory.growth import Growth, growth
from bnexp.theory.random_cases import random_case, random_cases
from bnexp.theory.real_cases import bn_of, inputs_of, real_case
from bnexp.theory.setting import Case, Point, Unit
from bnexp.theory.terms import TERMS, layer_terms
from bnexp.theory.theorems import KINDS, THEOREMS, Form, Sides, Theorem

__all__ = [
    "KINDS", "TERMS", "THEOREMS", "TOLERANCE", "Case", "Counterexample", "Finding", "Form",
    "Growth", "Point", "Report", "Sides", "Theorem", "Unit", "bn_of", "check_cases",
    "counterexample", "growth", "inputs_of", "layer_terms", "random_case", "random_cases",
    "real_case",
]  # fmt: skip
