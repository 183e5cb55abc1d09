"""Any torch module as a `Network`: layers found by one forward pass, every pass replayed."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy

from bnexp.models.network import Layer, Network
from bnexp.norms import at_least_float32
from bnexp.objective import Evaluation, Objective, Params, SecondOrder, accuracy
from bnexp.registry import expect

LossFn = Callable[[Any, Any], Tensor]
"""From a model's outputs and the targets to a scalar."""

Forward = Callable[[nn.Module, Any], tuple[Any, Any]]
"""From a model and a batch to the model's outputs and the targets."""

AFFINE = (nn.Linear, nn.modules.conv._ConvNd)
"""Modules that are layers of their own accord: also transposed convolutions."""

WEIGHTS = (
    *("weight", "weight_v", "weight_orig"),
    *(f"parametrizations.weight.original{i}" for i in ("1", "", "0")),
)
"""W_i of an affine module, also under torch's reparametrisations: of weight_norm its direction."""

LOSS_WORDS = "a scalar tensor that depends on the model's parameters"

CHECKPOINT = "torch.utils.checkpoint"
NO_CHECKPOINTS = "a forward pass without gradient checkpointing (forward= can turn it off)"

STATEFUL = ("training", "track_running_stats")
"""Attributes of modules that are the caller's to set from one pass to the next."""

CONTAINERS = (list, dict, set, deque)
"""Kinds of attributes that a forward pass may write into, as into plain tensors."""


