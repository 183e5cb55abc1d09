"""What is minimised, and the only place that calls autograd for a pass.

The objective is the data loss plus lambda/2 ||w||^2. Weight decay is part of it, so it is part of
every loss and gradient that is measured, and the optimiser itself decays nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from bnexp.models.layers import Network, Params
from bnexp.models.streams import Kept, Streams, run_stream_layer, streamable

DATA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "half_sum_squares": lambda out, target: (out - target).square().sum() / 2,
    "sum_squares": lambda out, target: (out - target).square().sum(),
    "mean_squares": lambda out, target: (out - target).square().mean(),
}
"""From outputs and targets to a scalar: the mean over a batch for cross_entropy and mean_squares,
the sum over the data for the others (paper, Appendix A.1)."""


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass.

    ``loss`` is the objective, ``data_loss`` the objective without its L2 term, both scalars;
    ``outputs`` is ``(batch, classes or d)``; ``grads`` holds the objective's gradient by parameter.
    All are detached.
    """

    loss: Tensor
    data_loss: Tensor
    outputs: Tensor
    grads: dict[str, Tensor]


@dataclass(frozen=True)
class Points:
    """A pass at each of several points: as `Pass`, each with a first dimension for the point.

    ``activations`` holds the pre-activations of the layers that were asked for.
    """

    loss: Tensor
    data_loss: Tensor
    outputs: Tensor
    grads: dict[str, Tensor]
    activations: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """The data loss called ``data_loss`` plus ``weight_decay``/2 times ||w||^2.

    ``decay`` says what w is: ``weights``, the affine maps' weights W_1, .., W_k; or ``all``, every
    parameter, biases, gamma and beta included.
    """

    data_loss: str
    weight_decay: float = 0.0
    decay: str = "weights"

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The data loss, a scalar."""
        return DATA_LOSSES[self.data_loss](outputs, targets)

    def penalty(self, model: Network, params: Params) -> Tensor | float:
        """The L2 term, a scalar."""
        if self.weight_decay == 0.0:
            return 0.0
        names = model.weight_names() if self.decay == "weights" else list(params)
        squares = torch.stack([params[name].square().sum() for name in names])
        return squares.sum() * (self.weight_decay / 2)

    def loss_and_grads(
        self,
        model: Network,
        inputs: Tensor,
        targets: Tensor,
        *,
        params: Params | None = None,
        wrt: Iterable[str] | None = None,
        first: int = 1,
    ) -> Pass:
        """The objective and its gradient at ``params`` (default: the network's own parameters).

        Args:
            inputs: the input of layer ``first``, which is the batch itself for layer 1.
            wrt: the parameters whose gradient is wanted (default: all).
            first: the layer to start at; what lies before it is taken as constant.

        Neither the network's parameters nor their ``.grad`` are touched. In training mode the
        pass moves the running statistics, unless they are frozen (``bnexp/norms.py``).
        """
        own = model.own_params
        wanted = list(own if wrt is None else wrt)
        leaves: Params = own
        if params is not None:
            chosen = set(wanted)
            leaves = {
                name: value.detach().requires_grad_(name in chosen)
                for name, value in params.items()
            }
        with torch.enable_grad():
            outputs = model.run_from(first, inputs, None if params is None else leaves)
            data_loss = self.data(outputs, targets)
            loss = data_loss + self.penalty(model, leaves)
            grads = torch.autograd.grad(loss, [leaves[name] for name in wanted])
        return Pass(
            loss=loss.detach(),
            data_loss=data_loss.detach(),
            outputs=outputs.detach(),
            grads=dict(zip(wanted, grads, strict=True)),
        )

    def passes_along(
        self,
        model: Network,
        inputs: Tensor,
        targets: Tensor,
        params: Params,
        direction: Params,
        etas: Sequence[float],
    ) -> Iterator[Points]:
        """The objective and its gradient at ``params`` - eta ``direction`` for each of ``etas``.

        For measuring: in training mode, with frozen running statistics. In order, one point at a
        time; but the passes of a network of linear layers are made as one
        (``bnexp/models/streams.py``).
        """
        if not streamable(model):
            for eta in etas:
                point = {n: p.detach() - eta * direction[n] for n, p in params.items()}
                done = self.loss_and_grads(model, inputs, targets, params=point)
                yield Points(
                    loss=done.loss[None],
                    data_loss=done.data_loss[None],
                    outputs=done.outputs[None],
                    grads={name: grad[None] for name, grad in done.grads.items()},
                )
            return
        steps = torch.tensor(etas, dtype=inputs.dtype, device=inputs.device).unsqueeze(1)
        here = torch.cat([params[name].detach().flatten() for name in model.own_params])
        along = torch.cat([direction[name].flatten() for name in model.own_params])
        points = torch.addcmul(here, steps, along, value=-1)
        yield self.passes_of(model, inputs.expand(len(etas), *inputs.shape), targets, points)

    def passes_of(
        self,
        model: Network,
        inputs: Tensor,
        targets: Tensor,
        points: Tensor,
        *,
        keep: Collection[int] = (),
    ) -> Points:
        """One pass per stream of a network of linear layers, made as one.

        Args:
            model: where the norms are from. Running averages that are not frozen are moved: one for
                every unit of every stream.
            inputs: ``(streams, samples, d)``.
            targets: ``(samples, d)`` for all streams, or ``(streams, samples, d)``.
            points: ``(streams, parameters)``: all parameters of a stream, one after the other in
                the network's order.
            keep: the layers whose pre-activations, ``(streams, samples, units)``, are wanted.
        """
        rows = points.detach().requires_grad_()
        kept = Kept(keep)
        with torch.enable_grad():
            leaves = _by_name(rows, model.own_params)
            streams = Streams(inputs.mT)
            for number in model.layers.numbers():
                streams = run_stream_layer(model, number, streams, leaves, kept)
            outputs = streams.x
            data_loss = loss = self._data_of_streams(outputs, targets)
            if self.weight_decay:
                loss = loss + torch.func.vmap(lambda point: self.penalty(model, point))(leaves)
            (grads,) = torch.autograd.grad(loss.sum(), [rows])
        return Points(
            loss=loss.detach(),
            data_loss=data_loss.detach(),
            outputs=outputs.detach().mT,
            grads=_by_name(grads, model.own_params),
            activations=kept.found,
        )

    def weight_grads(
        self,
        model: Network,
        hidden: Iterable[tuple[int, Tensor]],
        targets: Tensor,
        params: Params,
    ) -> dict[int, Tensor]:
        """For each layer i and its input of ``hidden``, in order, the gradient by W_i there.

        Layers i, .., k have ``params``. For measuring, as `passes_along`; the suffixes of a network
        of linear layers are run side by side, each joining where it begins.
        """
        if not streamable(model):
            found = {}
            for number, x in hidden:
                name = model.weight_name(number)
                done = self.loss_and_grads(
                    model, x, targets, params=params, wrt=[name], first=number
                )
                found[number] = done.grads[name]
            return found
        fixed = {name: value.detach() for name, value in params.items()}
        leaves: dict[int, Tensor] = {}
        joined: Streams | None = None
        with torch.enable_grad():
            inputs = dict(hidden)
            for number in range(min(inputs), len(model.layers) + 1):
                if joined is not None:
                    joined = run_stream_layer(model, number, joined, fixed)
                if number in inputs:
                    name = model.weight_name(number)
                    leaves[number] = fixed[name].clone().requires_grad_()
                    own = {**fixed, name: leaves[number]}
                    begun = Streams(inputs[number].detach().T[None])
                    begun = run_stream_layer(model, number, begun, own)
                    joined = begun if joined is None else joined.beside(begun)
            assert joined is not None
            loss = self._data_of_streams(joined.x, targets).sum()
            grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        return {
            number: grad + self.weight_decay * leaf.detach()
            for (number, leaf), grad in zip(leaves.items(), grads, strict=True)
        }

    def second_order(
        self, model: Network, inputs: Tensor, targets: Tensor, params: Params | None = None
    ) -> SecondOrder:
        """The objective's value, gradient and Hessian at ``params`` (default: the network's own).

        The point is all of ``params``, in their order. In training mode with frozen running
        statistics, as for `passes_along`.
        """
        own = dict(model.own_params if params is None else params)
        names = list(own)

        def loss(*values: Tensor) -> Tensor:
            point = dict(zip(names, values, strict=True))
            outputs = model.run_from(1, inputs, point)
            return self.data(outputs, targets) + self.penalty(model, point)

        return SecondOrder(loss, list(own.values()))

    def _data_of_streams(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The data loss of each stream; ``outputs`` is ``(streams, d, samples)``."""
        own = 0 if targets.dim() == outputs.dim() else None
        losses: Tensor = torch.func.vmap(
            lambda out, target: self.data(out.T, target), in_dims=(0, own)
        )(outputs, targets)
        return losses


