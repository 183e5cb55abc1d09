"""What a user can get wrong, told in one line."""

from __future__ import annotations


class UserError(Exception):
    """Bad usage or bad input.

    The message is one line that names the option, key or file and what was expected. The command
    line prints it to stderr and leaves with exit code 2.
    """


MARKUP = frozenset("<>|`")
"""What Markdown or HTML would take for more than a letter of a label."""
