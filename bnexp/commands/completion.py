"""Completion of commands, options, groups, choices and keys in the shell.

For bash and zsh: eval "$(bnexp completion bash)", in ~/.bashrc or ~/.zshrc.
"""

from __future__ import annotations

import argparse

from bnexp.cli import COMMANDS
from bnexp.config.compose import GROUPS, choices, compose, dotted
from bnexp.errors import UserError
from bnexp.registry import one_of

SCRIPT = r"""_bnexp() {
  local line=${COMP_LINE:0:COMP_POINT} IFS=$'\n'
  local word=${line##* }
  COMPREPLY=($(bnexp completion words "$line" 2>/dev/null))
  [[ $word == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}")
  [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _bnexp bnexp
"""
"""bash splits words at =, so what stands before it is cut off again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``bnexp completion``."""
    parser.add_argument("shell", help="bash or zsh: print the script to evaluate")
    parser.add_argument("line", nargs="?", default="", help=argparse.SUPPRESS)


def main(arguments: argparse.Namespace) -> int:
    """Run ``bnexp completion``; returns the exit code."""
    if arguments.shell == "words":
        print(*words(arguments.line), sep="\n")
        return 0
    one_of("shell", arguments.shell, ("bash", "zsh"))
    zsh = "autoload -U +X bashcompinit && bashcompinit\n" * (arguments.shell == "zsh")
    print(zsh + SCRIPT, end="")
    return 0


def words(line: str) -> list[str]:
    """What the last word of the command ``line`` can become."""
    _, *before, last = [*line.split(" ")] if " " in line else ["", line]
    before = [word for word in before if word]
    if not before:
        return [name for name in COMMANDS if name.startswith(last)]
    if before[0] not in ("train", "reproduce"):
        return []
    group, equals, start = last.partition("=")
    try:
        if equals:
            done, comma, start = start.rpartition(",")
            there = choices(group) if group in GROUPS else []
            return [f"{group}={done}{comma}{name}" for name in there if name.startswith(start)]
        given = [word for word in before[1:] if "=" in word]
        keys = [*GROUPS, *dotted(compose(given))]
    except UserError:
        return []
    return [f"{key}=" for key in dict.fromkeys(keys) if key.startswith(last)]
