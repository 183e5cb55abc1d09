"""The paper's theorems, checked numerically: both sides of each, on random and on real networks."""

from bnexp.theory.cases import bn_of, inputs_of, random_case, real_case
from bnexp.theory.check import TERMS, TOLERANCE, Report, check_cases, layer_terms
from bnexp.theory.growth import SETTINGS, growth
from bnexp.theory.setting import Case, Point, Unit
from bnexp.theory.theorems import STATEMENTS, TITLES, counterexample

__all__ = [
    "SETTINGS", "STATEMENTS", "TERMS", "TITLES", "TOLERANCE", "Case", "Point", "Report", "Unit",
    "bn_of", "check_cases", "counterexample", "growth", "inputs_of", "layer_terms", "random_case",
    "real_case",
]  # fmt: skip
