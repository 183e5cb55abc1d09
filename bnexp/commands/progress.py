"""One bar over all runs of a sweep, wherever they are being made."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from bnexp.errors import UserError
from bnexp.training.bar import bar
from bnexp.training.run import FINISHED, Job

AT_ONCE = 50
"""Status files that are read each second at most, however many runs there are."""


@contextmanager
def progress(jobs: Sequence[Job]) -> Iterator[None]:
    """Within it a bar on stderr adds up the steps of ``jobs``, with losses of some under way."""
    if not jobs or not all(job.config.run.progress for job in jobs):
        yield
        return
    steps = {job.id: job.config.run.steps + 1 for job in jobs}
    shown = bar(sum(steps.values()))
    waiting, made, over = deque(jobs), dict[str, int](), threading.Event()
    losses: dict[str, str] = {}

    def read(most: int) -> None:
        for _ in range(min(most, len(waiting))):
            job = waiting.popleft()
            losses.pop(job.id, None)
            with suppress(UserError, OSError):  # of which the run itself will tell
                status = job.directory.read_status()
                finished = status.get("state") in FINISHED
                made[job.id] = steps[job.id] if finished else status.get("step", 0)
                if finished:
                    continue
                if status.get("loss") is not None:
                    losses[job.id] = f"{status['loss']:.4g}"
            waiting.append(job)
        shown.set_description(f"runs {len(jobs) - len(waiting)}/{len(jobs)} done", refresh=False)
        shown.set_postfix_str(f"loss={', '.join([*losses.values()][:3])}", refresh=False)
        shown.update(sum(made.values()) - shown.n)

    def watch() -> None:
        while not over.wait(1.0):
            read(AT_ONCE)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        read(len(waiting))
        shown.close()
