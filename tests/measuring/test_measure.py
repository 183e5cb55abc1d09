"""`measure` on torchvision's ResNet-18 and a transformer, against torch.func and curvlinops."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from curvlinops import HessianLinearOperator
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models.feature_extraction import create_feature_extractor

from bnexp import measure
from bnexp.objective import Objective
from tests.helpers import Draws, measured, network, probe, trainer
from tests.measuring.networks import LOSS, convolutions, images, resnet18, state, transformer
from tests.probes.test_no_trace import same

LR = 0.05
ETAS = [0.5, 2.0]
every_model = pytest.mark.parametrize("make", [resnet18, transformer])
Theta = dict[str, Tensor]


class Reference:
    """A loss as a function of the parameters, by torch.func; BN with the batch's statistics."""

    def __init__(self, model: nn.Module, batch: Any) -> None:
        self.model, self.batch = copy.deepcopy(model), batch
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
        self.theta = {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def loss(self, theta: Theta) -> Tensor:
        inputs, targets = self.batch
        with sdpa_kernel(SDPBackend.MATH):
            return LOSS(functional_call(self.model, theta, (inputs,)), targets)

    def gradient(self, theta: Theta) -> Theta:
        return grad(self.loss)(theta)


def length(parts: Theta) -> float:
    return float(torch.cat([part.flatten() for part in parts.values()]).norm())


@every_model
def test_landscape_and_curvature_are_those_of_torch_func(make: Callable[[], Any]) -> None:
    model, batch = make()
    tables = measure(model, LOSS, batch, {"landscape": {"etas": ETAS}, "curvature": {}}, lr=LR)
    here = Reference(model, batch)
    g = here.gradient(here.theta)
    for row, multiple in zip(tables["landscape"].itertuples(), ETAS, strict=True):
        eta = multiple * LR
        point = {name: value - eta * g[name] for name, value in here.theta.items()}
        there = here.gradient(point)
        change = length({name: there[name] - g[name] for name in g})
        assert row.eta == eta
        assert row.loss == pytest.approx(float(here.loss(point)), rel=1e-9)
        assert row.predictiveness == pytest.approx(change, rel=1e-8)
        assert row.beta == pytest.approx(change / (eta * length(g)), rel=1e-8)
    _, hg = jvp(here.gradient, (here.theta,), (g,))
    (row,) = tables["curvature"].itertuples()
    along = sum(float((g[name] * hg[name]).sum()) for name in g)
    assert row.curvature == pytest.approx(along / length(g) ** 2, rel=1e-7)
    assert row.beta_0 == pytest.approx(length(hg) / length(g), rel=1e-7)
    assert row.param_norm == pytest.approx(length(here.theta))


RESNET_ORDER = ["conv1", *(f"layer{s}.{b}.conv{c}" for s in "1234" for b in "01" for c in "12")]
"""torchvision's names; the projections come after the second convolution of their block."""


@every_model
def test_the_gradient_shift_is_definition_2_1(make: Callable[[], Any]) -> None:
    model, batch = make()
    here = Reference(model, batch)
    model_layers = [1, 6, 21] if make is resnet18 else "all"
    tables = measure(model, LOSS, batch, {"gradient_shift": {"layers": model_layers}}, lr=LR)
    layers, rows = tables["layers"], tables["gradient_shift"].set_index("layer")
    assert rows.loc[1, ["l2", "cos"]].tolist() == [0.0, 1.0]
    g = here.gradient(here.theta)
    after = {name: value - LR * g[name] for name, value in here.theta.items()}
    names, early = list(here.theta), "encoder.layers.1.norm1"  # listed after linear1, used before
    paths = ["layer2.0.conv1", "fc"] if make is resnet18 else ["encoder.layers.1.linear1"]
    for path in paths:
        first = names.index(f"{path}.weight")
        preceding = {n for n in names if names.index(n) < first or n.startswith(early)}
        mixed = {n: after[n] if n in preceding else here.theta[n] for n in names}
        weight = f"{path}.weight"
        old, new = g[weight], here.gradient(mixed)[weight]
        row = rows.loc[layers.set_index("affine").layer[path]]
        assert row.l2 == pytest.approx(float((old - new).norm()), rel=1e-8)
        cosine = torch.nn.functional.cosine_similarity(old.flatten(), new.flatten(), dim=0)
        assert row.cos == pytest.approx(float(cosine), rel=1e-8)
        assert row.grad_norm == pytest.approx(float(old.norm()), rel=1e-9)


def test_layers_are_numbered_in_the_order_of_the_forward_pass_with_their_norms() -> None:
    model, batch = resnet18()
    layers = measure(model, LOSS, batch, ("moments",))["layers"]
    plain = layers[~layers.affine.str.contains("downsample")]
    assert plain.affine.tolist() == [*RESNET_ORDER, "fc"]
    assert plain.norm.tolist() == [name.replace("conv", "bn") for name in RESNET_ORDER] + [""]
    after = layers.affine.shift()[layers.affine == "layer2.0.downsample.0"]
    assert after.tolist() == ["layer2.0.conv2"]
    assert layers.norm[layers.affine == "layer2.0.downsample.0"].tolist() == [
        "layer2.0.downsample.1"
    ]
    assert layers.units.tolist()[:2] == [64, 64]


def test_moments_are_taken_after_the_norm_and_before_a_relu_in_place() -> None:
    model, (inputs, targets) = resnet18()
    tables = measure(model, LOSS, (inputs, targets), ("moments",))
    numbers = tables["layers"].set_index("affine").layer
    names = {"layer1.0.conv1": "layer1.0.bn1", "layer3.1.conv2": "layer3.1.bn2", "fc": "fc"}
    traced = create_feature_extractor(copy.deepcopy(model), list(names.values()))
    with torch.no_grad():
        values = traced(inputs)
    # in the extractor, too, the ReLU after bn1 works in place; that after bn2 does not
    names.pop("layer1.0.conv1")
    for affine, norm in names.items():
        columns = values[norm].movedim(1, 0).flatten(1)
        mine = tables["moments"][tables["moments"].layer == numbers[affine]]
        assert mine["mean"].to_numpy() == pytest.approx(columns.mean(1).numpy(), abs=1e-10)
        assert mine["var"].to_numpy() == pytest.approx(columns.var(1, correction=0).numpy())
    first = tables["moments"][tables["moments"].layer == numbers["layer1.0.conv1"]]
    assert first["mean"].abs().max() < 1e-10, "BN's output with gamma 1, beta 0; not the ReLU's"


def test_units_of_a_linear_layer_on_tokens_are_its_last_dimension() -> None:
    model, (inputs, targets) = transformer()
    tables = measure(model, LOSS, (inputs, targets), ("moments",))
    layers = tables["layers"]
    assert layers.units.tolist() == [12, 8, 12, 8, 11]
    with torch.no_grad():
        x = model.encoder.layers[0].norm1(
            model.embed(inputs) + model.encoder.layers[0]._sa_block(model.embed(inputs), None, None)
        )
        values = model.encoder.layers[0].linear1(x).reshape(-1, 12)
    mine = tables["moments"][tables["moments"].layer == 1]
    assert mine["mean"].to_numpy() == pytest.approx(values.mean(0).numpy())
    assert mine["var"].to_numpy() == pytest.approx(values.var(0, correction=0).numpy())


class PlainLayerNorm(nn.LayerNorm):
    """By its formula: forward mode under vmap, which curvlinops uses, has a wrong derivative of the
    gradient of torch's own (torch 2.15)."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            self.weight * centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
            + self.bias
        )


def largest(model: nn.Module, batch: Any) -> float:
    """The largest eigenvalue of the Hessian, by ARPACK on curvlinops' operator."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.__class__ = PlainLayerNorm
    params = [p for p in model.parameters() if p.requires_grad]
    with sdpa_kernel(SDPBackend.MATH):
        operator = HessianLinearOperator(
            model, LOSS_MODULE, params, [batch], check_deterministic=False
        )
        (value,) = eigsh(operator.to_scipy(), k=1, which="LA", tol=1e-6, return_eigenvectors=False)
    return float(value)


LOSS_MODULE = nn.CrossEntropyLoss()


def head_of_resnet18() -> tuple[nn.Module, Any]:
    """Its last block and head to be trained, in evaluation mode: few enough for ARPACK."""
    model, batch = resnet18()
    model.eval().requires_grad_(False)
    for part in (model.fc, *(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))):
        part.requires_grad_(True)
    return model, batch


