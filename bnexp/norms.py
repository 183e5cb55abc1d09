"""Every normalisation the paper compares, one module each, and the registry that names them.

All act on the output of an affine map, before the non-linearity: on ``(batch, units)`` or
``(batch, channels, height, width)``, with statistics over every dimension but the second. All but
``none`` and ``noise_only`` have a learnable scale gamma (``weight``) and shift beta (``bias``) per
unit, use the batch's statistics while training and running averages of them at test time.

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

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bnexp.errors import UserError
from bnexp.seeds import derive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class NormOptions:
    """What a normalisation can be told; the defaults of a run are in ``configs/norm``.

    ``n_mu``, ``n_sigma``, ``r_mu`` and ``r_sigma`` are the noise parameters of Algorithm 1.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    n_mu: float = 0.5
    n_sigma: float = 1.25
    r_mu: float = 0.1
    r_sigma: float = 0.1


def _over_batch(x: Tensor) -> tuple[int, ...]:
    """The dimensions a statistic is taken over: all but the units'."""
    return (0, *range(2, x.dim()))


def widened(x: Tensor) -> Tensor:
    """``x`` in float32 where autocast made it bfloat16; float32 and float64 as they are."""
    return x.float() if x.dtype == torch.bfloat16 else x


def _per_unit(values: Tensor, x: Tensor) -> Tensor:
    """One value per unit, shaped to broadcast against ``x``."""
    return values.reshape(1, -1, *[1] * (x.dim() - 2))


class Statistics(nn.Module):
    """What all normalisations by batch statistics share: gamma, beta and the running averages."""

    running_mean: Tensor
    running_scale: Tensor

    def __init__(self, units: int, options: NormOptions) -> None:
        super().__init__()
        self.eps, self.momentum = options.eps, options.momentum
        self.weight = nn.Parameter(torch.ones(units))
        self.bias = nn.Parameter(torch.zeros(units))
        self.register_buffer("running_mean", torch.zeros(units))
        self.register_buffer("running_scale", torch.ones(units))
        self.track = True
        """Whether a training-mode forward pass moves the running averages."""

    def forward(self, x: Tensor) -> Tensor:
        return self.normalise(x, self.weight, self.bias)

    def normalise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """``x``, normalised, with this gamma and beta, ``(units,)`` each."""
        raise NotImplementedError


class BatchNorm(Statistics):
    """Batch normalisation (Ioffe and Szegedy 2015; paper section 1).

    ``running_scale`` averages the batch variance, unbiased, as torch's own modules do; the batch
    itself is normalised with the biased one.
    """

    def normalise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        frozen = self.training and not self.track
        # not F.batch_norm: it refuses eps 0, the setting of the paper's theorems
        return torch.batch_norm(
            x,
            weight,
            bias,
            None if frozen else self.running_mean,
            None if frozen else self.running_scale,
            self.training,
            self.momentum,
            self.eps,
            torch.backends.cudnn.enabled and self.eps > 0,
        )

    def seen(self, mean: Tensor, scale: Tensor, values: int) -> None:
        """Move the running averages, unless frozen, as a batch with these statistics does.

        Args:
            mean: of each unit.
            scale: 1 / sqrt(var + eps) of each unit, with the biased variance of its values.
            values: how many each unit has.
        """
        if self.track:
            var = scale.detach().view(-1).pow(-2).sub_(self.eps)
            self.running_mean.lerp_(mean.detach().view(-1), self.momentum)
            self.running_scale.lerp_(var.mul_(values / (values - 1)), self.momentum)


class LpNorm(Statistics):
    """l_p normalisation (section 3.3): the mean is subtracted, the average l_p norm divides.

    As in torch's batch normalisation, a bfloat16 ``x`` is normalised in float32 and rounded once.
    """

    def __init__(self, units: int, options: NormOptions, average: Callable[[Tensor], Tensor]):
        super().__init__(units, options)
        self.average = average

    def normalise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        given, x = x.dtype, widened(x)
        if self.training:
            mean, scale = x.mean(_over_batch(x)), self.average(x)
            if self.track:
                with torch.no_grad():
                    self.running_mean.lerp_(mean, self.momentum)
                    self.running_scale.lerp_(scale, self.momentum)
        else:
            mean, scale = self.running_mean, self.running_scale
        # gamma (x - mean) / (scale + eps) + beta, in one pass over x
        gain = weight / (scale + self.eps)
        shift = bias - mean * gain
        return torch.addcmul(_per_unit(shift, x), x, _per_unit(gain, x)).to(given)


def average_l1(x: Tensor) -> Tensor:
    """mean|x| per unit."""
    return x.abs().mean(_over_batch(x))


def average_l2(x: Tensor) -> Tensor:
    """sqrt(mean x^2) per unit."""
    # not sqrt of a mean: its gradient is no number for a unit that is 0 over the whole batch
    norm: Tensor = torch.linalg.vector_norm(x, dim=_over_batch(x))
    return norm / math.sqrt(x.numel() / x.shape[1])


