"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 30.0
"""From one line to the next where stderr is no terminal."""


class Lines(tqdm):  # type: ignore[type-arg]
    """Says on a line of its own what a bar would show."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        self.fp.write((msg or str(self)) + ("\n" if pos is None else ""))  # 0: it ends the line
        self.fp.flush()


def bar(total: int, **more: Any) -> Any:
    """A bar of ``total`` steps with steps/s and time left; ``more`` is as for tqdm."""
    more |= {"total": total, "unit": "step", "file": sys.stderr}
    if sys.stderr.isatty():
        return tqdm(dynamic_ncols=True, **more)
    return Lines(ncols=0, mininterval=LINE_SECONDS, maxinterval=LINE_SECONDS, **more)
