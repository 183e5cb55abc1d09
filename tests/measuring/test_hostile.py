"""Networks, losses and batches as other people write them; what cannot be measured is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.prune import l1_unstructured
from torch.utils.checkpoint import checkpoint

from bnexp import measure
from bnexp.errors import UserError
from bnexp.models import Layer
from bnexp.models.module import outputs_and_targets
from tests.measuring.networks import LOSS, Language, convolutions, images, state, tokens
from tests.measuring.test_measure import Reference
from tests.probes.test_no_trace import same

SMALL: dict[str, dict[str, Any]] = {
    "train": {}, "landscape": {"etas": [1e-300, 1.0]}, "curvature": {}, "moments": {"units": 2},
    "gradient_shift": {}, "activations": {"samples": 4}, "sharpness": {"max_iterations": 2},
}  # fmt: skip


def x(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def classes(*shape: int) -> Tensor:
    return torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(4))


class Recurrent(nn.Module):
    """An LSTM with dropout between its layers, and logits of its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, 2, batch_first=True, dropout=0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, values: Tensor) -> tuple[Tensor, Any]:
        out, rest = self.lstm(values)
        return self.head(out[:, -1]), rest


class Stateful(nn.Module):
    """Carries a hidden state from pass to pass, counts, draws from NumPy, normalises by its own
    running mean, shares one map between two places, and writes to a list and to plain tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, 3)
        self.hidden, self.count = torch.zeros(4), 0
        self.seen, self.total = [], torch.zeros(())
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, values: Tensor) -> Tensor:
        import numpy as np

        self.count += 1
        values = self.inner(self.inner(values).relu()) + self.hidden
        self.mean += 0.5 * (values.detach().mean(0) - self.mean)
        self.hidden = values.detach().mean(0)
        self.newest = values
        self.seen.append(values.detach().mean())
        self.total += len(self.seen)
        values = values * self.total + sum(self.seen)
        return self.out((values - self.mean) * np.random.uniform(0.5, 1.5))  # noqa: NPY002


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.out, self.reentrant = nn.Linear(4, 4), nn.Linear(4, 3), reentrant

    def forward(self, values: Tensor) -> Tensor:
        part = nn.Sequential(self.inner, nn.Tanh())
        return self.out(checkpoint(part, values.requires_grad_(), use_reentrant=self.reentrant))


class Exponential(torch.autograd.Function):
    """What autograd says of its second derivative is 0."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.exp()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0].exp()


class OnceDifferentiable(nn.Linear):
    def forward(self, values: Tensor) -> Tensor:
        return Exponential.apply(super().forward(values))


class Auxiliary(nn.Module):
    """Two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.extra = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return self.main(values), self.extra(values)


class Centred(nn.Module):
    """A loss with a buffer that it moves, and that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, out: Tensor, target: Tensor) -> Tensor:
        self.count += 1
        self.centre.lerp_(out.detach().mean(0), 0.5)
        return LOSS(out - self.centre, target) * self.count


