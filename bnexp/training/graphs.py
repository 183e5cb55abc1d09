"""A training step as two CUDA graphs: hundreds of small kernels, launched by two calls.

On a GPU a pass through the deep linear network, or with a small batch, takes as long as it takes to
launch its kernels one by one. A graph keeps the same kernels with their arguments, so replaying it
gives the same numbers. What changes from step to step is copied to where the graph reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from bnexp.models import Network
from bnexp.norms import noises
from bnexp.objective import Pass

T = TypeVar("T")

Replay = Callable[[], None]
"""Runs the kernels of a graph again."""

WARM_UP = 3
"""Steps made without a graph first: in them torch chooses kernels and the optimiser its state."""


def wanted(asked: Any, model: Network, device: torch.device, *, small: bool) -> bool:
    """Whether to use graphs, as ``cuda_graphs`` asks: auto is where kernels are ``small``.

    Never on a CPU, nor with noise, which is drawn anew at every step from a seed of its own.
    """
    if device.type != "cuda" or noises(model):
        return False
    return small if asked == "auto" else bool(asked)


def on_cuda(device: torch.device, work: Callable[[], T]) -> tuple[T, Replay]:
    """The graph of ``work``: where its results will lie, and what makes them by running it.

    ``work`` is not run yet. It may not wait for the device, and must find its inputs in the same
    tensors at every replay.
    """
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.device(device), torch.cuda.graph(graph, stream=stream):
        results = work()
    return results, graph.replay


class GraphedStep:
    """Two parts of a training step, as graphs once they have warmed up.

    ``passed`` gives the pass on a batch (inputs, targets) and its gradient's norm; ``update`` moves
    the parameters along a gradient. The tensors of the parameters, of the running statistics and of
    the optimiser's state must stay the same objects.
    """

    def __init__(
        self,
        passed: Callable[[Tensor, Tensor], tuple[Pass, Tensor]],
        update: Callable[[dict[str, Tensor]], None],
    ) -> None:
        self._passed, self._update = passed, update
        self._passes = self._updates = 0
        self._kept: _Kept | None = None
        self._replay_update: Replay | None = None

    def passed(self, inputs: Tensor, targets: Tensor) -> tuple[Pass, Tensor]:
        """What ``passed`` gives for this batch; batches are all of one shape.

        The scalars stay; outputs and gradients are overwritten by the next pass.
        """
        self._passes += 1
        if self._passes <= WARM_UP:
            return self._passed(inputs, targets)
        if self._kept is None:
            self._kept = self._capture_pass(inputs.clone(), targets.clone())
        kept = self._kept
        if kept.given is not inputs:  # a full batch is the same one at every step
            kept.inputs.copy_(inputs)
            kept.targets.copy_(targets)
            kept.given = inputs
        kept.replay()
        loss, data_loss, grad_norm = kept.scalars.clone().unbind()
        return replace(kept.done, loss=loss, data_loss=data_loss), grad_norm

    def _capture_pass(self, inputs: Tensor, targets: Tensor) -> _Kept:
        def work() -> tuple[Pass, Tensor]:
            done, grad_norm = self._passed(inputs, targets)
            return done, torch.stack([done.loss, done.data_loss, grad_norm])

        (done, scalars), run = on_cuda(inputs.device, work)
        return _Kept(inputs, targets, done, scalars, run)

    def update(self, grads: dict[str, Tensor]) -> None:
        """What ``update`` does; as a graph along the gradient that a graph made."""
        self._updates += 1
        kept = self._kept
        if kept is None or grads is not kept.done.grads or self._updates <= WARM_UP:
            self._update(grads)
            return
        if self._replay_update is None:
            _, self._replay_update = on_cuda(kept.inputs.device, lambda: self._update(grads))
        self._replay_update()


@dataclass
class _Kept:
    """A captured pass: where it reads its batch and leaves its results.

    ``scalars`` holds loss, data loss and gradient norm; ``given`` is the batch that was copied.
    """

    inputs: Tensor
    targets: Tensor
    done: Pass
    scalars: Tensor
    replay: Replay
    given: Tensor | None = None