class SecondOrder:
    """A scalar function at a point: its value, its gradient and products with its Hessian.

    ``function`` takes as many tensors as ``point`` has. The graph is made once and kept, so each
    `times` costs one more backward pass.
    """

    def __init__(self, function: Callable[..., Tensor], point: Sequence[Tensor]) -> None:
        self._leaves = [value.detach().requires_grad_() for value in point]
        with torch.enable_grad():
            value = function(*self._leaves)
            self._slope = torch.autograd.grad(
                value, self._leaves, create_graph=True, materialize_grads=True
            )
        self.value = value.detach()
        self.gradient = [part.detach() for part in self._slope]

    def times(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """H v, for ``v`` of the point's shapes; so is what is returned."""
        bent = [(part, v) for part, v in zip(self._slope, vectors, strict=True) if _bends(part)]
        if not bent:
            return [torch.zeros_like(leaf) for leaf in self._leaves]
        slopes, along = zip(*bent, strict=True)
        products = torch.autograd.grad(
            slopes, self._leaves, along, retain_graph=True, materialize_grads=True
        )
        return [product.detach() for product in products]


def _bends(slope: Tensor) -> bool:
    """Whether a part of the gradient depends on the point at all."""
    return slope.requires_grad


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The 2-norm of all ``tensors`` taken as one vector, a scalar tensor."""
    whole: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return whole


def norms_of(model: Network, tensors: Params) -> tuple[Tensor, Tensor]:
    """The 2-norm of ``tensors`` as one vector, and the sum over layers of the 2-norms of theirs.

    Both are scalar tensors.
    """
    each = torch.stack(torch._foreach_norm(list(tensors.values())))
    layers = torch.tensor([model.layer_of(name) for name in tensors], device=each.device)
    squares = each.new_zeros(len(model.layers) + 1).index_add_(0, layers, each.square())
    return each.norm(), squares.sqrt().sum()


def norms_of_points(model: Network, tensors: Params) -> tuple[Tensor, Tensor]:
    """`norms_of` at each of several points, ``(points,)`` both; they are the first dimension."""
    if len(next(iter(tensors.values()))) == 1:
        whole, by_layer = norms_of(model, {name: value[0] for name, value in tensors.items()})
        return whole[None], by_layer[None]
    layers: defaultdict[int, list[Tensor]] = defaultdict(list)
    for name, value in tensors.items():
        layers[model.layer_of(name)].append(value.flatten(1))
    each = torch.stack([torch.cat(parts, 1).norm(dim=1) for parts in layers.values()])
    return each.norm(dim=0), each.sum(0)


def _by_name(rows: Tensor, like: Params) -> dict[str, Tensor]:
    """``rows``, each all parameters one after the other, as ``(rows, *shape)`` by name."""
    parts = torch.split(rows, [value.numel() for value in like.values()], 1)
    return {
        name: part.view(len(rows), *value.shape)
        for part, (name, value) in zip(parts, like.items(), strict=True)
    }


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The fraction of rows whose largest output is the target class; NaN for regression."""
    if targets.is_floating_point():
        return outputs.new_full((), float("nan"))  # made on the device
    return (outputs.argmax(1) == targets).to(outputs.dtype).mean()
