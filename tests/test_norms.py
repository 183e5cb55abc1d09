"""Normalisations against torch's own modules and by hand; the noise against Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bnexp import registry
from bnexp.errors import UserError
from bnexp.norms import BatchNorm, Noise, NoiseOptions, at_step, frozen_statistics
from tests.helpers import NOISY, NORMS, OTHERS, norm_module, norm_options

SHAPES = {"2-D": (12, 5), "4-D": (6, 5, 4, 3)}
LP = ("l1", "l2", "linf")
AVERAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda values: values.abs().sum() / values.numel(),
    "l2": lambda values: (values.square().sum() / values.numel()).sqrt(),
    "linf": lambda values: values.abs().max(),
}

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def sample(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Far off centre, and each unit with a scale of its own, so that centring matters."""
    stream = torch.Generator().manual_seed(seed)
    units = (1, -1, *[1] * (len(shape) - 2))
    spread = torch.linspace(0.5, 3, shape[1], dtype=torch.float64).view(units)
    offset = torch.linspace(-4, 5, shape[1], dtype=torch.float64).view(units)
    return torch.randn(shape, generator=stream, dtype=torch.float64) * spread + offset


def built(name: str, eps: float = 1e-5, seed: int = 0, momentum: float = 0.1) -> nn.Module:
    """With gamma and beta that are not 1 and 0."""
    module = norm_module(name, 5, seed, eps=eps, momentum=momentum).double()
    with torch.no_grad():
        for value, parameter in enumerate(module.parameters()):
            parameter.copy_(torch.linspace(0.3, 2, 5) - value)
    return module


def test_the_names_are_those_of_the_fields() -> None:
    assert {*NORMS, *OTHERS} <= set(registry.NORMS.names())  # with those that tests plugged in
    with pytest.raises(
        UserError, match=r"norm: expected one of .*got 'noisy_bm'; did you mean noisy_bn"
    ):
        registry.NORMS["noisy_bm"]


@pytest.mark.parametrize(
    ("norm", "name", "bad", "expected"),
    [
        ("bn", "eps", -1e-5, "at least 0"),
        ("l1", "momentum", 0.0, r"\(0, 1\]"),
        ("noisy_bn", "n_sigma", 0.5, "at least 1"),
        ("noisy_bn", "eps", float("nan"), "at least 0"),
        ("noise_only", "r_mu", -0.1, "at least 0"),
    ],
)
def test_options_out_of_range_are_refused(norm: str, name: str, bad: float, expected: str) -> None:
    options = norm_options(norm, **{name: bad})
    with pytest.raises(UserError, match=rf"norm\.{name}: .*{expected}"):
        options.check("norm")


@shapes
@pytest.mark.parametrize("name", LP)
def test_lp_divides_by_the_average_taken_before_centring(name: str, shape: tuple[int, ...]) -> None:
    module, x = built(name), sample(shape)
    expected = torch.empty_like(x)
    for j in range(5):
        unit = x[:, j]
        divisor = AVERAGE[name](unit) + 1e-5
        expected[:, j] = module.weight[j] * (unit - unit.mean()) / divisor + module.bias[j]
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


@shapes
@pytest.mark.parametrize("name", LP)
def test_lp_running_averages_are_what_evaluation_uses(name: str, shape: tuple[int, ...]) -> None:
    module = built(name, momentum=0.3)
    mean, scale = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    for seed in range(3):
        x = sample(shape, seed)
        module(x)
        for j in range(5):
            mean[j] = 0.7 * mean[j] + 0.3 * x[:, j].mean()
            scale[j] = 0.7 * scale[j] + 0.3 * AVERAGE[name](x[:, j])
    torch.testing.assert_close(module.running_mean, mean)
    torch.testing.assert_close(module.running_scale, scale)
    module.eval()
    x = sample(shape, 9)
    out = module(x)
    for j in range(5):
        by_hand = module.weight[j] * (x[:, j] - mean[j]) / (scale[j] + 1e-5) + module.bias[j]
        torch.testing.assert_close(out[:, j], by_hand)
    torch.testing.assert_close(module.running_mean, mean)


