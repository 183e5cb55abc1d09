"""What a claim is: a row of fields, entered in the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.select import Need, needs
from bnexp.claims.compare import COMPARISONS, Comparison, Term
from bnexp.claims.source import QUANTITIES
from bnexp.claims.statistics import Region
from bnexp.errors import UserError
from bnexp.registry import CLAIMS

TABLE = Path(__file__).parent / "claims.yaml"


@dataclass(frozen=True)
class Claim:
    """One statement, and what decides it.

    Attributes:
        id: the number of the paper's claim, and its number within; E for claims past the paper.
        statement: what is claimed, one sentence.
        short: the same in a few words, for figures.
        criterion: what must be for it to hold, written before any result was seen.
        source: where the paper says it.
        statistic, unit: the number that is compared, in words, and its unit.
        compare: how it is made of a part's terms.
        region: the range that the number lies in if the statement holds.
        parts: the terms by the part's name; all parts must lie in the region.
        family: the networks it is about.
        recipe: the recipe that makes the runs.
        baseline: the normalisation of the runs that the others are compared with; "" for none.
            Where these stay at chance or diverge there is nothing to compare with.
        direction, least_eta: of the landscape, as `bnexp.analysis.select.Need` has them.
        also: quantities that ``compare`` reads beside those of the terms.
        note: what to know when the paper's number is compared with ours.
    """

    id: str
    statement: str
    short: str
    criterion: str
    source: str
    statistic: str
    compare: Comparison
    region: Region
    parts: Mapping[str, tuple[Term, ...]]
    family: str
    recipe: str
    unit: str = "decades"
    baseline: str = ""
    direction: str = "gradient"
    least_eta: float = math.inf
    also: Sequence[str] = ()
    note: str = ""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The runs it is decided from, one of each per seed."""
        tables: dict[tuple[str, float], dict[str, str]] = {}
        for term in (term for terms in self.parts.values() for term in terms):
            names = (QUANTITIES[name].table for name in (term.quantity, *self.also))
            tables.setdefault((term.norm, term.lr), {}).update(dict.fromkeys(names, ""))
        return tuple(
            need
            for (norm, lr), wanted in tables.items()
            for need in needs(
                self.recipe, self.family, (norm,), (lr,), wanted, self.direction, self.least_eta
            )
        )

    @property
    def plotted(self) -> bool:
        """Whether the paper may have curves of it: it has none along random directions."""
        return self.direction == "gradient" and self.family in EXPERIMENTS


def register(claim: Claim) -> Claim:
    """Enter ``claim`` among the CLAIMS of `bnexp.registry`; a user's own likewise.

    Raises:
        UserError: another claim has its id.
    """
    if claim.id in CLAIMS and CLAIMS[claim.id].item != claim:
        raise UserError(f"claims: expected different ids; two are called '{claim.id}'")
    return CLAIMS.register(claim.id)(claim)


def all_claims() -> dict[str, Claim]:
    """Every registered claim by id: the paper's by number, those past it, then others."""

    def order(name: str) -> tuple[int, list[int], str]:
        numbers = name.removeprefix("E").split(".")
        if not all(part.isdecimal() for part in numbers):
            return 2, [], name
        return int(name[:1] == "E"), list(map(int, numbers)), name

    return {name: CLAIMS[name].item for name in sorted(CLAIMS.names(), key=order)}


def from_row(row: Mapping[str, Any]) -> Claim:
    """The claim that a row of ``claims.yaml`` describes; the comments there say how.

    Raises:
        UserError: a field is missing or unknown.
    """
    words = {k: v for k, v in row.items() if k not in ("terms", "parts", "range", "runs")}
    try:
        edges, runs = row["range"], dict(row["runs"])
        family = runs["family"]
        values = dict(row.get("parts", {}))
        if values.get("layer") == "paper":
            values["layer"] = EXPERIMENTS[family].ics_layers
        words["compare"] = COMPARISONS[words["compare"]]
        return Claim(
            **words,
            **runs,
            region=Region(edges.get("above", -math.inf), edges.get("below", math.inf)),
            parts=_parts({"lr": EXPERIMENTS[family].lr, **row["terms"]}, values),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"claim {row.get('id')}: expected the fields of Claim; {error}") from None


def _parts(
    terms: Mapping[str, Any], values: Mapping[str, Sequence[Any]]
) -> dict[str, tuple[Term, ...]]:
    """The terms of each part: of every combination of ``values``."""
    chosen: list[dict[str, Any]] = [{}]
    for name, choices in values.items():
        chosen = [{**before, name: choice} for before in chosen for choice in choices]
    return {
        ", ".join(_name(field, choice) for field, choice in part.items()): tuple(
            Term(**{field: _at(terms, part, field, i) for field in {**terms, **part}})
            for i in range(len(terms["norm"]))
        )
        for part in chosen
    }


def _at(terms: Mapping[str, Any], part: Mapping[str, Any], field: str, index: int) -> Any:
    """The value of a field of the term ``index`` in one part."""
    value = part[field] if field in part and field != "norm" else terms[field]
    value = value[index] if isinstance(value, list) else value
    return part[field] if value == "each" else value


def _name(field: str, choice: Any) -> str:
    return f"{field} {choice}" if field in ("layer", "lr") else str(choice)


for _row in yaml.safe_load(TABLE.read_text(encoding="utf-8")):
    register(from_row(_row))
