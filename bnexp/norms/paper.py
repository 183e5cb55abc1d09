"""Every normalisation the paper compares, registered with its options.

All act on the output of an affine map, before the non-linearity: on ``(batch, units, ..)``, with
statistics over every dimension but the second. All but ``none`` and ``noise_only`` have a learnable
scale gamma (``weight``) and shift beta (``bias``) per unit, use the batch's statistics while
training and running averages of them at test time.

=============  =====================================================================  ==============
name           what it computes                                                       paper
=============  =====================================================================  ==============
``none``       x                                                                      -
``bn``         gamma (x - mean) / sqrt(var + eps) + beta, biased variance             section 1
``l1``         gamma (x - mean) / (mean|x| + eps) + beta                              section 3.3
``l2``         gamma (x - mean) / (sqrt(mean x^2) + eps) + beta                       section 3.3
``linf``       gamma (x - mean) / (max|x| + eps) + beta                               section 3.3
``noisy_bn``   noise after ``bn``                                                     Algorithm 1
``noise_only`` the same noise and no normalisation                                    section 2.1
=============  =====================================================================  ==============

The l_p average is taken over x *before* the mean is subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.registry import NORMS, Options, at_least, expect
from bnexp.seeds import derive


@dataclass(frozen=True)
class StatisticsOptions(Options):
    """``eps`` beside the statistic that divides; ``momentum`` of the running statistics."""

    eps: float
    momentum: float

    def check(self, key: str) -> None:
        at_least(f"{key}.eps", self.eps, 0)
        expect(0 < self.momentum <= 1, f"{key}.momentum", "a number in (0, 1]", self.momentum)


@dataclass(frozen=True)
class NoiseOptions(Options):
    """The ranges of the noise of Algorithm 1; see `Noise`."""

    n_mu: float
    n_sigma: float
    r_mu: float
    r_sigma: float

    def check(self, key: str) -> None:
        super().check(key)
        for name in ("n_mu", "r_mu", "r_sigma"):
            at_least(f"{key}.{name}", getattr(self, name), 0)
        at_least(f"{key}.n_sigma", self.n_sigma, 1)


@dataclass(frozen=True)
class NoisyOptions(NoiseOptions, StatisticsOptions):
    """The options of batch normalisation and of the noise."""


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 where autocast made it bfloat16; float32 and float64 as they are."""
    return x.float() if x.dtype == torch.bfloat16 else x


class Statistics(nn.Module):
    """What all normalisations by batch statistics share: gamma, beta and the running averages.

    As in torch's own modules, ``track_running_stats`` says whether a training-mode pass moves the
    running averages.
    """

    running_mean: Tensor
    running_scale: Tensor

    def __init__(self, units: int, options: StatisticsOptions) -> None:
        super().__init__()
        self.eps, self.momentum = options.eps, options.momentum
        self.weight = nn.Parameter(torch.ones(units))
        self.bias = nn.Parameter(torch.zeros(units))
        self.register_buffer("running_mean", torch.zeros(units))
        self.register_buffer("running_scale", torch.ones(units))
        self.track_running_stats = True


class BatchNorm(Statistics):
    """Batch normalisation (Ioffe and Szegedy 2015; paper section 1).

    ``running_scale`` averages the batch variance, unbiased, as torch's own modules do; the batch
    itself is normalised with the biased one.
    """

    def forward(self, x: Tensor) -> Tensor:
        frozen = self.training and not self.track_running_stats
        mean, var = (None, None) if frozen else (self.running_mean, self.running_scale)
        cudnn = torch.backends.cudnn.enabled and self.eps > 0
        # not F.batch_norm: it refuses eps 0, the setting of the paper's theorems
        return torch.batch_norm(
            x, self.weight, self.bias, mean, var, self.training, self.momentum, self.eps, cudnn
        )


AVERAGES: dict[str, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    "l1": lambda x, over: x.abs().mean(over),
    # not sqrt of a mean: its gradient is NaN for a unit that is 0 over the whole batch
    "l2": lambda x, over: torch.linalg.vector_norm(x, dim=over) / (x.numel() / x.shape[1]) ** 0.5,
    "linf": lambda x, over: x.abs().amax(over),
}
"""The average l_p norm of each unit, over all dimensions but the second."""