@shapes
def test_bn_is_torchs_in_training_and_evaluation(shape: tuple[int, ...]) -> None:
    ours = built("bn")
    assert isinstance(ours, BatchNorm)
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5).double()
    theirs.load_state_dict({**theirs.state_dict(), "weight": ours.weight, "bias": ours.bias})
    for seed in range(3):
        x = sample(shape, seed)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = ours(a), theirs(b)
        torch.testing.assert_close(out, expected)
        upstream = sample(shape, 50)
        gradients = torch.autograd.grad((out * upstream).sum(), [a, *ours.parameters()])
        others = torch.autograd.grad((expected * upstream).sum(), [b, *theirs.parameters()])
        torch.testing.assert_close(gradients, others)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_scale, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(sample(shape, 7)), theirs(sample(shape, 7)))


@shapes
@pytest.mark.parametrize("eps", [1e-40, 0.0], ids=["eps lost", "eps 0"])
def test_bn_output_has_mean_beta_and_biased_variance_gamma_squared(
    eps: float, shape: tuple[int, ...]
) -> None:
    """eps = 0 is the setting of the paper's theorems; 1e-40 is lost beside any variance."""
    module = built("bn", eps=eps)
    out = module(sample(shape))
    for j in range(5):
        torch.testing.assert_close(out[:, j].mean(), module.bias[j])
        torch.testing.assert_close(out[:, j].var(correction=0), module.weight[j] ** 2)


@shapes
@pytest.mark.parametrize("name", ["bn", "noisy_bn", *LP])
def test_frozen_statistics_change_the_buffers_not_the_output(
    name: str, shape: tuple[int, ...]
) -> None:
    module, x = built(name), sample(shape)
    before = {key: value.clone() for key, value in module.named_buffers()}
    assert before
    with frozen_statistics(list(module.modules())):
        inside = module(x)
        with frozen_statistics(list(module.modules())):
            module(x)
        module(x)
    for key, value in module.named_buffers():
        assert torch.equal(value, before[key])
    torch.testing.assert_close(module(x), inside, rtol=1e-12, atol=1e-12)
    assert not any(torch.equal(v, before[k]) for k, v in module.named_buffers())


@shapes
def test_noise_scales_then_shifts_what_the_norm_gives(shape: tuple[int, ...]) -> None:
    x = sample(shape)
    noisy, plain, none = built("noisy_bn", seed=4), built("bn"), built("none")
    noise = next(module for module in noisy.modules() if isinstance(module, Noise))
    m, s = noise.draw(x)
    torch.testing.assert_close(noisy(x), s * plain(x) + m)
    alone = built("noise_only", seed=4)
    torch.testing.assert_close(alone(x), s * x + m)
    torch.testing.assert_close(noisy.eval()(x), plain.eval()(x))
    assert torch.equal(alone.eval()(x), x)
    assert torch.equal(none(x), x)


def built_noise(seed: int, **options: float) -> Noise:
    own = norm_options("noise_only", **options)
    assert isinstance(own, NoiseOptions)
    return Noise(own, seed)


def drawn(
    steps: int, shape: tuple[int, ...], seed: int = 0, **options: float
) -> tuple[Tensor, Tensor]:
    """m and s of so many steps, each ``(steps, *shape)``."""
    noise, x = built_noise(seed, **options), torch.empty(shape, dtype=torch.float64)
    both = []
    for step in range(steps):
        at_step(noise, step)
        both.append(noise.draw(x))
    return torch.stack([m for m, _ in both]), torch.stack([s for _, s in both])


@pytest.mark.parametrize("shape", [(50, 300), (5, 300, 5, 2)], ids=["2-D", "4-D"])
def test_noise_has_the_moments_of_algorithm_1(shape: tuple[int, ...]) -> None:
    """12,000 units and 600,000 samples: standard errors are about a fifth of the tolerances."""
    m, s = drawn(40, shape)
    assert float(m.mean()) == pytest.approx(0, abs=0.013)
    assert float(m.var()) == pytest.approx(0.5**2 / 3 + 0.1**2 / 3, rel=0.05)
    assert float(s.mean()) == pytest.approx(1.125, abs=0.004)
    assert float(s.var()) == pytest.approx(0.25**2 / 12 + 0.1**2, rel=0.03)
    assert -0.6 <= float(m.min()) < -0.59
    assert 0.59 < float(m.max()) <= 0.6


