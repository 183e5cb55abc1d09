"""Claims 1 and 2: BN trains faster, and so does BN whose distributions are made to wander."""

from __future__ import annotations

from bnexp.claims.claim import claim
from bnexp.claims.measures import final_accuracy, speed, test_accuracy
from bnexp.claims.source import Source
from bnexp.claims.statistics import Region
from bnexp.analysis.select import needs
from bnexp.analysis.summaries import log_ratio, middle

MORE = Region(low=0.0)
"""Any amount in the direction claimed."""

CHANCE = 20.0
"""Percent of accuracy below which a network of ten classes has not trained: twice chance."""

ABOUT = 5.0
"""Points of accuracy that count as about the same."""

LAYERS = {f"layer {number}": number for number in (2, 9, 13)}

TRAIN, EVAL, MOMENTS = {"train": ""}, {"eval": ""}, {"moments": ""}


@claim(
    "1.1",
    "sec. 1, Fig 1a",
    "log10 of steps to 80 % train accuracy, none / BN",
    needs("fig1", "vgg", ("none", "bn"), (0.1,), TRAIN),
    MORE,
)
def bn_trains_faster(source: Source, _: None) -> float:
    """BN trains faster: it reaches 80 % train accuracy in fewer steps than the net without (VGG).

    Holds if the log10 of the ratio of steps is above 0, at lr 0.1. A net that never reaches 80 %
    counts with all the steps of its run, which favours it.
    """
    return speed(source, 80.0, "none", "bn", 0.1)


@claim(
    "1.2",
    "sec. 1, Fig 1b",
    "test accuracy at the end, BN less none",
    needs("fig1", "vgg", ("none", "bn"), (0.1,), EVAL),
    MORE,
    unit="points",
)
def bn_generalises_better(source: Source, _: None) -> float:
    """BN ends at a better test accuracy than the net without, at lr 0.1 (VGG).

    Holds if the difference in percentage points is above 0.
    """
    return test_accuracy(source, "bn", 0.1) - test_accuracy(source, "none", 0.1)


@claim(
    "1.3",
    "sec. 1, Fig 1a",
    "train accuracy over the last third of the run, BN at lr 0.5",
    needs("fig1", "vgg", ("bn",), (0.5,), TRAIN),
    Region(low=50.0),
    unit="points",
)
def bn_trains_at_a_large_rate(source: Source, _: None) -> float:
    """BN trains at lr 0.5 (VGG).

    Holds if its train accuracy over the last third of the run is above 50 %, five times chance.
    """
    return final_accuracy(source, "bn", 0.5)


@claim(
    "1.4",
    "sec. 1, Fig 1a",
    "train accuracy over the last third of the run, none at lr 0.5",
    needs("fig1", "vgg", ("none",), (0.5,), TRAIN),
    Region(high=CHANCE),
    unit="points",
)
def none_fails_at_a_large_rate(source: Source, _: None) -> float:
    """Without BN the VGG does not train at lr 0.5.

    Holds if its train accuracy over the last third of the run is below 20 %, twice chance.
    """
    return final_accuracy(source, "none", 0.5)


@claim(
    "2.1",
    "sec. 2.1, Fig 2",
    "train accuracy over the last third of the run, noisy BN less BN",
    needs("fig2", "vgg", ("bn", "noisy_bn"), (0.1,), TRAIN),
    Region(-ABOUT, ABOUT),
    unit="points",
)
def noisy_bn_trains_about_as_well(source: Source, _: None) -> float:
    """Noisy BN ends about as high in train accuracy as BN (VGG).

    Holds if the difference over the last third of the run is within 5 percentage points.
    """
    return final_accuracy(source, "noisy_bn", 0.1) - final_accuracy(source, "bn", 0.1)


@claim(
    "2.2",
    "sec. 2.1, Fig 2",
    "log10 of steps to 80 % train accuracy, none / noisy BN",
    needs("fig2", "vgg", ("none", "noisy_bn"), (0.1,), TRAIN),
    MORE,
)
def noisy_bn_beats_none(source: Source, _: None) -> float:
    """Noisy BN trains faster than the net without BN (VGG).

    Holds if the log10 of the ratio of steps to 80 % train accuracy is above 0, at lr 0.1.
    """
    return speed(source, 80.0, "none", "noisy_bn", 0.1)


@claim(
    "2.3",
    "sec. 2.1, Fig 8a",
    "log10 of the median change of a unit's mean, noisy BN / none",
    needs("fig8", "vgg", ("none", "noisy_bn"), (0.1,), MOMENTS),
    MORE,
    parts=LAYERS,
)
def noisy_bn_shifts_means(source: Source, layer: int) -> float:
    """The means of noisy BN's activations are less stable than those of the net without BN (VGG).

    Holds if, in layers 2, 9 and 13, the median over units and recorded steps of the change of the
    mean is larger with noisy BN: log10 of the ratio above 0. (The paper plots one unit a layer.)
    """
    return _shift(source, "abs_mean_step_change", layer)


@claim(
    "2.4",
    "sec. 2.1, Fig 8a",
    "log10 of the median change of a unit's variance, noisy BN / none",
    needs("fig8", "vgg", ("none", "noisy_bn"), (0.1,), MOMENTS),
    MORE,
    parts=LAYERS,
)
def noisy_bn_shifts_variances(source: Source, layer: int) -> float:
    """The variances of noisy BN's activations are less stable than without BN (VGG).

    Holds if, in layers 2, 9 and 13, the median over units and recorded steps of the change of the
    variance is larger with noisy BN: log10 of the ratio above 0.
    """
    return _shift(source, "abs_var_step_change", layer)


@claim(
    "2.5",
    "sec. 2.1",
    "train accuracy over the last third of the run, noise without BN",
    needs("claim2", "vgg", ("noise_only",), (0.1,), TRAIN),
    Region(high=CHANCE),
    unit="points",
)
def noise_alone_prevents_training(source: Source, _: None) -> float:
    """The same noise without BN prevents the net from training entirely (VGG).

    Holds if its train accuracy over the last third of the run is below 20 %, twice chance.
    """
    return final_accuracy(source, "noise_only", 0.1)


def _shift(source: Source, quantity: str, layer: int) -> float:
    noisy, none = (
        middle(source.trace(quantity, norm, 0.1, layer)) for norm in ("noisy_bn", "none")
    )
    return log_ratio(noisy, none)
