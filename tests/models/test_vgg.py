"""The VGG's and the ResNet's shape, their initialisation and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from bnexp.errors import UserError
from bnexp.models import Network, Task, build_model, layer_count
from bnexp.norms import noises
from bnexp.objective import Objective
from bnexp.registry import MODELS
from bnexp.seeds import derive
from tests import reference
from tests.helpers import (
    NOISY,
    Draws,
    built,
    every_norm,
    model_options,
    network,
    norm_module,
    norm_options,
    theta_of,
    twin,
)
from tests.reference import VGG, vgg_layers

DEPTHS = (11, 13, 16, 19)


def weights(model: Network) -> list[torch.Tensor]:
    return [model.own_params[name].detach() for name in model.weight_names()]


def vgg16(norm: str = "none", **changes: Any) -> Network:
    return built("vgg", norm, **{"depth": 16, "width": 1 / 16, **changes})


@pytest.mark.parametrize("depth", DEPTHS)
def test_convolutions_and_pools_are_the_papers_table(depth: int) -> None:
    with torch.device("meta"):
        norms = lambda number, units: nn.Identity()  # noqa: E731
        options = model_options("vgg", depth=depth, width=1.0)
        model = MODELS["vgg"].item(options, norms, Task())
    kinds, channels = [], []
    for number, stage in zip(model.layers, model.stages.values(), strict=True):
        affine = model.affine(number)
        conv = isinstance(affine, nn.Conv2d)
        pools = any(isinstance(part, nn.MaxPool2d) for part in stage.pool.modules())
        kinds.append(("conv" if conv else "linear") + " pool" * pools)
        if conv:
            channels.append(affine.out_channels)
            assert (affine.kernel_size, affine.padding, affine.stride) == ((3, 3), (1, 1), (1, 1))
    assert kinds == vgg_layers(f"vgg{depth}")
    assert channels == [64 * int(word) for word in VGG[f"vgg{depth}"].split() if word != "P"]
    if depth == 16:  # 13 convolutions with biases and the linear head
        assert sum(p.numel() for p in model.parameters()) == 14_714_688 + 5_130


@pytest.mark.parametrize(("head", "layers"), [("linear", 14), ([32, 16], 16), ([8], 15)])
def test_the_head_counts_as_layers(head: Any, layers: int) -> None:
    model = vgg16("bn", head=head, classes=7)
    options = model_options("vgg", depth=16, head=head)
    assert len(model.layers) == layers == layer_count("vgg", options, "bn", norm_options("bn"))
    widths = [] if head == "linear" else list(head)
    linear = [i for i in model.layers if isinstance(model.affine(i), nn.Linear)]
    assert [model.units(i) for i in linear] == [*widths, 7]
    assert [model.affine(i).in_features for i in linear] == [32, *widths]
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("norm", ["none", "bn", "l1"])
def test_hidden_linear_layers_are_rectified_and_not_normalised(norm: str) -> None:
    model, x = network("vgg", norm, head=[8, 6]), Draws("vgg").at(0).inputs
    outputs, preactivations = reference.forward(twin(model, "vgg", norm, x, 0), theta_of(model), x)
    assert len(preactivations) == len(model.layers) == 11
    torch.testing.assert_close(model(x), outputs, rtol=1e-10, atol=1e-10)
    assert all(type(model.norm(i)) is type(norm_module(norm, 1)) for i in range(1, 9))
    assert all(isinstance(model.norm(i), nn.Identity) for i in (9, 10, 11))


@pytest.mark.parametrize("width", [0.5, 0.1, 1 / 1000])
def test_width_scales_every_convolution(width: float) -> None:
    model = vgg16(width=width)
    full = [64 * int(word) for word in VGG["vgg16"].split() if word != "P"]
    assert [model.units(i) for i in range(1, 14)] == [max(1, round(c * width)) for c in full]


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """fan_in and fan_out: a channel counts once per place of the kernel."""
    place = weight[0, 0].numel()
    return weight.shape[1] * place, weight.shape[0] * place


@pytest.mark.parametrize("init", ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal"])
def test_initial_weights_have_the_variance_and_tails_of_their_law(init: str) -> None:
    """Glorot: 2 / (fan_in + fan_out); He: 2 / fan_in."""
    for weight in weights(vgg16(width=1 / 2, init=init)):
        fan_in, fan_out = fans(weight)
        variance = 2 / (fan_in + fan_out) if init.startswith("glorot") else 2 / fan_in
        sampling = 6 / math.sqrt(weight.numel())
        assert float(weight.var()) == pytest.approx(variance, rel=1.4 * sampling)
        assert abs(float(weight.mean())) < sampling * math.sqrt(variance)
        largest = float(weight.abs().max()) / math.sqrt(variance)
        if init.endswith("uniform"):
            assert 0.97 * math.sqrt(3) < largest <= math.sqrt(3) * (1 + 1e-6)
        elif weight.numel() > 10_000:
            assert largest > 3


def test_torchs_own_law_and_orthogonal_weights() -> None:
    for weight, linear in zip(
        weights(vgg16(init="torch")), vgg16(init="torch").layers.values(), strict=True
    ):
        assert float(weight.abs().max()) <= 1 / math.sqrt(fans(weight)[0])
        assert linear.affine
    weight = weights(built("dln", "none", init="orthogonal"))[1]
    torch.testing.assert_close(weight @ weight.T, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("vgg", {"init": "he"}, "model.init: expected one of .*'he'"),
        ("vgg", {"depth": 12}, "model.depth: expected one of 11, 13, 16, 19; got '12'"),
        ("vgg", {"width": 0.0}, "model.width: expected a positive number"),
        ("vgg", {"head": [0]}, "model.head: expected linear or a list"),
        ("vgg", {"loss": "sum_squares"}, "model.loss"),
        ("resnet", {"stem": "mnist"}, "model.stem"),
        ("dln", {"k": 0}, "model.k: expected a number of at least 1"),
        ("dln", {"loss": "cross_entropy"}, "model.loss"),
    ],
)
def test_options_out_of_range_are_refused(
    family: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        model_options(family, **changes).check("model")


@pytest.mark.parametrize("family", ["vgg", "dln", "resnet"])
@every_norm
def test_networks_that_differ_in_their_norm_start_from_the_same_weights(
    family: str, norm: str
) -> None:
    """And building neither reads nor moves torch's random state."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model, plain = built(family, norm), weights(built(family, "none"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), plain, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights(built(family, norm)), plain, strict=True))
    gammas = {path for i in model.layers if (path := model.layers[i].norm) is not None}
    for name, parameter in model.named_parameters():
        if name not in model.weight_names():
            scale = name.endswith("weight") and any(name.startswith(f"{p}.") for p in gammas)
            assert torch.equal(parameter, torch.full_like(parameter, float(scale)))