@pytest.mark.parametrize("make", [head_of_resnet18, transformer])
def test_sharpness_is_arpacks_on_curvlinops_operator(make: Callable[[], Any]) -> None:
    model, batch = make()
    options = {"sharpness": {"tolerance": 1e-5, "max_iterations": 200}}
    (row,) = measure(model, LOSS, batch, options)["sharpness"].itertuples()
    assert row.converged
    assert row.sharpness == pytest.approx(largest(model, batch), rel=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (convolutions(nn.Dropout(0.3)), images(side=8)),
        lambda: transformer(dropout=0.2),
    ],
)
def test_measuring_leaves_no_trace(make: Callable[[], Any]) -> None:
    model, batch = make()
    frozen, kept, *_ = model.parameters()
    frozen.requires_grad_(False)
    kept.grad = torch.ones_like(kept)
    list(model.modules())[3].eval()
    before = state(model)
    options = {"sharpness": {"max_iterations": 2}, "landscape": {"etas": [1.0]}}
    rest = ("curvature", "moments", "activations", "train", "gradient_shift")
    measure(model, LOSS, batch, {**options, **{name: {} for name in rest}})
    after = state(model)
    for name, value in before.items():
        assert same(after[name], value), name


def test_autocast_multiplies_in_bfloat16_as_torchs() -> None:
    model, (inputs, targets) = convolutions().float(), images(side=8, dtype=torch.float32)
    rows = {cast: measure(model, LOSS, (inputs, targets), ("train",), autocast=cast)["train"]
            for cast in (None, torch.bfloat16)}  # fmt: skip
    with torch.autocast("cpu", torch.bfloat16):
        expected = float(LOSS(model(inputs), targets).detach())
    assert rows[torch.bfloat16].loss[0] == expected != rows[None].loss[0]


