"""The normalisations that the paper does not compare: torch's own modules, and their symmetries."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from bnexp.errors import UserError
from bnexp.models import Chain, Network, Stage
from bnexp.models.base import attach
from bnexp.norms import BatchNorm, StatisticsOptions, frozen_statistics
from bnexp.norms.ghost import GhostBatchNorm
from bnexp.objective import Objective
from tests.helpers import OTHERS, Draws, built, network, norm_module, norm_options

SHAPES = {"2-D": (12, 6), "4-D": (12, 6, 4, 3)}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def sample(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=stream, dtype=torch.float64) * 2 + 3


def with_gamma_and_beta(module: nn.Module) -> nn.Module:
    """In float64; gamma and beta are not 1 and 0."""
    with torch.no_grad():
        for value, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.linspace(0.3, 2, len(parameter)) - value)
    return module.double()


def followed(affine: nn.Module) -> tuple[Network, nn.Module]:
    """A network of ``affine`` and its weight normalisation, and the latter."""
    model = Chain([Stage(affine, norm_module("weight", 1))])
    attach(model)
    return model, model.norm(1)


@pytest.mark.parametrize(("units", "groups"), [(6, 3), (8, 4), (7, 1), (3, 1), (1, 1), (12, 4)])
def test_there_are_as_many_groups_as_have_two_units_or_more(units: int, groups: int) -> None:
    module = norm_module("group", units, groups=4)
    assert isinstance(module, nn.GroupNorm)
    assert module.num_groups == groups


@shapes
def test_layer_norm_is_torchs(shape: tuple[int, ...]) -> None:
    """Over all units and positions, with torch's gamma and beta at 1 and 0."""
    module, x = norm_module("layer", 6).double(), sample(shape)
    torch.testing.assert_close(module(x), nn.functional.layer_norm(x, shape[1:]))


def test_instance_norm_is_torchs() -> None:
    ours, x = with_gamma_and_beta(norm_module("instance", 6)), sample((12, 6, 4, 3))
    theirs = nn.InstanceNorm2d(6, affine=True).double()
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("name", ["layer", "group", "instance", "weight"])
def test_what_has_no_batch_statistics_is_the_same_for_every_batch_and_at_test_time(
    name: str,
) -> None:
    model, batch = network("vgg", name), Draws("vgg").at(0)
    whole = model.outputs(batch.inputs)
    each = torch.cat([model.outputs(image[None]) for image in batch.inputs])
    torch.testing.assert_close(whole, each)
    torch.testing.assert_close(model.eval().outputs(batch.inputs), whole)
    assert not list(model.buffers())


