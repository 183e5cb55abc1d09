"""A document whose numbers are a bench's: its blocks are made from the JSON of `bnexp bench`.

A block stands between ``<!-- bench FILE SECTION -->`` and ``<!-- end -->``; FILE is relative to the
document. SECTION is machine, rows, growth or trials; or machine, measurements or accuracies, where
FILE is what `scripts/precision.py` wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bnexp.errors import UserError

BLOCK = re.compile(r"(<!-- bench (\S+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, folder: Path) -> str:
    """``text`` with every block made anew; ``folder`` is the document's.

    Raises:
        UserError: a block names a file that is not a bench's, or no section.
    """

    def block(match: re.Match[str]) -> str:
        begin, file, section, end = match.groups()
        if section not in SECTIONS:
            wanted = ", ".join(SECTIONS)
            raise UserError(f"bench {file}: expected a section out of {wanted}; got '{section}'")
        try:
            found = json.loads((folder / file).read_text(encoding="utf-8"))
            made = SECTIONS[section](found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder / file}: expected what bnexp bench wrote; {error}") from error
        return f"{begin}\n{made}\n\n{end}"

    return BLOCK.sub(block, text)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(found: Mapping[str, Any]) -> str:
    has, rates = found["machine"], found.get("products_per_second", {})
    rate = " and ".join(f"{value / 1e9:.0f} in {dtype}" for dtype, value in rates.items())
    products = f" Products of large matrices run at {rate} thousand million operations per second."
    return (
        f"{has['device_name']}, {has['threads']} threads of {has['cores']} cores, "
        f"{has['platform']}, torch {has['packages']['torch']}, Python {has['python']}."
        f"{products if rates else ''}"
    )


def _amount(value: float, unit: str) -> str:
    return f"{value / 1e6:.0f} MB" if unit == "bytes" else f"{1e3 * value:.2f} ms"


def _rows(found: Mapping[str, Any]) -> str:
    wanted = [row for row in found["rows"] if row["reach"] is not None]
    reached = sum(row["reached"] for row in wanted)
    head = ("network", "what", "measured against", "ratio", "wanted", "reached", "takes")
    lines = [
        (
            row["setting"],
            row["what"],
            row["against"],
            f"{row['ratio']:.3g}",
            "" if row["reach"] is None else f"<= {row['reach']:g}",
            {True: "yes", False: "**no**", None: ""}[row["reached"]],
            _amount(row["seconds"], row["unit"]),
        )
        for row in found["rows"]
    ]
    missed = "; ".join(
        f"{row['what']} of {row['setting']}, {row['ratio']:.2f} for {row['reach']:g}"
        for row in wanted
        if not row["reached"]
    )
    said = f"{reached} of the {len(wanted)} ratios wanted are reached"
    return f"{_table(head, lines)}\n\n{said}{f'; not: {missed}' if missed else ''}."


def _growth(found: Mapping[str, Any]) -> str:
    lines, sentences = [], []
    points = found["growth"]
    for name in dict.fromkeys(point["of"] for point in points):
        mine = [point for point in points if point["of"] == name]
        first, last = mine[0], mine[-1]
        lines.append(
            (
                name,
                ", ".join(f"{point['at']:g}" for point in mine),
                ", ".join(f"{1e3 * point['seconds']:.1f}" for point in mine),
                ", ".join(f"{point['seconds'] / first['seconds']:.2f}" for point in mine),
            )
        )
        more, longer = last["at"] / first["at"], last["seconds"] / first["seconds"]
        sentences.append(f"- {name}: {more:g} times as much takes {longer:.1f} times as long.")
    head = ("how cost grows", "at", "ms", "times the first")
    return _table(head, lines) + "\n\n" + "\n".join(sentences)


def _trials(found: Mapping[str, Any]) -> str:
    head = ("network", "tried", "measured against", "ratio", "kept")
    lines = [
        (
            trial["setting"],
            trial["what"],
            trial["against"],
            f"{trial['ratio']:.2f}",
            "yes" if trial["kept"] else "no",
        )
        for trial in found["trials"]
    ]
    return _table(head, lines)


def _measurements(found: Mapping[str, Any]) -> str:
    """Each measurement a line, each norm and precision a column."""
    kinds = dict.fromkeys((row["norm"], row["precision"]) for row in found["measurements"])
    rms = {
        (row["table"], row["column"], row["norm"], row["precision"]): row["rms"]
        for row in found["measurements"]
    }
    whats = dict.fromkeys((table, column) for table, column, _, _ in rms)
    lines = [
        (f"{table}.{column}", *(f"{rms[(table, column, *kind)]:.1e}" for kind in kinds))
        for table, column in whats
    ]
    return _table(("measured", *(f"{norm}, {precision}" for norm, precision in kinds)), lines)


def _accuracies(found: Mapping[str, Any]) -> str:
    lines = [
        (
            row["norm"],
            row["precision"],
            f"{row['train_accuracy']:.3f}",
            "-" if row["test_accuracy"] is None else f"{row['test_accuracy']:.3f}",
            f"{1e3 * row['seconds_per_step']:.1f} ms",
        )
        for row in found["runs"]
    ]
    return _table(("norm", "precision", "training accuracy", "test accuracy", "a step"), lines)


SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "machine": _machine,
    "rows": _rows,
    "growth": _growth,
    "trials": _trials,
    "measurements": _measurements,
    "accuracies": _accuracies,
}
"""What a block can show, each from all that the bench found to Markdown."""
