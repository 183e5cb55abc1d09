"""Runs that differ in their seeds only, made in one process, their passes joined into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from bnexp.config.schema import DlnConfig
from bnexp.training.interrupts import Interrupted, watched
from bnexp.training.joined import Joined, joinable
from bnexp.training.loop import Trainer
from bnexp.training.run import FINISHED, Job, Session, begun, train


def may_join(job: Job) -> bool:
    """Whether the passes of ``job`` may be joined with those of other seeds, as its config says."""
    config = job.config
    linear = isinstance(config.model, DlnConfig) and config.run.batch_size is None
    wanted = config.run.together and not config.run.fail_fast
    return wanted and linear and job.device.type == "cpu"


def train_together(jobs: Sequence[Job]) -> list[str | Exception]:
    """`train` for each of ``jobs``, all in this process; those that are alike side by side.

    Each has the numbers that it has alone, bit for bit. Runs that were cut off at different steps
    are made one by one up to where they meet; those whose passes cannot be joined, one after the
    other. Returns the state of each, or what `train` would have raised; the others are made.
    """
    todo = {job.id: job for job in jobs if job.state() not in FINISHED}
    errors: dict[str, Exception] = {}
    several = len(todo) > 1
    apart = [job for job in todo.values() if not (several and may_join(job))]
    with ExitStack() as stack:
        begin: list[tuple[Job, Trainer, Tensor]] = []
        # locked in one order, whoever asks, so that no two processes wait for each other
        for name, job in sorted((k, v) for k, v in todo.items() if v not in apart):
            with ExitStack() as own:
                try:
                    trainer = own.enter_context(begun(job))
                except Exception as error:
                    errors[name] = error
                    continue
                if trainer is not None and trainer.joined is not None:
                    begin.append((job, trainer, torch.get_rng_state()))
                    stack.push(own.pop_all())
                elif trainer is not None:
                    apart.append(job)
        with watched() as stop:
            sessions = {Session(job, trainer, stop): state for job, trainer, state in begin}
            errors |= _side_by_side(sessions)
    for job in apart:
        try:
            if stop.signum is not None:
                raise Interrupted(stop.signum)
            train(job)
        except Exception as error:
            errors[job.id] = error
    return [errors.get(job.id) or str(job.state()) for job in jobs]


def _side_by_side(sessions: Mapping[Session, Tensor]) -> dict[str, Exception]:
    """Bring all ``sessions`` to their end, step by step, those furthest behind first.

    Each has torch's random state to itself; it begins with the one given for it. Returns, by run,
    what was raised by those that did not come to their end; each has noted that itself.
    """
    random = dict(sessions)
    under_way = {one: one.steps() for one in sessions}
    at: dict[Session, int] = dict.fromkeys(sessions, -1)
    joined: list[Session] = []
    errors: dict[str, Exception] = {}
    while at:
        least = min(at.values())
        behind = [one for one, number in at.items() if number == least]
        if least >= 0 and behind != joined:
            if joinable([one.trainer for one in behind]):
                Joined([one.trainer for one in behind])
            joined = behind
        for one in behind:
            following = None
            torch.set_rng_state(random[one])
            try:
                following = next(under_way[one], None)
            except Exception as error:  # or it was asked to stop, and has saved
                errors[one.job.id] = error
            random[one] = torch.get_rng_state()
            if following is None:
                del at[one]
            else:
                at[one] = following
    return errors