def test_seeds_differ_and_seed_0_is_one_of_them() -> None:
    """0 is neither "no seed" nor the same as another; and no layer starts like another."""
    first, again = weights(vgg16(seed=0)), weights(vgg16(seed=0))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for seed in (1, 2, 10):
        other = weights(vgg16(seed=seed))
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    square = [weight for weight in first if weight.shape == (32, 32, 3, 3)]
    assert len(square) > 2
    for i, weight in enumerate(square):
        assert not any(torch.equal(weight, earlier) for earlier in square[:i])


def test_streams_of_a_seed_differ_by_name_and_by_seed() -> None:
    parts = [(s, *n) for s in (0, 1, 11) for n in [("a",), ("b",), ("a", 1), ("a", 11), ("a1",)]]
    derived = {derive(*names) for names in parts}
    assert len(derived) == len(parts)
    assert all(0 <= value < 2**63 for value in derived)


@pytest.mark.parametrize("norm", NOISY)
def test_every_layer_and_seed_has_noise_of_its_own(norm: str) -> None:
    streams = [noise.seed for seed in (0, 1) for noise in noises(vgg16(norm, seed=seed))]
    assert len(set(streams)) == len(streams) == 2 * 13


def test_a_model_without_layers_is_refused() -> None:
    MODELS.register("bare")(lambda options, norm, task: Network())
    try:
        with pytest.raises(UserError, match="expected numbered layers; model=bare has none"):
            build_model("bare", MODELS["bare"].options(), "none", norm_options("none"), Task(), 0)
    finally:
        del MODELS._entries["bare"]


@every_norm
def test_bfloat16_is_of_the_products_only_and_rounds_as_it_should(norm: str) -> None:
    """precision=bf16: parameters, gradients, pre-activations and the loss stay float32."""
    exact, rounded = (network("vgg", norm, dtype=torch.float32) for _ in range(2))
    rounded.autocast = torch.bfloat16
    products: list[torch.dtype] = []
    for number in rounded.layers:
        rounded.affine(number).register_forward_hook(lambda *args: products.append(args[2].dtype))
    batch = Draws("vgg", torch.float32).at(0)
    ours, full = (
        model.evaluate(Objective("cross_entropy", 0.1), *batch, capture=[1, 5, 9])
        for model in (rounded, exact)
    )
    assert set(products) == {torch.bfloat16}
    kept = [ours.loss, ours.grad_norm, *ours.grads.values(), *ours.activations.values()]
    assert {value.dtype for value in [*kept, *rounded.state_dict().values()]} == {torch.float32}
    assert 0 < abs(float(ours.loss - full.loss)) < 0.05 * float(full.loss)
    error = (ours.activations[1] - full.activations[1]).norm() / full.activations[1].norm()
    assert 0 < float(error) < 2**-6
