"""The passes of runs that differ in their seeds only, made as one; of one run as well.

A step of the deep linear network is many small products, and most of its time is not spent on
multiplying; ten seeds' products side by side take about as long as four seeds' one by one. How
many lie side by side changes no bit, but sums are taken in another order than in the network's own
forward pass (``together=false``), so there the numbers are others by rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bnexp.models.streams import streamable
from bnexp.norms import Statistics, frozen_statistics, noises
from bnexp.objective import Pass
from bnexp.training.loop import Passed, Trainer

ALIGNED = 64
"""Rows of parameters begin at multiples of so many values, so that all are aligned alike."""


def joinable(trainers: Sequence[Trainer]) -> bool:
    """Whether the passes of ``trainers`` can be joined, and no bit of them changes by it.

    They can for linear layers, full batches and no noise, on a CPU: on a GPU a step is launched as
    one graph. Bits would change where a product is computed in another way at another address,
    which is tried out.
    """
    return _alike(trainers) and (len(trainers) == 1 or _same_bits(trainers))


def _alike(trainers: Sequence[Trainer]) -> bool:
    return all(map(_can, trainers)) and len({_kind(one) for one in trainers}) == 1


def _can(trainer: Trainer) -> bool:
    model, batches = trainer.setting.model, trainer.batches
    return (
        streamable(model)
        and not noises(model)
        and model.autocast is None
        and batches.batch_size is None
        and batches.at(0).inputs.device.type == "cpu"
        and not trainer.graphs
    )


def _kind(trainer: Trainer) -> object:
    """What must be the same of all."""
    params = trainer.setting.model.own_params
    shapes = tuple((name, value.shape, value.dtype) for name, value in params.items())
    norms = tuple(type(module) for module in trainer.setting.model.modules())
    return shapes, norms, trainer.batches.at(0).inputs.shape, trainer.setting.objective


def _same_bits(trainers: Sequence[Trainer]) -> bool:
    """Whether the passes of ``trainers`` side by side are bit for bit those one by one."""
    model, objective = trainers[0].setting.model, trainers[0].setting.objective
    points, inputs, targets = _beside(trainers)
    with frozen_statistics(model):
        joint = objective.passes_of(model, inputs, targets, points)
        for i in range(len(trainers)):
            one, its_inputs, its_targets = _beside(trainers[i : i + 1])
            alone = objective.passes_of(model, its_inputs, its_targets, one)
            pairs = [
                (joint.loss, alone.loss),
                (joint.outputs, alone.outputs),
                *((joint.grads[name], grad) for name, grad in alone.grads.items()),
            ]
            if not all(torch.equal(many[i], single[0]) for many, single in pairs):
                return False
    return True


def _beside(trainers: Sequence[Trainer]) -> tuple[Tensor, Tensor, Tensor]:
    """Their parameters, ``(runs, parameters)``, and batches, ``(runs, samples, d)`` twice."""
    vectors = [
        parameters_to_vector(one.setting.model.own_params.values()).detach() for one in trainers
    ]
    size = vectors[0].numel()
    rows = vectors[0].new_empty(len(trainers), size + -size % ALIGNED)[:, :size]
    batches = [one.batches.at(0) for one in trainers]
    inputs = torch.stack([batch.inputs for batch in batches])
    # in memory as the outputs are, so that sums over samples are taken alike
    targets = torch.stack([batch.targets.mT for batch in batches]).mT
    return rows.copy_(torch.stack(vectors)), inputs, targets


class Joined:
    """The passes of ``trainers``, which make the same step one after the other, made as one.

    From then on their parameters and running statistics are parts of joint tensors, so that what
    moves the one moves the other; nothing else of the trainers changes.

    Raises:
        ValueError: they are not of one kind, or of one whose passes cannot be joined.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        if not _alike(trainers):
            raise ValueError("the passes of these trainers cannot be joined")
        self._trainers = list(trainers)
        self._objective = trainers[0].setting.objective
        models = [one.setting.model for one in trainers]
        self._model = copy.deepcopy(models[0]).train()  # for its norms: of all runs' units
        self._points, self._inputs, self._targets = _beside(trainers)
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
        self._made: dict[int, Passed] = {}
        for index, one in enumerate(trainers):
            one.joined = partial(self._pass_of, index)

    def _pass_of(self, index: int, number: int) -> Passed:
        """The pass of one trainer; the first that asks for its own has those of all made."""
        if index not in self._made:
            self._made = dict(enumerate(self._passes(number)))
        return self._made.pop(index)

    def _passes(self, number: int) -> list[Passed]:
        layers = {layer for one in self._trainers for layer in one.read_at(number)}
        done = self._objective.passes_of(
            self._model, self._inputs, self._targets, self._points, keep=layers
        )
        flat = torch.cat([grad.flatten(1) for grad in done.grads.values()], 1)
        norms = torch.linalg.vector_norm(flat, dim=1)
        return [
            Passed(
                Pass(
                    loss=done.loss[i],
                    data_loss=done.data_loss[i],
                    outputs=done.outputs[i],
                    grads={name: grad[i] for name, grad in done.grads.items()},
                ),
                norms[i],
                {layer: values[i] for layer, values in done.activations.items()},
            )
            for i in range(len(self._points))
        ]