class GivenLoss(Objective):
    """The objective of a `ModuleNetwork`, whose outputs are the loss: all its terms included."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:  # noqa: ARG002
        return outputs


def outputs_and_targets(model: nn.Module, batch: Any) -> tuple[Any, Any]:
    """Of a batch ``(inputs, targets)``: ``inputs`` a tensor, a tuple or list of positional or a
    mapping of keyword arguments. Of a mapping, which is all keyword arguments, itself."""
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    got = type(batch).__name__ + (f" of {len(batch)}" if isinstance(batch, tuple | list) else "")
    expected = "(inputs, targets) or a mapping of the model's arguments; forward= takes any other"
    expect(pair or isinstance(batch, Mapping), "batch", expected, got)
    inputs, targets = batch if pair else (batch, batch)
    if isinstance(inputs, Mapping):
        return model(**inputs), targets
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs), targets


class ModuleNetwork(Network):
    """``module`` with its loss: a pass takes a batch and returns the loss, a scalar.

    Its parameters are those of ``module`` that require a gradient; a shared one is a single one.
    Every pass starts from what `remember` saw last: buffers, random streams (torch, NumPy, Python)
    and attributes of the modules. So dropout has one mask at all points, and whatever a module
    moves in its forward pass, it moves in a copy.

    Layers are the affine modules that the forward pass calls, in order of their first call, each
    with the normalisation that is called on its very output. A parameter of another module belongs
    to the last layer that was called before that module was. Pre-activations of a linear layer on
    ``(batch, .., units)`` are taken as ``(batch, units, ..)``; of a module that is called several
    times, those of its last call. Attention uses torch's plain formula, which alone can be
    differentiated twice.
    """

    def __init__(
        self,
        module: nn.Module,
        loss_fn: LossFn,
        batch: Any,
        *,
        layers: Sequence[str | Layer] | None = None,
        forward: Forward | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.module: nn.Module = _unwrapped(module)
        self._loss_fn, self._forward = loss_fn, forward or outputs_and_targets
        self.autocast, self._accuracy = autocast, torch.tensor(torch.nan)
        self._check()
        self.remember()
        if isinstance(module, Network) and layers is None:
            layers = list(module.layers.values())
        self._find(batch, layers)

    def _check(self) -> None:
        """Refuse what cannot be measured."""
        kind = type(self.module).__name__
        eager = isinstance(self.module, nn.Module) and not isinstance(
            self.module, torch.jit.ScriptModule
        )
        expect(eager, "model", "a torch.nn.Module in Python, not in TorchScript", kind)
        lazy = [name for name, p in self.module.named_parameters() if is_lazy(p)]
        expect(not lazy, "model", "parameters with a shape; run a batch through it first", lazy[:1])
        expect(bool(self.own_params), "model", "parameters that require a gradient", "none")
        dtypes = {str(parameter.dtype) for parameter in self.own_params.values()}
        wide = dtypes <= {"torch.float32", "torch.float64"}
        words = "parameters in float32 or float64; a copy can be measured: deepcopy(model).float()"
        expect(wide, "model", words, ", ".join(sorted(dtypes)))
        sparse = [name for name, m in self.module.named_modules() if getattr(m, "sparse", False)]
        expect(not sparse, "model", "dense gradients (sparse=False)", sparse[:1])
        ok = self.autocast in (None, torch.bfloat16)
        expect(ok, "autocast", "torch.bfloat16 or None (float16 needs a loss scale)", self.autocast)

    @cached_property
    def own_params(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, batch: Any) -> Tensor:
        outputs, targets = self._forward(self.module, batch)
        self._accuracy = _accuracy(outputs, targets)
        loss = self._loss_fn(outputs, targets)
        ok = isinstance(loss, Tensor) and loss.numel() == 1 and not loss.is_complex()
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        expect(ok, "loss_fn", LOSS_WORDS, got)
        return loss.reshape(())

    def is_current(self) -> bool:
        """Whether the same parameters are to be trained as when it was made."""
        now = {name: p for name, p in self.named_parameters() if p.requires_grad}
        return {n: id(p) for n, p in now.items()} == {n: id(p) for n, p in self.own_params.items()}

    def remember(self) -> None:
        """From now on passes start from the present state."""
        self._buffers_then = {name: buffer.clone() for name, buffer in self.named_buffers()}
        self._state_then = self._state()

    def _state(self) -> tuple[Any, ...]:
        """Random streams, and the attributes of the modules."""
        kinds = {p.device for p in self.own_params.values()}
        devices = [device for device in kinds if device.type == "cuda"]
        streams = [torch.cuda.get_rng_state(device) for device in devices]
        parts = [m for m in self.modules() if m is not self]
        attributes = [
            (vars(m), {k: (v, _content(k, v)) for k, v in vars(m).items()}) for m in parts
        ]
        rest = random.getstate(), np.random.get_state()  # noqa: NPY002 - what a model may draw from
        return torch.get_rng_state(), dict(zip(devices, streams, strict=True)), *rest, attributes

    def _go_to(self, state: tuple[Any, ...]) -> None:
        stream, streams, python, numpy, attributes = state
        torch.set_rng_state(stream)
        for device, values in streams.items():
            torch.cuda.set_rng_state(values, device)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        copies: dict[int, Tensor] = {}  # for one pass each, whose graph may need them
        for now, then in attributes:
            for name in now.keys() - then.keys():
                del now[name]
            for name, (value, content) in then.items():
                if name in STATEFUL:
                    continue
                now[name] = value
                if content is not None and isinstance(value, CONTAINERS):
                    value.clear()
                    (value.extend if isinstance(value, list | deque) else value.update)(content)
                elif content is not None and state is self._state_then:
                    now[name] = copies.setdefault(id(value), content.clone())

    @contextmanager
    def _replayed(self) -> Iterator[None]:
        before, cudnn = self._state(), torch.backends.cudnn.enabled
        self._go_to(self._state_then)
        # recurrent networks in cuDNN cannot be differentiated twice
        if any(isinstance(part, nn.RNNBase) for part in self.parts):
            torch.backends.cudnn.enabled = False
        try:
            with sdpa_kernel(SDPBackend.MATH), _eager():
                yield
        finally:
            torch.backends.cudnn.enabled = cudnn
            self._go_to(before)

    def outputs(
        self,
        x: Any,
        params: Params | None = None,
        *,
        plain: bool = False,  # noqa: ARG002
        **part: Any,
    ) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in self._buffers_then.items()}
        point = {**(self.own_params if params is None else params), **buffers}
        kind = next(iter(point.values())).device.type
        cast = (
            torch.autocast(kind, self.autocast, self.autocast is not None, cache_enabled=False)
            if torch.amp.is_autocast_available(kind)
            else nullcontext()
        )
        with self._replayed(), cast, _without_checkpoints():
            loss = at_least_float32(functional_call(self, point, (x,), part))
        # of parameters that the loss does not depend on the gradient is 0
        constant = torch.is_grad_enabled() and not loss.requires_grad
        return loss.requires_grad_() if constant else loss

    def evaluate(self, objective: Objective, *batch: Any, **options: Any) -> Evaluation:
        here = super().evaluate(objective, *batch, **options)
        return replace(here, accuracy=self._accuracy)

    def second_order(self, *args: Any, **options: Any) -> SecondOrder:
        there = super().second_order(*args, **options)
        # marked once_differentiable: what autograd says of a derivative through it is 0
        once = "torch::autograd::Error" in _nodes(there._gradient)
        expect(not once, "model", "one that can be differentiated twice", "once_differentiable")
        return there

    def preactivation(self, number: int, out: Tensor) -> Tensor:
        values = at_least_float32(out.detach().clone())  # what follows may work in place
        dim = self._unit_dims[number]
        return (values[None] if values.dim() == -dim else values).movedim(dim, 1)

    def weight_name(self, number: int) -> str:
        return self._weights[number]

    def weight_names(self) -> list[str]:
        """Of a network without layers, all parameters."""
        return [*self._weights.values()] or list(self.own_params)

    def units(self, number: int) -> int:
        return self._units[number]

    @property
    def layer_paths(self) -> dict[str, list[Any]]:
        """Columns: number, module paths of affine map and norm, and units of every layer."""
        paths = [
            [(path or "").removeprefix("module.") for path in layer]
            for layer in self.layers.values()
        ]
        columns = {"affine": [affine for affine, _ in paths], "norm": [norm for _, norm in paths]}
        units = [self._units[number] for number in self.layers]
        return {"layer": [*self.layers], **columns, "units": units}

    def _find(self, batch: Any, layers: Sequence[str | Layer] | None) -> None:
        """Number the layers, by one forward pass."""
        modules = {m: name for name, m in self.named_modules(remove_duplicate=True)}
        named = None if layers is None else [Layer(n) if isinstance(n, str) else n for n in layers]
        paths = {layer.affine: layer for layer in named or ()}
        for path in [*paths, *(layer.norm for layer in paths.values() if layer.norm)]:
            there = f"module.{path}" in modules.values()
            expect(there, "layers", "module paths of the model, as in named_modules()", path)
        own = {id(p): name for name, p in self.own_params.items()}
        every = self.named_parameters(remove_duplicate=False)  # a shared one has several names
        names = {n: own[id(p)] for n, p in every if id(p) in own and p.dim() > 1}
        calls: list[str] = []
        found: dict[str, tuple[Tensor, int, int]] = {}  # output, its version, its units' dimension
        norms: dict[str, str] = {}

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if modules[module] not in calls:
                calls.append(modules[module])
            whole = any(isinstance(part, AFFINE) for part in module.modules())
            if "norm" in type(module).__name__.lower() and not whole and args:
                for path, (out, version, _) in found.items():
                    if args[0] is out and out._version == version:
                        norms.setdefault(path, modules[module])

        def after(module: nn.Module, _args: object, out: Any) -> None:
            path = modules[module]
            wanted = isinstance(module, AFFINE) if named is None else path[7:] in paths
            if wanted and isinstance(out, Tensor) and weight(path) is not None:
                positions = 0
                if isinstance(module, nn.modules.conv._ConvNd):
                    positions = len(module.kernel_size)
                found[path] = (out, out._version, -1 - positions)

        def weight(path: str) -> str | None:
            return next((names[n] for kind in WEIGHTS if (n := f"{path}.{kind}") in names), None)

        hooks = [module.register_forward_pre_hook(before) for module in modules if module != self]
        hooks += [module.register_forward_hook(after) for module in modules if module != self]
        try:
            with torch.enable_grad():  # of copies: some modules write to their parameters
                point = {n: p.detach().clone().requires_grad_() for n, p in self.own_params.items()}
                loss = self.outputs(batch, point)
            expect(loss.grad_fn is not None, "loss_fn", LOSS_WORDS, "one that does not")
            reentrant = "CheckpointFunctionBackward" in _nodes([loss])
            expect(not reentrant, "model", NO_CHECKPOINTS, CHECKPOINT)
        finally:
            for hook in hooks:
                hook.remove()
        for path in paths:
            words = "affine modules that the forward pass calls, with a weight to be trained"
            expect(f"module.{path}" in found, "layers", words, path)
        order = [path for path in calls if path in found]
        first = {weight(path): path for path in reversed(order)}  # a shared weight: its first layer
        order = [path for path in order if first[weight(path)] == path]
        given = {f"module.{path}": layer.norm for path, layer in paths.items() if layer.norm}
        named_norms = norms | {path: f"module.{norm}" for path, norm in given.items()}
        self.number(Layer(path, named_norms.get(path)) for path in order)
        self._weights = {i: str(weight(path)) for i, path in enumerate(order, start=1)}
        self._units = {i: found[path][0].shape[found[path][2]] for i, path in enumerate(order, 1)}
        self._unit_dims = {i: found[path][2] for i, path in enumerate(order, start=1)}
        self._order = calls

    @cached_property
    def layer_of(self) -> dict[str, int]:
        number, by_module = 1, {}
        begin = {layer.affine: i for i, layer in self.layers.items()}
        for path in self._order:
            by_module[path] = number = begin.get(path, number)
        by_module |= {layer.norm: i for i, layer in self.layers.items() if layer.norm}
        by_weight = {name: i for i, name in self._weights.items()}

        def owner(name: str) -> int:
            path = name.rpartition(".")[0]
            while path and path not in by_module:
                path = path.rpartition(".")[0]
            return by_module.get(path, 1)

        return {name: by_weight.get(name) or owner(name) for name in self.own_params}


def _accuracy(outputs: Any, targets: Any) -> Tensor:
    """As `accuracy`; NaN where outputs and targets are not those of a classification."""
    if isinstance(outputs, Tensor) and isinstance(targets, Tensor):
        classes = outputs.dim() > 1 and not (targets.is_floating_point() or targets.is_complex())
        if classes and targets.shape == outputs.shape[:1] + outputs.shape[2:]:
            return accuracy(at_least_float32(outputs.detach()), targets)
    return torch.tensor(torch.nan)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Without torch.compile and the wrappers that spread a batch over devices."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    inner = module.module if isinstance(module, parallel) else getattr(module, "_orig_mod", module)
    return inner if inner is module else _unwrapped(inner)


def _content(name: str, value: Any) -> Any:
    """A copy of what a forward pass may write into the attribute ``name``; None of others."""
    if isinstance(value, Tensor):
        return None if value.requires_grad else value.clone()
    if not isinstance(value, CONTAINERS) or "hook" in name:  # hooks capture pre-activations
        return None
    return dict(value) if isinstance(value, dict) else list(value)


def _eager() -> AbstractContextManager[Any]:
    """Run what torch.compile made as it is written, so that it can be differentiated twice."""
    used = "torch._dynamo" in sys.modules  # else it would be imported, which takes seconds
    return torch.compiler.set_stance("force_eager") if used else nullcontext()


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """Refuse gradient checkpointing: it runs parts again in the backward pass, and by then the
    module has its own parameters back."""
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(CHECKPOINT):
            yield
    except RuntimeError as error:
        expect(CHECKPOINT not in str(error), "model", NO_CHECKPOINTS, CHECKPOINT)
        raise


def _nodes(tensors: Iterable[Tensor]) -> set[str]:
    """Names of the nodes in the graph that ``tensors`` come from."""
    nodes, seen = [tensor.grad_fn for tensor in tensors], set[Any]()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
    return {node.name() for node in seen}