class LpNorm(Statistics):
    """l_p normalisation (section 3.3): the mean is subtracted, the average l_p norm divides.

    ``name`` is a key of `AVERAGES`. As in torch's batch normalisation, a bfloat16 ``x`` is
    normalised in float32 and rounded once.
    """

    def __init__(self, units: int, options: StatisticsOptions, name: str) -> None:
        super().__init__(units, options)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        dtype, x = x.dtype, at_least_float32(x)
        if self.training:
            over_batch = (0, *range(2, x.dim()))
            mean, scale = x.mean(over_batch), AVERAGES[self.name](x, over_batch)
            if self.track_running_stats:
                with torch.no_grad():
                    self.running_mean.lerp_(mean, self.momentum)
                    self.running_scale.lerp_(scale, self.momentum)
        else:
            mean, scale = self.running_mean, self.running_scale
        # gamma (x - mean) / (scale + eps) + beta, in one pass over x
        gain = self.weight / (scale + self.eps)
        shift = self.bias - mean * gain
        gain, shift = (value.view(1, -1, *[1] * (x.dim() - 2)) for value in (gain, shift))
        return torch.addcmul(shift, x, gain).to(dtype)


class Replayed(nn.Module):
    """What draws random numbers in training, the same in every pass made within one step: they are
    a function of ``seed`` and of the step last given to `at_step`."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.step = seed, 0
        self._drawn: tuple[Tensor, ...] | None = None
        self._like: tuple[torch.Size, torch.dtype, torch.device] | None = None

    def sample(self, x: Tensor, stream: torch.Generator) -> tuple[Tensor, ...]:
        """Tensors of the shape and device of ``x`` from ``stream``."""
        raise NotImplementedError

    def at_step(self, step: int) -> None:
        """Move to the noise of training step ``step``."""
        if step != self.step:
            self.step, self._drawn = step, None

    def draw(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the present step draws for ``x``, laid out as it is."""
        like = (x.shape, x.dtype, x.device)
        if self._drawn is None or like != self._like:
            stream = torch.Generator(x.device).manual_seed(derive(self.seed, self.step))
            drawn = self.sample(x, stream)
            if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
                drawn = tuple(v.contiguous(memory_format=torch.channels_last) for v in drawn)
            self._drawn, self._like = drawn, like
        return self._drawn


class Noise(Replayed):
    """The non-stationary noise of Algorithm 1: a_ij <- s_ij a_ij + m_ij, off at test time.

    At every step and for every unit j: mu_j ~ U(-n_mu, n_mu), sigma_j ~ U(1, n_sigma); then for
    every sample i and position: m_ij ~ U(mu_j - r_mu, mu_j + r_mu), s_ij ~ N(sigma_j, r_sigma).
    """

    def __init__(self, options: NoiseOptions, seed: int) -> None:
        super().__init__(seed)
        self.options = options

    def sample(self, x: Tensor, stream: torch.Generator) -> tuple[Tensor, ...]:
        """The noise (m, s), each of the shape, dtype and device of ``x``."""
        o, units = self.options, (1, x.shape[1], *[1] * (x.dim() - 2))

        def uniform(shape: Sequence[int], low: float, high: float) -> Tensor:
            return x.new_empty(shape).uniform_(low, high, generator=stream)

        mu, sigma = uniform(units, -o.n_mu, o.n_mu), uniform(units, 1.0, o.n_sigma)
        m = uniform(x.shape, -o.r_mu, o.r_mu).add_(mu)
        return m, x.new_empty(x.shape).normal_(0.0, o.r_sigma, generator=stream).add_(sigma)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        values = at_least_float32(x)
        m, s = self.draw(values)
        return torch.addcmul(m, s, values).to(x.dtype)


NORMS.register("none")(lambda _units, _options, _seed: nn.Identity())
NORMS.register("bn", StatisticsOptions)(lambda units, options, _seed: BatchNorm(units, options))
for _name in AVERAGES:
    NORMS.register(_name, StatisticsOptions)(
        lambda units, options, _seed, name=_name: LpNorm(units, options, name)
    )
NORMS.register("noisy_bn", NoisyOptions)(
    lambda units, options, seed: nn.Sequential(BatchNorm(units, options), Noise(options, seed))
)
NORMS.register("noise_only", NoiseOptions)(lambda _units, options, seed: Noise(options, seed))


def noises(model: nn.Module) -> list[Replayed]:
    """Everything in ``model`` that draws random numbers."""
    return [module for module in model.modules() if isinstance(module, Replayed)]


def at_step(model: nn.Module, step: int) -> None:
    """Move every noise of ``model`` to training step ``step``."""
    for noise in noises(model):
        noise.at_step(step)


@contextmanager
def frozen_statistics(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, training-mode passes use the batch's statistics and leave the running ones be.

    For normalisations of this file and torch's own: both have ``track_running_stats``. Not for
    torch's InstanceNorm, where it says what is computed at test time.
    """
    instance = nn.modules.instancenorm._InstanceNorm
    tracking = [
        module
        for module in modules
        if getattr(module, "track_running_stats", False) and not isinstance(module, instance)
    ]
    for module in tracking:
        module.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True  # type: ignore[assignment]