@pytest.mark.parametrize("shape", [(400, 8), (2, 8, 20, 10)], ids=["2-D", "4-D"])
def test_noise_is_per_sample_and_position_about_a_centre_per_unit(shape: tuple[int, ...]) -> None:
    """m_ij ~ U(mu_j - 0.1, mu_j + 0.1), s_ij ~ N(sigma_j, 0.1): one unit, one step."""
    m, s = (value[0].transpose(0, 1).flatten(1) for value in drawn(1, shape))
    for j in range(8):
        assert len(set(m[j].tolist())) == len(set(s[j].tolist())) == 400
        assert 0.18 < float(m[j].max() - m[j].min()) <= 0.2
        assert float(m[j].var()) == pytest.approx(0.1**2 / 3, rel=0.25)
        assert float(s[j].std()) == pytest.approx(0.1, rel=0.15)
    centres_m, centres_s = (m.amax(1) + m.amin(1)) / 2, s.mean(1)
    assert float(centres_m.std()) > 0.1  # mu_j is U(-0.5, 0.5): std 0.29
    assert bool(((centres_s > 0.97) & (centres_s < 1.28)).all())
    independent = torch.corrcoef(torch.cat([m, s])) - torch.eye(16)
    assert float(independent.abs().max()) < 0.25  # 5 standard errors of 1/20


def test_every_noise_parameter_does_what_its_name_says() -> None:
    quiet = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0}
    zero, one = drawn(2, (30, 4), **quiet)
    assert torch.equal(zero, torch.zeros_like(zero))
    assert torch.equal(one, torch.ones_like(one))
    m, _ = drawn(50, (1, 400), **{**quiet, "n_mu": 2.0})
    assert float(m.var()) == pytest.approx(4 / 3, rel=0.05)
    m, _ = drawn(2, (200, 50), **{**quiet, "r_mu": 3.0})
    assert float(m.var()) == pytest.approx(9 / 3, rel=0.05)
    _, s = drawn(50, (1, 400), **{**quiet, "n_sigma": 3.0})
    assert (float(s.min()), float(s.max())) == (pytest.approx(1, abs=0.01), pytest.approx(3, 0.01))
    _, s = drawn(2, (200, 50), **{**quiet, "r_sigma": 0.7})
    assert (float(s.mean()), float(s.std())) == (
        pytest.approx(1, abs=0.03),
        pytest.approx(0.7, 0.05),
    )


def test_noise_is_the_same_within_a_step_and_new_at_the_next() -> None:
    noise, x = built_noise(3), sample((6, 5, 4, 3))
    at_step(noise, 7)
    first, again = noise(x), noise(x)
    assert torch.equal(first, again)
    noise(sample((2, 5, 4, 3)))  # a pass of another batch size between them
    assert torch.equal(noise(x), first)
    at_step(noise, 8)
    m, s = noise.draw(x)
    at_step(noise, 7)
    assert torch.equal(noise(x), first)
    assert not bool((noise.draw(x)[0] == m).any())
    assert not bool((noise.draw(x)[1] == s).any())


@pytest.mark.parametrize("name", NOISY)
def test_noise_neither_reads_nor_moves_torchs_random_state(name: str) -> None:
    x = sample((6, 5))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = built(name)(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(built(name)(x), first)


def test_noise_does_not_depend_on_the_memory_layout() -> None:
    x = sample((6, 5, 4, 3))
    one = built_noise(3)(x)
    other = built_noise(3)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LP)
def test_a_unit_that_is_zero_over_the_batch_has_a_finite_gradient(name: str) -> None:
    x = sample((6, 5))
    x[:, 2] = 0.0
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(built(name)(x).square().sum(), x)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("name", ["bn", *LP])
def test_bfloat16_is_normalised_in_float32_and_rounded_once(name: str) -> None:
    module, x = built(name).float(), sample((6, 5, 4, 3)).bfloat16()
    out = module(x)
    assert out.dtype == torch.bfloat16
    assert {value.dtype for value in module.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(out, built(name).float()(x.float()).bfloat16(), rtol=2**-8, atol=0)