class Keywords(nn.Module):
    """As language models are called: by keywords, with the loss among what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Language(tied=True)

    def forward(self, tokens: Tensor, labels: Tensor) -> Any:
        logits = self.net(tokens)
        return SimpleNamespace(loss=F.cross_entropy(logits, labels), logits=logits)


def spectral() -> nn.Module:
    norm = nn.utils.parametrizations.spectral_norm
    return nn.Sequential(norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 3))


def weight_normed() -> nn.Module:
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(norm(nn.Linear(4, 5)), nn.ReLU(), norm(nn.Linear(5, 3)))


def instance() -> nn.Module:
    norm = nn.InstanceNorm1d(2, affine=True, track_running_stats=True)
    model = nn.Sequential(nn.Conv1d(1, 2, 2), norm, nn.Flatten(), nn.Linear(6, 3))
    norm.running_mean.fill_(0.5)
    return model.eval()


def with_compiled_parts() -> nn.Module:
    model = convolutions().float()
    model[0], model[-1] = torch.compile(model[0]), torch.compile(model[-1])
    return torch.compile(nn.DataParallel(torch.compile(model)))


def penalised(model: nn.Module) -> Any:
    return lambda out, target: LOSS(out, target) + sum(p.square().sum() for p in model.parameters())


def first(loss: Any) -> Any:
    return lambda out, target: loss(out[0], target)


CASES: dict[str, Callable[[], tuple[nn.Module, Any, Any]]] = {
    "lstm, returns a tuple": lambda: (Recurrent(), first(LOSS), (x(5, 6, 3), classes(5))),
    "state outside buffers, a shared module": lambda: (Stateful(), LOSS, (x(6, 4), classes(6))),
    "keywords, tied weights, its own loss": lambda: (
        Keywords(), lambda out, _: out.loss, dict(zip(("tokens", "labels"), tokens(), strict=True)),
    ),
    "spectral norm": lambda: (spectral(), LOSS, (x(6, 4), classes(6))),
    "weight norm": lambda: (weight_normed(), LOSS, (x(6, 4), classes(6))),
    "instance norm in evaluation mode": lambda: (instance(), LOSS, (x(5, 1, 4), classes(5))),
    "a regulariser over the model's own parameters": lambda: (
        (model := convolutions()), penalised(model), images(side=8),
    ),
    "transposed convolution, regression": lambda: (
        nn.Sequential(nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)),
        F.mse_loss, [x(4, 2, 3, 3), x(4, 3, 5, 5)],
    ),
    "norm before the map, groups, no bias": lambda: (
        nn.Sequential(nn.GroupNorm(1, 2), nn.ReLU(), nn.Conv1d(2, 4, 2, groups=2, bias=False),
                      nn.Flatten(), nn.Linear(12, 3)), LOSS, (x(5, 2, 4), classes(5)),
    ),
    "bilinear map of two inputs": lambda: (
        nn.Bilinear(3, 4, 3), LOSS, ((x(5, 3), x(5, 4)), classes(5)),
    ),
    "compiled": lambda: (with_compiled_parts(), LOSS, _single(images(side=8))),
    "a head that the loss leaves out": lambda: (Auxiliary(), first(LOSS), (x(6, 4), classes(6))),
    "embeddings that are cut to a length": lambda: (
        nn.Sequential(nn.Embedding(3, 4, max_norm=0.5), nn.Linear(4, 3)), LOSS,
        (classes(6), classes(6)),
    ),
}  # fmt: skip


def _single(batch: Any) -> Any:
    return batch[0].float(), batch[1]


@pytest.mark.parametrize("name", CASES)
def test_it_is_measured_at_one_function_and_left_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    model, loss, batch = CASES[name]()
    before = state(model)
    probes = dict(SMALL)
    if name.startswith("bilinear"):
        with pytest.raises(UserError, match="probes: expected some that need no layer"):
            measure(model, loss, batch, probes)
        probes = {n: o for n, o in SMALL.items() if n in ("train", "landscape", "sharpness")}
    tables = measure(model, loss, batch, probes, lr=0.05)
    after = state(model)
    for key, value in before.items():
        assert same(after[key], value), key
    near, far = tables["landscape"].to_dict("records")
    assert near["loss"] == tables["train"].loss[0]
    assert near["predictiveness"] == 0.0, "the same function at every point"
    assert far["loss"] < near["loss"]
    again = measure(model, loss, batch, {"train": {}}, lr=0.05)["train"]
    assert again.equals(tables["train"])
    if name == "compiled":
        return  # on its own it would be, which takes long
    own = loss(*outputs_and_targets(model, batch))
    own.backward()
    length = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    assert float(own.detach()) == pytest.approx(near["loss"], rel=1e-5)
    assert float(length) == pytest.approx(tables["train"].grad_norm[0], rel=1e-4)


def test_a_loss_with_a_state_of_its_own_is_left_as_it_was() -> None:
    loss, model = Centred(), linear()
    tables = measure(model, loss, PAIR, {"landscape": {"etas": [1e-30]}, "train": {}})
    assert tables["landscape"].loss.tolist() == tables["train"].loss.tolist()
    assert (loss.count, loss.centre.tolist()) == (0, [0.0] * 3)


def pruned(module: nn.Module) -> nn.Module:
    return l1_unstructured(module, "weight", amount=0.3)


@pytest.mark.parametrize("wrap", [
    pruned, nn.utils.spectral_norm, nn.utils.parametrizations.orthogonal,
    nn.utils.parametrizations.spectral_norm, nn.utils.parametrizations.weight_norm,
])  # fmt: skip
def test_reparametrised_maps_are_layers(wrap: Any) -> None:
    model = nn.Sequential(wrap(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 3))
    assert measure(model, LOSS, PAIR, ("train",))["layers"].affine.tolist() == ["0", "2"]


@pytest.mark.parametrize("affine", [nn.Linear(4, 3), nn.Conv1d(2, 3, 2)])
def test_of_a_sample_without_a_batch_units_are_what_they_are_in_one(affine: nn.Module) -> None:
    one = x(4) if isinstance(affine, nn.Linear) else x(2, 5)
    single, batch = (
        measure(affine, lambda out, _: out.square().sum(), (values, 0), ("moments",))
        for values in (one, one[None])
    )
    for table, rows in batch.items():
        pd.testing.assert_frame_equal(single[table], rows)


def test_a_regulariser_is_taken_at_the_probed_point() -> None:
    model, batch = convolutions(), images(side=8)
    here = Reference(model, batch)
    tables = measure(model, penalised(model), batch, {"landscape": {"etas": [2.0]}}, lr=0.1)
    twice = {n: 2 * p for n, p in here.theta.items()}
    g = {n: part + twice[n] for n, part in here.gradient(here.theta).items()}
    point = {n: p - 0.2 * g[n] for n, p in here.theta.items()}
    loss = here.loss(point) + sum(p.square().sum() for p in point.values())
    assert tables["landscape"].loss[0] == pytest.approx(float(loss), rel=1e-9)


def test_shared_weights_are_one_layer_and_frozen_ones_none() -> None:
    model = Language(tied=True).double()
    model.encoder.layers[0].linear1.weight.requires_grad_(False)
    layers = measure(model, LOSS, tokens(), ("moments",))["layers"]
    paths = [f"encoder.layers.{i}.linear{j}" for i, j in ((0, 2), (1, 1), (1, 2))]
    assert layers.affine.tolist() == [*paths, "head"]
    named = measure(model, LOSS, tokens(), ("moments",), layers=[paths[1], paths[0]])["layers"]
    assert named.affine.tolist() == paths[:2], "numbered in the order of the forward pass"


def test_a_norm_after_the_non_linearity_does_not_make_it_the_pre_activation() -> None:
    parts = [nn.Linear(4, 4), nn.ReLU(inplace=True), nn.BatchNorm1d(4), nn.Linear(4, 3)]
    tables = measure(nn.Sequential(*parts), LOSS, (x(6, 4), classes(6)), ("moments",))
    assert tables["layers"].norm.tolist() == ["", ""]
    out = parts[0](x(6, 4)).mean(0).tolist()
    assert tables["moments"]["mean"][:4].tolist() == pytest.approx(out, rel=1e-5)


def linear(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3, **options))


PAIR = (x(6, 4), classes(6))
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "half": ({"model": linear(dtype=torch.half)}, "model: expected parameters in float32 or flo"),
    "no parameters": ({"model": nn.ReLU()}, "model: expected parameters that require a gradient"),
    "all frozen": ({"model": linear().requires_grad_(False)}, "model: expected parameters that re"),
    "lazy": ({"model": nn.LazyLinear(3)}, "model: expected parameters with a shape"),
    "sparse": ({"model": nn.Embedding(9, 3, sparse=True)}, "model: expected dense gradients"),
    "a function": ({"model": len}, "model: expected a torch.nn.Module"),
    "a triple": ({"batch": (*PAIR, 1)}, "batch: expected \\(inputs, targets\\).* got 'tuple of 3'"),
    "no scalar": (
        {"loss_fn": nn.CrossEntropyLoss(reduction="none")},
        "loss_fn: expected a scalar tensor.*got 'shape \\(6,\\)'",
    ),
    "a float": ({"loss_fn": lambda out, y: 1.0}, "loss_fn: expected a scalar tensor.* got 'float"),
    "not finite": ({"loss_fn": lambda out, y: out.sum() * torch.inf}, "loss_fn: expected a finite"),
    "unknown probe": ({"probes": ("landscpe",)}, "did you mean landscape"),
    "a probe's option": ({"probes": {"landscape": {"eta": [1]}}}, "did you mean probes.landscape"),
    "eval": ({"probes": ("eval",)}, "probes: expected one of"),
    "a string": ({"probes": "landscape"}, "probes: expected names"),
    "lr": ({"lr": 0.0}, "lr: expected a positive number"),
    "no such layer": ({"layers": ["1"]}, "layers: expected module paths"),
    "no affine layer": ({"layers": [""]}, "layers: expected"),
    "layer number": (
        {"probes": {"gradient_shift": {"layers": [4]}}},
        "probes.gradient_shift.layers: expected",
    ),
    "no such norm": ({"layers": [Layer("0", "1")]}, "layers: expected module paths"),
    "checkpoints": ({"model": Checkpointed(False)}, "model: expected a forward pass without grad"),
    "checkpoints, reentrant": (
        {"model": Checkpointed(True)},
        "model: expected a forward pass with",
    ),
    "no second derivative": ({"model": OnceDifferentiable(4, 3)}, "model: .* differentiated twice"),
    "gradients in the loss": (
        {
            "loss_fn": lambda out, y: torch.autograd.grad(out.sum(), out)[0].sum() + out.mean(),
            "probes": ("mode_gap",),
        },
        "probes.mode_gap: expected a model and loss that it can be measured on; got",
    ),
    "float16": ({"autocast": torch.float16}, "autocast: expected torch.bfloat16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused_in_one_line(name: str) -> None:
    given, words = REFUSED[name]
    arguments = {"model": linear(), "loss_fn": LOSS, "batch": PAIR, **given}
    with pytest.raises(UserError, match=words) as error:
        measure(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["densenet121", "mobilenet_v3_small", "vit_b_16", "googlenet", "convnext_tiny"]
)
def test_the_layers_of_torchvisions_networks_are_found(name: str) -> None:
    """On torch's device ``meta`` nothing is computed, so shapes and order are all there is."""
    from bnexp.models.module import ModuleNetwork

    with torch.device("meta"):
        more = {"init_weights": False} if name == "googlenet" else {}
        model = torchvision.models.get_model(name, num_classes=3, **more)
        batch = torch.empty(2, 3, 224, 224), torch.empty(2, dtype=torch.long)
    loss = first(LOSS) if name == "googlenet" else LOSS
    found = ModuleNetwork(model, loss, batch)
    affine = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    attention = sum(isinstance(m, nn.MultiheadAttention) for m in model.modules())
    assert len(found.layers) == len(affine) - attention, (
        "attention calls its output map as a function"
    )
    numbers = [found.layer_of[p] for p in found.own_params]
    assert set(numbers) == set(found.layers)
