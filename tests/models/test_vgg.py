"""The VGG's shape and its Glorot initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bnexp.config.schema import NormConfig, VggConfig
from bnexp.errors import UserError
from bnexp.models import Network, build_model, layer_count, vgg
from bnexp.seeds import derive
from tests import reference
from tests.helpers import NOISY, NORMS, normaliser
from tests.reference import VGG, vgg_layers

names = pytest.mark.parametrize("name", VGG)


def built(
    norm: str = "none", name: str = "vgg16", width: float = 1 / 16, **options: int
) -> Network:
    return vgg(name, normaliser(norm), classes=10, width=width, **options)


def configured(norm: str, head: object = "linear", **changes: object) -> VggConfig:
    given = {"name": "vgg16", "family": "vgg", "init": "glorot_uniform", "width": 1 / 16}
    return VggConfig(**{**given, "loss": "cross_entropy", "head": head, **changes})


def norm_config(name: str) -> NormConfig:
    return NormConfig(name, 1e-5, 0.1, 0.5, 1.25, 0.1, 0.1)


def weights(model: Network) -> list[torch.Tensor]:
    return [layer.affine.weight.detach() for layer in model.layers]


@names
def test_convolutions_and_pools_are_the_papers_table(name: str) -> None:
    model = vgg(name, normaliser("bn"), classes=10)
    kinds, channels = [], []
    for layer in model.layers:
        conv = isinstance(layer.affine, nn.Conv2d)
        pool = isinstance(layer.pool, nn.MaxPool2d)
        kinds.append(("conv" if conv else "linear") + (" pool" if pool else ""))
        if conv:
            channels.append(layer.affine.out_channels)
            assert layer.affine.kernel_size == (3, 3)
            assert layer.affine.padding == (1, 1)
            assert layer.affine.stride == (1, 1)
    assert kinds == vgg_layers(name)
    assert channels == [64 * int(word) for word in VGG[name].split() if word != "P"]


def test_full_vgg16_has_14_7_million_parameters() -> None:
    """13 convolutions (14,714,688 with biases) and the linear head (5,130)."""
    model = vgg("vgg16", normaliser("none"), classes=10)
    assert sum(p.numel() for p in model.parameters()) == 14_714_688 + 5_130


@pytest.mark.parametrize(("head", "layers"), [("linear", 14), ([32, 16], 16), ([8], 15)])
def test_the_head_counts_as_layers(head: object, layers: int) -> None:
    config = configured("bn", head)
    model = build_model(config, norm_config("bn"), classes=7, seed=0)
    assert len(model.layers) == layer_count(config) == layers
    widths = [] if head == "linear" else list(head)
    linear = [layer for layer in model.layers if isinstance(layer.affine, nn.Linear)]
    assert [layer.units for layer in linear] == [*widths, 7]
    assert [layer.affine.in_features for layer in linear] == [32, *widths]
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("norm", ["none", "bn", "l1", "l2", "linf"])
def test_hidden_linear_layers_are_rectified_and_not_normalised(norm: str) -> None:
    model = vgg("vgg11", normaliser(norm), classes=3, width=1 / 32, head=[8, 6]).double()
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = reference.Net(vgg_layers("vgg11", hidden=2), norm, relu=True)
    outputs, seen = reference.forward(net, reference.theta_of(dict(model.named_parameters())), x)
    assert len(seen) == len(model.layers) == 11
    torch.testing.assert_close(model(x), outputs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", NORMS)
def test_every_convolution_is_normalised_and_every_layer_but_the_last_rectified(norm: str) -> None:
    model = vgg("vgg11", normaliser(norm), classes=10, width=1 / 16, head=[8])
    expected = type(normaliser(norm)(1, 1))
    *hidden, last = model.layers
    assert all(type(layer.norm) is expected for layer in hidden[:-1])
    assert isinstance(hidden[-1].affine, nn.Linear)
    assert isinstance(hidden[-1].norm, nn.Identity)
    assert all(isinstance(layer.activation, nn.ReLU) for layer in hidden)
    assert isinstance(last.norm, nn.Identity)
    assert isinstance(last.activation, nn.Identity)


@pytest.mark.parametrize("width", [1.0, 0.5, 1 / 8, 0.1, 1 / 1000])
def test_width_scales_every_convolution(width: float) -> None:
    model = built(width=width)
    convolutions = [layer for layer in model.layers if isinstance(layer.affine, nn.Conv2d)]
    full = [64 * int(word) for word in VGG["vgg16"].split() if word != "P"]
    assert [layer.units for layer in convolutions] == [max(1, round(c * width)) for c in full]


def fans(weight: torch.Tensor) -> int:
    """fan_in + fan_out: each input or output channel counts once per place of the kernel."""
    return sum(weight.shape[:2]) * weight[0, 0].numel()


def test_glorot_uniform_has_its_bound_and_variance() -> None:
    """w ~ U(-a, a), a = sqrt(6 / (fan_in + fan_out)); the variance is 2 / (fan_in + fan_out)."""
    for weight in weights(built(width=1 / 2)):
        bound = math.sqrt(6 / fans(weight))
        assert 0.97 * bound < float(weight.abs().max()) <= bound
        sampling = 5 * 0.9 / math.sqrt(weight.numel())  # kurtosis 1.8
        assert float(weight.var()) == pytest.approx(2 / fans(weight), rel=sampling)
        assert float(weight.mean()) == pytest.approx(0, abs=5 * bound / math.sqrt(weight.numel()))


def test_glorot_normal_has_its_variance_and_tails() -> None:
    for weight in weights(built(width=1 / 2, init="glorot_normal")):
        sampling = 5 * math.sqrt(2 / weight.numel())
        assert float(weight.var()) == pytest.approx(2 / fans(weight), rel=sampling)
        if weight.numel() > 10_000:
            z = weight / weight.std()
            assert float(z.abs().max()) > 3
            assert float((z**4).mean()) == pytest.approx(3, rel=0.1)


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.init.*'he'"):
        built(init="he")


@pytest.mark.parametrize("norm", NORMS)
def test_networks_that_differ_in_their_norm_start_from_the_same_weights(norm: str) -> None:
    same = zip(weights(built(norm)), weights(built("none")), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    for layer in built(norm).layers:
        assert torch.equal(layer.affine.bias, torch.zeros(layer.units))
        for name, parameter in layer.norm.named_parameters():
            assert torch.equal(parameter, torch.full_like(parameter, float("weight" in name)))


def test_seeds_differ_and_seed_0_is_one_of_them() -> None:
    """0 is neither "no seed" nor the same as another; and no layer starts like another."""
    first, again = weights(built(seed=0)), weights(built(seed=0))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for seed in (1, 2, 10):
        other = weights(built(seed=seed))
        assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    square = [weight for weight in first if weight.shape == (32, 32, 3, 3)]
    assert len(square) > 2
    for i, weight in enumerate(square):
        assert not any(torch.equal(weight, earlier) for earlier in square[:i])


def test_streams_of_a_seed_differ_by_name_and_by_seed() -> None:
    asked = [(s, *n) for s in (0, 1, 11) for n in [("a",), ("b",), ("a", 1), ("a", 11), ("a1",)]]
    derived = {derive(*names) for names in asked}
    assert len(derived) == len(asked)
    assert all(0 <= value < 2**63 for value in derived)


@pytest.mark.parametrize("norm", NORMS)
def test_building_neither_reads_nor_moves_torchs_random_state(norm: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = weights(built(norm))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(weights(built(norm)), first, strict=True))


@pytest.mark.parametrize("norm", NOISY)
def test_the_config_gives_every_layer_and_seed_its_own_noise(norm: str) -> None:
    streams = []
    for seed in (0, 1):
        model = build_model(configured(norm), norm_config(norm), classes=3, seed=seed)
        streams += [m.seed for m in model.modules() if type(m).__name__ == "Noise"]
    assert len(set(streams)) == len(streams) == 2 * 13


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(UserError, match="vgg16 expects images with classes"):
        build_model(configured("bn"), norm_config("bn"), classes=None, seed=0)
