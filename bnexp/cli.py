"""The ``bnexp`` command: parses, calls, and turns what went wrong into an exit code.

Each command is a module of ``bnexp/commands`` with its arguments (``add_arguments``) and what it
does (``main``); only the one that is called is imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from bnexp import __version__
from bnexp.errors import UserError

LONGEST = 600
"""Characters of a message at most: what is quoted in it may be of any length."""

COMMANDS = {
    "train": "one run, or with -m a sweep; prints the run's directory last",
    "reproduce": "the runs that figures need and that are missing, then figures and claims",
    "figures": "only draws, from the runs that are there",
    "plot": "any column of any table, over steps or any setting, seeds as bands",
    "claims": "the verdict on every claim of the paper",
    "report": "one HTML page: the answer, figures with zoom and hover, runs, commands",
    "runs": "what is there: id, config, state, progress",
    "export": "all tables with the settings of their runs, as csv, parquet, json or duckdb",
    "compact": "copies runs with small tables, to keep and share, and sums them up",
    "compare": "runs against reference runs, curve by curve",
    "verify": "committed numbers made again from committed tables",
    "doctor": "what is installed, which devices there are, whether locks hold",
    "completion": "completion of commands, groups and keys in the shell",
    "theory": "checks the paper's theorems numerically, on random networks and on runs",
}

OVERVIEW = """usage: bnexp COMMAND [-h] ..

What batch normalisation does to optimisation, settled by measurement. To begin with:

  bnexp reproduce preset=quick     every figure and claim at a small size, in minutes
  bnexp train preset=quick         one run of your own; bnexp train --help lists what can be set
  bnexp figures                    draws from the runs that are there

{commands}

bnexp COMMAND --help says more. Exit codes: 0 done; 1 a run failed or a check did not
hold; 2 bad usage or bad input.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(given)
    except UserError as error:
        return _say(str(error), 2)
    except BrokenPipeError:
        return 0
    except OSError as error:
        return _say(f"{error.filename or given[0]}: {error.strerror or error}", 2)
    except RecursionError:
        return _say(f"{given[0]}: expected values and paths that are nested less deeply", 2)
    except KeyboardInterrupt:
        return _say("interrupted", 130)


def _run(given: list[str]) -> int:
    name = given[0] if given else "--help"
    if name == "--version":
        print(f"bnexp {__version__}")
        return 0
    if name in ("-h", "--help"):
        lines = [f"  {command:11}{does}" for command, does in COMMANDS.items()]
        print(OVERVIEW.format(commands="\n".join(lines)), end="")
        return 0
    if name not in COMMANDS:
        from bnexp.registry import unknown

        raise UserError(f"COMMAND: {unknown(name, list(COMMANDS))}")
    command = importlib.import_module(f"bnexp.commands.{name}")
    parser = _Parser(
        f"bnexp {name}", description=command.__doc__, allow_abbrev=False, add_help=False
    )
    if name != "train":  # which prints the groups as its overrides make them
        parser.add_argument("-h", "--help", action="help")
    command.add_arguments(parser)
    try:
        arguments, more = parser.parse_known_args(given[1:])
    except SystemExit as left:  # --help
        return int(left.code or 0)
    for argument in more:  # KEY=VALUE may stand on either side of an option
        if not hasattr(arguments, "overrides") or argument.startswith("-"):
            option = argument.partition("=")[0]
            raise UserError(f"{option}: no such option; bnexp {name} --help lists them")
        arguments.overrides.append(argument)
    code: int = command.main(arguments)
    return code


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]}.."
    print(f"bnexp: {line}".encode("utf-8", "replace").decode(), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