def test_random_directions_are_those_of_the_seed() -> None:
    model, batch = convolutions(), images(side=8)
    probes = {"landscape": {"etas": [1.0], "direction": "random"}}
    losses = [
        measure(model, LOSS, batch, probes, seed=seed)["landscape"].loss[0] for seed in (0, 1, 0)
    ]
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize("norm", ["bn", "noisy_bn"])
def test_on_the_suites_own_network_it_gives_the_suites_numbers(norm: str) -> None:
    model, batch = network("vgg", norm), Draws("vgg").at(0)
    options = {n: o for name in ("landscape", "gradient_shift", "moments", "curvature", "train")
               for n, o in probe(name).items()}  # fmt: skip
    tables = measure(model, LOSS, (batch.inputs, batch.targets), options, lr=0.1)
    own = measured(
        trainer(model, Draws("vgg"), options, objective=Objective("cross_entropy"), lr=0.1), 1
    )
    assert tables.keys() - {"layers"} == own.keys()
    for name, columns in own.items():
        expected = pd.DataFrame(columns).drop(columns="step").astype(float)
        found = tables[name].astype(float)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, check_exact=False)


def test_the_package_imports_torch_only_when_it_measures() -> None:
    code = "import bnexp, sys; assert 'torch' not in sys.modules; bnexp.measure; "
    code += "assert 'torch' in sys.modules; from bnexp import measure; assert callable(measure)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(ImportError):
        from bnexp import measures  # noqa: F401
