"""What a claim is: a row of fields, entered in the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.select import Need
from bnexp.claims.compare import COMPARISONS, QUANTITIES, Comparison, Term
from bnexp.claims.statistics import Region
from bnexp.errors import UserError
from bnexp.registry import CLAIMS


@dataclass(frozen=True)
class Claim:
    """One statement, and what decides it.

    ``id`` is the number of the paper's claim and its number within, E for claims past the paper;
    ``criterion`` what must be for it to hold, written before any result was seen; ``source`` where
    the paper says it; ``statistic`` and ``unit`` the number that is compared, in words, which
    ``compare`` makes of the terms of each of the ``parts``: all must lie in the ``region``.
    ``family`` and ``recipe`` are the networks and the recipe, or recipes, of the runs. Where those
    of the norm ``baseline`` stay at chance or diverge there is nothing to compare with; "" for
    none. An ``optional`` claim is listed where it has numbers. ``direction`` and ``least_eta`` are
    as in `bnexp.analysis.select.Need`; ``note`` is what to know when the paper's number is compared
    with ours.
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
    optional: bool = False
    direction: str = "gradient"
    least_eta: float = math.inf
    note: str = ""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The runs it is decided from, one of each per seed."""
        terms = [term for terms in self.parts.values() for term in terms]
        kinds = dict.fromkeys((t.norm, t.lr, QUANTITIES[t.quantity].table, t.where) for t in terms)
        along = self.direction, self.least_eta
        return tuple(
            Need(self.recipe, self.family, norm, lr, table, *along, where=where)
            for norm, lr, table, where in kinds
        )


def register(claim: Claim) -> Claim:
    """Enter ``claim`` among the CLAIMS of `bnexp.registry`; a user's own likewise.

    Raises:
        UserError: another claim has its id.
    """
    if claim.id in CLAIMS and CLAIMS[claim.id].item != claim:
        raise UserError(f"claims: expected different ids; two are called '{claim.id}'")
    return CLAIMS.register(claim.id)(claim)


def all_claims() -> dict[str, Claim]:
    """Every registered claim by id: those of ``claims.yaml`` in its order, then a user's own."""
    return {name: CLAIMS[name].item for name in CLAIMS.names()}


def from_row(row: Mapping[str, Any]) -> Claim:
    """The claim that a row of ``claims.yaml`` describes; the comments there say how.

    Raises:
        UserError: a field is missing or unknown.
    """
    words = {k: v for k, v in row.items() if k not in ("terms", "parts", "range", "runs")}
    try:
        experiment, edges = EXPERIMENTS[row["runs"]["family"]], row["range"]
        values = dict(row.get("parts", {}))
        if values.get("layer") == "paper":
            values["layer"] = experiment.ics_layers
        words["compare"] = COMPARISONS[words["compare"]]
        return Claim(
            **words,
            **row["runs"],
            region=Region(edges.get("above", -math.inf), edges.get("below", math.inf)),
            parts=_parts({"lr": experiment.lr, **row["terms"]}, values),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"claim {row.get('id')}: expected the fields of Claim; {error}") from None


def _parts(
    terms: Mapping[str, Any], values: Mapping[str, Sequence[Any]]
) -> dict[str, tuple[Term, ...]]:
    """The terms of each part: of every combination of ``values``."""
    parts = {}
    for choice in product(*values.values()):
        part = dict(zip(values, choice, strict=True))
        fields = {**terms, **part, "norm": terms["norm"]}
        rows = []
        for index in range(len(terms["norm"])):
            mine = {k: v[index] if isinstance(v, list) else v for k, v in fields.items()}
            mine = {k: part[k] if v == "each" else v for k, v in mine.items()}
            where = tuple(mine.pop("where", {}).items())
            rows.append(Term(**mine, where=where))
        named = part | part.pop("where", {})
        words = [str(v) if k in ("norm", "span") else f"{k} {v}" for k, v in named.items()]
        parts[", ".join(words)] = tuple(rows)
    return parts


for _file in sorted(Path(__file__).parent.glob("claims*.yaml")):
    for _row in yaml.safe_load(_file.read_text(encoding="utf-8")):
        register(from_row(_row))
