"""One line per run that is there: id, the settings in which they differ, state, progress.

`bnexp runs diff A B` compares two of them, `bnexp runs rm RUN ..` removes some.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnexp.analysis.select import select
from bnexp.commands.choose import columns, filtered, ordered, picked, where_option
from bnexp.registry import expect, load_plugins, one_of
from bnexp.runs import Run, find_runs, folders_of_runs, printable, versions, written
from bnexp.runs.files import plain, read_json
from bnexp.runs.load import flat

REMOVED = ".bnexp-removed"
"""Ends the hidden name of a run directory that is being removed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp runs``."""
    add = parser.add_argument
    usage = (
        "diff A B: in what two runs differ; rm RUN ..: remove runs, given by id or its beginning"
    )
    add("action", nargs="*", metavar="diff|rm RUN", help=usage)
    runs_option(parser)
    where_option(parser)
    plugins_option(parser)
    of = "only the runs that a figure (fig4) or claim (4.7) is made from, with their revision"
    add("--of", metavar="ID", help=of)
    add("--sort", metavar="KEY", help="by a config key, state or step; --sort=-KEY: downwards")
    add("--json", action="store_true", help="print them as JSON, with every setting")
    add("--yes", action="store_true", help="rm: do not ask")
    add("--watch", action="store_true", help="how far they are, until Ctrl-C")


def runs_option(parser: argparse.ArgumentParser) -> None:
    """``--runs``, as all commands have it that read runs."""
    parser.add_argument(
        "--runs", type=Path, default=Path("outputs"), metavar="DIR", help="default: outputs"
    )


def plugins_option(parser: argparse.ArgumentParser) -> None:
    """``--plugins``: what a run directory's config names is never imported."""
    parser.add_argument(
        "--plugins",
        type=lambda text: [name for name in text.split(",") if name],
        default=os.environ.get("BNEXP_PLUGINS", ""),  # as argparse does, through type
        metavar="MODULE,..",
        help="modules with figures and claims of your own (default: $BNEXP_PLUGINS)",
    )


def found(root: Path) -> list[Run]:
    """The runs below ``root``; where there are none, says on stderr in which folders some are."""
    there = find_runs(root)
    below = [str(folder) for folder in folders_of_runs(root)] if not there else []
    if below:
        print(f"bnexp: no runs in {root}; there are some in {', '.join(below)}", file=sys.stderr)
    return there


def number_of(option: str, name: str, known: Sequence[str]) -> str:
    """The one of ``known`` that ``name`` means: ``4``, ``04`` or ``fig4``; `UserError` if none."""
    number = name if name in known else name.lower().removeprefix("fig").lstrip("0").upper()
    one_of(option, number if number in known else name, known)
    return number


def behind(name: str, runs: Sequence[Run]) -> list[Run]:
    """Those of ``runs`` that the figure or claim ``name`` is made from.

    Raises:
        UserError: there is no such figure or claim.
    """
    from bnexp.claims import all_claims
    from bnexp.figures import figure, figure_ids

    needs = {number: figure(number).needs for number in figure_ids()}
    needs |= {number: claim.needs for number, claim in all_claims().items()}
    matches = select(needs[number_of("--of", name, list(needs))], runs).matches
    made_from = {run.id for met in matches.values() for run in met}
    return [run for run in runs if run.id in made_from]


def main(arguments: argparse.Namespace) -> int:
    """Print one line per run, or do as ``action`` says; returns the exit code."""
    action, *names = arguments.action or ["list"]
    one_of("runs", action, ("list", "diff", "rm"))
    load_plugins(arguments.plugins)
    if arguments.watch:
        from bnexp.commands.watch import watch

        return watch(arguments.runs)
    runs = found(arguments.runs)
    if action != "list":
        expect(
            len(names) == 2 or (action == "rm" and len(names) > 0),
            action,
            "runs, by their ids",
            names,
        )
        expect(bool(runs), "--runs", "a folder with runs", str(arguments.runs))
        chosen = {run.id: run for run in (picked(runs, name) for name in names)}.values()
        return remove([*chosen], arguments.yes) if action == "rm" else compare(*chosen, *chosen)
    runs = filtered(runs, arguments.where)
    if arguments.of is not None:
        runs = behind(arguments.of, runs)
    if arguments.sort is not None:
        runs = ordered(runs, arguments.sort)
    if (codes := versions((run.id, run.config) for run in runs)) > 1:
        words = f"{codes} versions of the code: the last four characters of their ids differ"
        print(f"bnexp: runs of one kind were made by {words}", file=sys.stderr)
    if arguments.json:
        text = json.dumps([as_json(run) for run in runs])
        print(json.dumps(json.loads(text, parse_constant=lambda _: None), indent=1))
    else:
        print_table(table(runs, revisions=arguments.of is not None))
    return 0


def table(runs: Sequence[Run], revisions: bool = False) -> list[list[str]]:
    """A head and a row of cells per run, with a column per setting in which they differ."""
    more = columns(runs)
    head = ["id", "model", "norm", "data", "lr", "seed", *more, "state", "step"]
    rows = [head + ["revision"] * revisions]
    for run in runs:
        step = f"{run.status.get('step', 0)}/{run.status.get('steps', run.steps)}"
        named = [run.id, run.model, run.norm, run.data, run.lr, run.seed]
        rows.append(
            [*map(written, [*named, *(run.settings.get(k) for k in more)]), run.state, step]
        )
        rows[-1] += [str(revision(run))] * revisions
    return rows


def revision(run: Run) -> Any:
    """The git revision that the run is from."""
    return _env(run).get("git_revision")


def _env(run: Run) -> dict[str, Any]:
    file = run.directory.env_file
    return read_json(file) if file.exists() else {}


def as_json(run: Run) -> dict[str, Any]:
    """The run as plain values."""
    status = {key: run.status.get(key) for key in ("step", "steps", "seconds")}
    where = {"path": str(run.path), "revision": revision(run), "problems": run.problems}
    its: dict[str, Any] = plain({"id": run.id, "state": run.state, **status, **where})
    return {**its, "settings": plain(run.settings)}


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print cells in columns, nothing in them that a terminal would obey."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def compare(one: Run, other: Run, *_: Run) -> int:
    """Print the settings, the environment and the progress in which two runs differ."""
    both = []
    for run in (one, other):
        status = {"state": run.state, "step": run.status.get("step")}
        both.append({**run.settings, **status, **dict(flat(_env(run), "env."))})
    rows = [[key, *(written(its.get(key)) for its in both)] for key in {**both[0], **both[1]}]
    print_table([row for row in rows if row[1] != row[2]] or [["no difference"]])
    return 0


def remove(runs: Sequence[Run], yes: bool) -> int:
    """Remove ``runs``, none of which may be being made; asks first unless ``yes``.

    A directory is renamed to a name that no command reads before anything in it is removed.
    """
    expect(yes or sys.stdin.isatty(), "rm", "--yes where nobody can be asked", "none")
    for run in runs:
        expect(not run.directory.is_locked(), "rm", "runs that no process is making", run.id)
    print_table(table(runs))
    if not yes:
        print(f"Remove {len(runs)} run{'s' * (len(runs) > 1)} for good? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was removed")
            return 1
    for run in runs:
        with run.directory.lock(wait=False):
            run.path.rename(run.path.with_name(f".{run.path.name}{REMOVED}"))
    for folder in {run.path.parent for run in runs}:
        for left in folder.glob(f".*{REMOVED}"):  # also of a call that was killed
            left.unlink() if left.is_symlink() else shutil.rmtree(left)
    return 0
