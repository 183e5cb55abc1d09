"""Runs that differ in their seeds only, made in one process: their passes are joined into one.

A step of the deep linear network is many small products, and most of its time is not spent on
multiplying; ten seeds' products side by side take about as long as three seeds' one by one. Sums
are taken in another order, so a run's numbers are those of the run made alone but for rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bnexp.models.streams import streamable
from bnexp.norms import Statistics, noises
from bnexp.objective import Pass
from bnexp.training.interrupts import watched
from bnexp.training.loop import Trainer
from bnexp.training.run import FINISHED, Job, Session, begun


def train_together(jobs: Sequence[Job]) -> list[str]:
    """`train` for each of ``jobs``, all in this process; those that are alike side by side.

    Runs that were cut off at different steps are made one by one up to where they meet. One that
    fails is noted as failed, and the others are made. Returns their states.

    Raises:
        UserError: as `train`.
        Interrupted: the process was asked to stop; every run has saved and can be resumed.
        Exception: what the first of the runs that failed raised, after the others were made.
    """
    with ExitStack() as stack:
        todo = {job.id: job for job in jobs if job.state() not in FINISHED}
        # locked in one order, whoever asks, so that no two processes wait for each other
        begin = [(todo[one], stack.enter_context(begun(todo[one]))) for one in sorted(todo)]
        stop = stack.enter_context(watched())
        _make([Session(job, trainer, stop) for job, trainer in begin if trainer is not None])
    return [str(job.state()) for job in jobs]


def _make(sessions: Sequence[Session]) -> None:
    """Bring all ``sessions`` to their end, step by step, those furthest behind first."""
    under_way: dict[Session, Iterator[int]] = {one: one.steps() for one in sessions}
    at = {one: next(steps) for one, steps in under_way.items()}
    joined: list[Session] = []
    errors: list[Exception] = []
    while at:
        least = min(at.values())
        behind = [one for one, number in at.items() if number == least]
        if len(behind) == len(at) and behind != joined:
            trainers = [one.trainer for one in behind]
            if joinable(trainers):
                Joined(trainers)
            joined = behind
        for one in behind:
            following = None
            try:
                following = next(under_way[one], None)
            except Exception as error:  # noted by the run itself; it has saved if it was stopped
                errors.append(error)
            if following is None:
                del at[one]
            else:
                at[one] = following
    if errors:
        raise errors[0]


def joinable(trainers: Sequence[Trainer]) -> bool:
    """Whether the passes of ``trainers`` can be joined: linear layers, full batches, no noise."""
    models = [one.setting.model for one in trainers]
    shapes = {
        tuple((name, p.shape, p.dtype, p.device) for name, p in model.own_params.items())
        for model in models
    }
    batches = {(one.batches.batch_size, one.batches.at(0).inputs.shape) for one in trainers}
    objectives = {one.setting.objective for one in trainers}
    alike = len(shapes) == len(batches) == len(objectives) == 1
    full = all(one.batches.batch_size is None for one in trainers)
    return alike and full and all(streamable(m) and not noises(m) for m in models)


class Joined:
    """The passes of ``trainers``, which make the same step one after the other, made as one.

    From then on their parameters and running statistics are parts of joint tensors, so that what
    moves the one moves the other; nothing else of the trainers changes.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        if not joinable(trainers):
            raise ValueError("the passes of these trainers cannot be joined")
        self._objective = trainers[0].setting.objective
        models = [one.setting.model for one in trainers]
        self._model = copy.deepcopy(models[0])  # for its norms: of all runs' units
        self._points = torch.stack(
            [parameters_to_vector(model.own_params.values()).detach() for model in models]
        )
        for model, point in zip(models, self._points, strict=True):
            vector_to_parameters(point, model.own_params.values())
        for where, module in self._model.named_modules():
            if isinstance(module, Statistics):
                for name in list(module._buffers):
                    theirs = [model.get_submodule(where)._buffers for model in models]
                    whole = torch.stack([buffers[name] for buffers in theirs])  # type: ignore[misc]
                    for buffers, part in zip(theirs, whole, strict=True):
                        buffers[name] = part
                    module._buffers[name] = whole.view(-1)
        batches = [one.batches.at(0) for one in trainers]
        self._inputs = torch.stack([batch.inputs for batch in batches])
        self._targets = torch.stack([batch.targets for batch in batches])
        self._ready: dict[int, tuple[Pass, Tensor]] = {}
        for index, one in enumerate(trainers):
            one.faster = partial(self._passed_by, index)

    def _passed_by(self, index: int, *batch: Tensor) -> tuple[Pass, Tensor]:  # noqa: ARG002
        """The pass of one trainer; the first that asks for one at a step has all of them made."""
        if index not in self._ready:
            done = self._objective.passes_of(self._model, self._inputs, self._targets, self._points)
            norms = torch.linalg.vector_norm(
                torch.cat([grad.flatten(1) for grad in done.grads.values()], 1), dim=1
            )
            self._ready = {
                i: (
                    Pass(
                        loss=done.loss[i],
                        data_loss=done.data_loss[i],
                        outputs=done.outputs[i],
                        grads={name: grad[i] for name, grad in done.grads.items()},
                    ),
                    norms[i],
                )
                for i in range(len(self._points))
            }
        return self._ready.pop(index)