@shapes
@pytest.mark.parametrize("size", [2, 4, 5, 12, 50])
def test_ghost_batches_are_normalised_each_by_itself(shape: tuple[int, ...], size: int) -> None:
    """12 samples: 6, 3 and 2 ghost batches, or the whole batch; the running statistics move with
    each in turn and are what evaluation uses."""
    ghost = with_gamma_and_beta(norm_module("ghost", 6, size=size))
    options = norm_options("bn")
    assert isinstance(options, StatisticsOptions)
    bn = with_gamma_and_beta(BatchNorm(6, options))
    x, count = sample(shape), {2: 6, 4: 3, 5: 2, 12: 1, 50: 1}[size]
    expected = torch.cat([bn(part) for part in x.chunk(count)])
    torch.testing.assert_close(ghost(x), expected)
    for ours, theirs in zip(ghost.buffers(), bn.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
    before = [buffer.clone() for buffer in ghost.buffers()]
    with frozen_statistics(ghost.modules()):
        torch.testing.assert_close(ghost(x), expected)
    assert all(map(torch.equal, ghost.buffers(), before))
    torch.testing.assert_close(ghost.eval()(x), bn.eval()(x))
    assert isinstance(ghost, GhostBatchNorm)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_weight_norm_is_torchs_parametrization(kind: str, bias: bool) -> None:
    """w = g v / ||v|| by the same g, v and shift: the same outputs, and gradients by all three."""
    torch.manual_seed(0)
    made = {
        "linear": lambda: nn.Linear(5, 4, bias=bias),
        "conv": lambda: nn.Conv2d(5, 4, 3, bias=bias),
    }
    affine = made[kind]().double()
    x = sample((6, 5) if kind == "linear" else (6, 5, 4, 4))
    model, norm = followed(affine)
    theirs = type(affine)(5, 4, **({} if kind == "linear" else {"kernel_size": 3})).double()
    with torch.no_grad():
        theirs.weight.copy_(affine.weight)
        norm.bias.copy_(theirs.bias)
    weight_norm(theirs)
    with torch.no_grad():
        norm.weight *= 1.7
        theirs.parametrizations.weight.original0 *= 1.7
    out, expected = model(x), theirs(x)
    torch.testing.assert_close(out, expected)
    pulled = torch.autograd.grad(out.square().sum(), [affine.weight, norm.weight, norm.bias])
    original = theirs.parametrizations.weight
    others = [original.original1, original.original0, theirs.bias]
    for ours, other in zip(
        pulled, torch.autograd.grad(expected.square().sum(), others), strict=True
    ):
        torch.testing.assert_close(ours, other.reshape(ours.shape))


@pytest.mark.parametrize("family", ["vgg", "resnet"])
def test_weight_norm_starts_as_the_network_without(family: str) -> None:
    inputs = Draws(family, torch.float32).at(0).inputs
    none, weight = (built(family, norm, init="he_normal") for norm in ("none", "weight"))
    torch.testing.assert_close(weight.outputs(inputs), none.outputs(inputs))
    assert len(weight.own_params) == len(none.own_params) + 2 * (len(weight.layers) - 1)


def test_weight_norm_follows_its_network_when_copied_and_moved() -> None:
    model, inputs = network("vgg", "weight"), Draws("vgg").at(0).inputs
    other = copy.deepcopy(model).float().double()
    with torch.no_grad():
        for i in range(1, 9):
            other.affine(i).weight *= 2.0  # of which nothing is seen
    torch.testing.assert_close(other.outputs(inputs), model.outputs(inputs), rtol=1e-5, atol=1e-5)
    assert list(other.state_dict()) == list(model.state_dict())
    assert len(set(model.state_dict())) == 2 * 2 * 8 + 2


@pytest.mark.parametrize("norm", ["bn", *OTHERS])
def test_the_gradient_is_orthogonal_to_what_the_loss_does_not_depend_on(norm: str) -> None:
    """<W, grad_W L> is 0 for the rows of a unit (bn, ghost, instance, weight), for those of a group
    together with their biases (group), or for all of a layer (layer), with eps 0: L is the same
    for c W. The rows of a unit are not orthogonal on their own under group and layer."""
    model, batch = network("vgg", norm, eps=0.0), Draws("vgg").at(0)
    grads = model.evaluate(Objective("cross_entropy"), *batch).grads
    for number in range(3, 9):
        name = model.weight_name(number)
        bias = name.replace("weight", "bias")
        params = model.own_params
        each = (params[name] * grads[name]).flatten(1).sum(1)
        if norm in ("group", "layer"):
            assert float(each.detach().abs().max()) > 1e-7
            each = (each + params[bias] * grads[bias]).view(2 if norm == "group" else 1, -1).sum(1)
        else:
            torch.testing.assert_close(grads[bias], torch.zeros_like(grads[bias]))
        torch.testing.assert_close(each, torch.zeros_like(each), rtol=0, atol=1e-12)
        assert float(grads[name].norm()) > 1e-4


@pytest.mark.parametrize("name", OTHERS)
def test_bfloat16_is_normalised_in_float32(name: str) -> None:
    model = network("vgg", name, dtype=torch.float32)
    inputs = Draws("vgg", torch.float32).at(0).inputs
    exact = model.outputs(inputs).detach()
    model.autocast = torch.bfloat16
    rounded = model.outputs(inputs).detach()
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.1


def test_one_value_to_a_mean_is_refused() -> None:
    with pytest.raises(UserError, match="6 groups in a layer whose outputs are 6 x 1 x 1"):
        norm_module("instance", 6)(torch.ones(4, 6, 1, 1))
