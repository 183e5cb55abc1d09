"""Make docs/reference.md from the configs and the code: python scripts/reference.py

Every command, config key and column stands there, as it stands in the code.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reference.md"
GROUPS = {
    "preset": "sizes and schedules",
    "model": "networks",
    "norm": "normalisations",
    "data": "data sets",
    "optim": "optimisers",
    "probes": "sets of measurements",
    "logger": "where live numbers go",
    "experiment": "recipes: the runs of a figure",
    "hydra/launcher": "what makes the runs of a sweep",
}


def reference() -> str:
    """The text of the reference."""
    from bnexp.cli import COMMANDS
    from bnexp.registry import PROBES

    parts = [
        "# Reference",
        "Made by `python scripts/reference.py` from the code; a test holds it.",
        "## Commands",
        "`bnexp COMMAND --help` lists the options of each.",
        table(["command", "does"], [[f"`bnexp {n}`", does] for n, does in COMMANDS.items()]),
        "## Tables",
        "One row per step, and layer, unit or eta where there are such columns. `load_runs` joins "
        "them with every setting of the run. The probe that records each is named beside it.",
    ]
    for name in PROBES.names():
        for title, columns in PROBES[name].item.tables.items():
            parts += [
                f"### {title}",
                f"`probes.{name}`",
                table(["column", "holds"], [[f"`{n}`", words] for n, words in columns.items()]),
            ]
    parts += ["## Settings", "`KEY=VALUE` on the command line. These are in no group:"]
    parts += [fenced(ROOT / "configs" / "train.yaml")]
    for group, words in GROUPS.items():
        files = sorted((ROOT / "configs" / group).glob("*.yaml"))
        parts += [f"### {group}=: {words}"] if files else []
        for path in files:
            parts += [f"`{group}={path.stem}`", fenced(path)]
    return "\n\n".join(parts) + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([c.replace("|", "\\|") for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fenced(path: Path) -> str:
    """The file at ``path`` as a block of YAML."""
    return f"```yaml\n{path.read_text(encoding='utf-8').strip()}\n```"


if __name__ == "__main__":
    text = reference()
    if sys.argv[1:] == ["--check"]:
        sys.exit(DOCUMENT.read_text(encoding="utf-8") != text)
    DOCUMENT.write_text(text, encoding="utf-8")