def average_linf(x: Tensor) -> Tensor:
    """max|x| per unit."""
    return x.abs().amax(_over_batch(x))


class Noise(nn.Module):
    """The non-stationary noise of Algorithm 1: a_ij <- s_ij a_ij + m_ij, off at test time.

    At every step and for every unit j: mu_j ~ U(-n_mu, n_mu), sigma_j ~ U(1, n_sigma); then for
    every sample i and position: m_ij ~ U(mu_j - r_mu, mu_j + r_mu), s_ij ~ N(sigma_j, r_sigma).
    Hence E[m] = 0, Var[m] = n_mu^2/3 + r_mu^2/3 and E[s] = (1 + n_sigma)/2.

    The noise is a function of ``seed`` and of the step last given to :meth:`at_step`, so every
    pass made within one step meets the same noise, and a new step brings new noise.
    """

    def __init__(self, options: NormOptions, seed: int) -> None:
        super().__init__()
        self.options, self.seed = options, seed
        self.step = 0
        self._drawn: tuple[Tensor, Tensor] | None = None

    def at_step(self, step: int) -> None:
        """Move to the noise of training step ``step``."""
        if step != self.step:
            self.step, self._drawn = step, None

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The noise (m, s) of the present step, each of the shape, dtype and device of ``x``."""
        have = None if self._drawn is None else self._drawn[0]
        if have is None or (have.shape, have.dtype, have.device) != (x.shape, x.dtype, x.device):
            o = self.options
            generator = torch.Generator(x.device).manual_seed(derive(self.seed, self.step))

            def uniform(shape: tuple[int, ...] | torch.Size, low: float, high: float) -> Tensor:
                u = torch.empty(shape, dtype=x.dtype, device=x.device)
                return u.uniform_(low, high, generator=generator)

            units = (1, x.shape[1], *[1] * (x.dim() - 2))
            mu, sigma = uniform(units, -o.n_mu, o.n_mu), uniform(units, 1.0, o.n_sigma)
            m = uniform(x.shape, -o.r_mu, o.r_mu).add_(mu)
            s = torch.empty(x.shape, dtype=x.dtype, device=x.device)
            s = s.normal_(0.0, o.r_sigma, generator=generator).add_(sigma)
            if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
                m = m.contiguous(memory_format=torch.channels_last)
                s = s.contiguous(memory_format=torch.channels_last)
            self._drawn = (m, s)
        assert self._drawn is not None
        return self._drawn

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        wide = widened(x)
        m, s = self.draw(wide)
        return torch.addcmul(m, s, wide).to(x.dtype)


def _identity(units: int, options: NormOptions, seed: int) -> nn.Module:  # noqa: ARG001
    return nn.Identity()


def _batch_norm(units: int, options: NormOptions, seed: int) -> nn.Module:  # noqa: ARG001
    return BatchNorm(units, options)


def _lp(average: Callable[[Tensor], Tensor]) -> Callable[[int, NormOptions, int], nn.Module]:
    return lambda units, options, seed: LpNorm(units, options, average)  # noqa: ARG005


def _noisy_bn(units: int, options: NormOptions, seed: int) -> nn.Module:
    return nn.Sequential(BatchNorm(units, options), Noise(options, seed))


def _noise_only(units: int, options: NormOptions, seed: int) -> nn.Module:  # noqa: ARG001
    return Noise(options, seed)


NORMS: dict[str, Callable[[int, NormOptions, int], nn.Module]] = {
    "none": _identity,
    "bn": _batch_norm,
    "noisy_bn": _noisy_bn,
    "noise_only": _noise_only,
    "l1": _lp(average_l1),
    "l2": _lp(average_l2),
    "linf": _lp(average_linf),
}


def build_norm(name: str, units: int, options: NormOptions, seed: int) -> nn.Module:
    """The normalisation called ``name`` for ``units`` units.

    ``seed`` is that of this layer's noise; normalisations without noise ignore it.

    Raises:
        UserError: no normalisation has that name.
    """
    if name not in NORMS:
        raise UserError(f"norm: expected one of {', '.join(NORMS)}; got '{name}'")
    return NORMS[name](units, options, seed)


def noises(model: nn.Module) -> list[Noise]:
    """Every noise in ``model``."""
    return [module for module in model.modules() if isinstance(module, Noise)]


def at_step(model: nn.Module, step: int) -> None:
    """Move every noise of ``model`` to training step ``step``."""
    for noise in noises(model):
        noise.at_step(step)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Within it, training-mode passes use the batch's statistics and leave the running ones be."""
    with frozen(model.modules()):
        yield


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """`frozen_statistics` for those of ``modules`` that have them."""
    before = [(module, module.track) for module in modules if isinstance(module, Statistics)]
    for module, _ in before:
        module.track = False
    try:
        yield
    finally:
        for module, track in before:
            module.track = track
