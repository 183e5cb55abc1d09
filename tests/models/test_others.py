"""ResNet and DenseNet against torchvision's; networks without skips; the perceptron."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from bnexp.cli import main
from bnexp.models import Network, Task, build_model
from tests.helpers import built, model_options, moved, norm_options

THEIRS = {
    "resnet-18": (torchvision.models.resnet18, {"depth": 18}),
    "resnet-34": (torchvision.models.resnet34, {"depth": 34}),
    "densenet-121": (torchvision.models.densenet121, {"blocks": [6, 12, 24, 16], "growth": 32}),
}


def images(side: int, batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def with_weights_of(model: nn.Module, other: nn.Module) -> nn.Module:
    """``model`` with the parameters and running statistics of ``other``, matched by their order."""
    with torch.no_grad():
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            ours.copy_(theirs)
        running = [buffer for buffer in other.buffers() if buffer.dim()]
        own = [buffer for buffer in model.buffers() if buffer.dim()]
        for ours, theirs in zip(own, running, strict=True):
            ours.copy_(theirs)
    return model


@pytest.mark.parametrize("name", THEIRS)
def test_with_its_weights_it_is_torchvisions(name: str) -> None:
    """Number and shapes of the parameters; outputs in training and, by the running statistics that
    this pass has moved, at test time."""
    make, options = THEIRS[name]
    family = name.partition("-")[0]
    theirs = make(num_classes=7)
    chosen = model_options(family, width=1.0, stem="imagenet", **options)
    ours = build_model(family, chosen, "bn", norm_options("bn"), Task(classes=7), seed=0)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    with_weights_of(theirs, moved(ours))
    x = images(64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-3, atol=1e-4)
    if name == "resnet-18":
        million = build_model(family, chosen, "bn", norm_options("bn"), Task(classes=1000), seed=0)
        assert sum(p.numel() for p in million.parameters()) == 11_689_512


def called(model: Network, x: Tensor) -> list[nn.Module]:
    """The affine maps of the layers in the order in which a forward pass calls them."""
    calls: list[nn.Module] = []
    for number in model.layers:
        model.affine(number).register_forward_hook(lambda module, *_: calls.append(module))
    model(x)
    return calls


RESNET18 = [*[3] * 7, 1, *[3] * 4, 1, *[3] * 4, 1, 3, 3, 0]
DENSENET = [1, 3, 1, 3, 1, 1, 3, 0]


@pytest.mark.parametrize(
    ("family", "stem", "kernels"),
    [
        ("resnet", "cifar", RESNET18),
        ("densenet", "cifar", [3, *DENSENET]),
        ("densenet", "imagenet", [7, *DENSENET]),
    ],
)
def test_layers_are_in_the_order_of_the_forward_pass(
    family: str, stem: str, kernels: list[int]
) -> None:
    """The stem; each block's convolutions, then its projection, or two to a dense layer with
    transitions between blocks; the head."""
    model = built(family, "bn", stem=stem)
    affine = [model.affine(number) for number in model.layers]
    assert called(model, images(32)) == affine
    assert [getattr(module, "kernel_size", (0,))[0] for module in affine] == kernels


def test_a_norm_of_concatenated_channels_counts_with_the_layer_before_it() -> None:
    model = built("densenet", "bn")
    paths = ["blocks.0.norm1", "blocks.1.norm1", "blocks.2.norm", "blocks.3.norm1", "norm_last"]
    assert [model.layer_of[f"{path}.weight"] for path in paths] == [1, 3, 5, 6, 8]
    own = {path for layer in model.layers.values() for path in layer}
    assert not own & set(paths)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_every_noise_of_a_densenet_is_drawn_from_a_seed_of_its_own(stem: str) -> None:
    seeds = [getattr(m, "seed", None) for m in built("densenet", "noisy_bn", stem=stem).modules()]
    seeds = [seed for seed in seeds if seed is not None]
    assert len(set(seeds)) == len(seeds) == 2 * 3 + 1 + 1 + (stem == "imagenet")


@pytest.mark.parametrize("depth", [18, 34])
@pytest.mark.parametrize("norm", ["none", "bn"])
def test_without_skips_a_resnet_is_its_layers_one_after_the_other(norm: str, depth: int) -> None:
    """As many layers as its name says, the stem and the head counted."""
    model = moved(built("resnet", norm, depth=depth, skip=False))
    assert len(model.layers) == depth
    assert len(built("resnet", norm, depth=depth).layers) == depth + 3
    x = images(8)
    out = x
    for number in range(1, depth):
        out = torch.relu(model.norm(number)(model.affine(number)(out)))
    torch.testing.assert_close(model(x), model.affine(depth)(out.mean((2, 3))))


def test_the_perceptron_is_its_layers_one_after_the_other() -> None:
    model, x = moved(built("mlp", "bn")), images(32)
    out = x.flatten(1)
    for number in (1, 2):
        out = torch.relu(model.norm(number)(model.affine(number)(out)))
    torch.testing.assert_close(model(x), model.affine(3)(out))
    assert [model.units(number) for number in model.layers] == [8, 8, 3]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=resnet", "model.depth=50"], "model.depth: expected one of 18, 34; got '50'"),
        (["model=resnet", "model.skip=some"], "model.skip: expected true or false; got 'some'"),
        (["model=densenet", "model.blocks=[6,0]"], "model.blocks: expected one to four numbers"),
        (["model=densenet", "model.compression=2"], "model.compression: expected a number in (0"),
        (["model=densenet", "norm=weight"], "norm: expected one that can act on several layers"),
        (["model=mlp", "model.depth=0"], "model.depth: expected 1 to 1000 layers; got 0"),
        (["model=mlp", "norm=instance"], "norm: expected one with several values to a mean"),
        (["model=dln", "norm=group", "norm.groups=0"], "norm.groups: expected a number of at"),
        (["model=dln", "norm=layer", "norm.eps=-1"], "norm.eps: expected a number of at least 0"),
        (["model=dln", "norm=ghost", "norm.size=1"], "norm.size: expected a number of at least 2"),
    ],
)
def test_what_they_cannot_be_is_said_in_one_line(
    overrides: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *overrides, f"out={tmp_path / 'out'}"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
