"""One bar over all runs of a sweep, wherever they are being made."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tqdm import tqdm

from bnexp.errors import UserError
from bnexp.training.run import FINISHED, Job

AT_ONCE = 50
"""Status files that are read each second at most, however many runs there are."""


@contextmanager
def progress(jobs: Sequence[Job]) -> Iterator[None]:
    """Within it a bar on stderr adds up the steps of ``jobs``."""
    if not jobs or not all(job.config.run.progress for job in jobs):
        yield
        return
    steps = {job.id: job.config.run.steps + 1 for job in jobs}
    bar = tqdm(total=sum(steps.values()), unit="step", file=sys.stderr, dynamic_ncols=True)
    waiting, made, over = deque(jobs), dict[str, int](), threading.Event()

    def read(most: int) -> None:
        for _ in range(min(most, len(waiting))):
            job = waiting.popleft()
            with suppress(UserError, OSError):  # of which the run itself will tell
                status = job.directory.read_status()
                finished = status.get("state") in FINISHED
                made[job.id] = steps[job.id] if finished else status.get("step", 0)
                if finished:
                    continue
            waiting.append(job)
        bar.set_description(f"runs {len(jobs) - len(waiting)}/{len(jobs)} done", refresh=False)
        bar.update(sum(made.values()) - bar.n)

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
        bar.close()
