"""The suite's probes on a model of the user's own: `measure`, and what `watch` shares with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from bnexp.config import config_dir
from bnexp.errors import UserError
from bnexp.models.module import Forward, GivenLoss, LossFn, ModuleNetwork
from bnexp.models.network import Layer
from bnexp.objective import Params
from bnexp.probes import LayerProbe, Probe, Rows, Setting, Step, build_probes, leaving_no_trace
from bnexp.probes.base import to_floats
from bnexp.registry import PROBES, expect, one_of, positive

LOSS = GivenLoss("given")
NO_TARGETS = torch.zeros(())
ELSEWHERE = ("eval", "theory")
"""Probes that need what only the suite's own runs have: a test split, its own normalisations."""

Probes = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Names, or by name the options that are to differ from those in ``configs/probes``."""


def measure(
    model: nn.Module,
    loss_fn: LossFn,
    batch: Any,
    probes: Probes = ("landscape", "gradient_shift", "curvature", "sharpness", "moments"),
    lr: float = 0.1,
    layers: Sequence[str | Layer] | None = None,
    *,
    forward: Forward | None = None,
    autocast: torch.dtype | None = None,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Measure ``model`` on ``batch`` as it stands, without leaving a trace.

    Args:
        model: any torch module, in training or evaluation mode; measured in the mode it is in.
        loss_fn: ``loss_fn(outputs, targets)``, a scalar; all its terms count as the loss.
        batch: ``(inputs, targets)``, where inputs are a tensor, a tuple of positional or a mapping
            of keyword arguments; or a mapping of keyword arguments, which is ``targets`` as well.
        probes: names, or by name options, as in ``{"landscape": {"etas": [0.1, 1]}}``. The
            defaults are those of ``configs/probes``.
        lr: the learning rate, in whose multiples the landscape's ``etas`` are; the update of
            Definition 2.1 is a step of gradient descent with it.
        layers: module paths of the affine maps that are numbered from 1 in the order in which the
            forward pass calls them (default: all linear and convolutional modules whose weight is
            trained; see `ModuleNetwork`).
        forward: ``forward(model, batch)`` to ``(outputs, targets)``, for a batch of another kind.
        autocast: ``torch.bfloat16`` to multiply in it, as under ``torch.autocast``.
        seed: of random directions and of the units whose activations are sampled.

    Returns:
        One table per name, with the columns that the probes declare; ``layers`` lists the number,
        module paths and units of each layer.

    Raises:
        UserError: one line that says which argument was expected to be what.
    """
    positive("lr", lr)
    meter = Meter(model, loss_fn, probes, layers, forward, autocast, seed)
    made = meter.before(0, lr, batch)
    expect(not meter.diverged, "loss_fn", "a finite loss and gradient", "one that is not")
    if (step := meter.step) is not None:
        made += meter.after({name: p - lr * step.grads[name] for name, p in step.params.items()})
    frames: dict[str, list[pd.DataFrame]] = {}
    for rows in made:
        for table, columns in rows.items():
            frames.setdefault(table, []).append(pd.DataFrame(columns).drop(columns="step"))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}
    return {"layers": pd.DataFrame(meter.network.layer_paths), **tables}


class Meter:
    """Probes on a model: rows of one step at a time, from both sides of its update."""

    network: ModuleNetwork
    """Made with the first batch, as are the ``probes``; anew when other parameters are trained."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        probes: Probes,
        layers: Sequence[str | Layer] | None = None,
        forward: Forward | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
        every: int = 1,
    ) -> None:
        self.options = probe_options(probes, every)
        given: dict[str, Any] = {"layers": layers, "forward": forward, "autocast": autocast}

        def make(batch: Any) -> ModuleNetwork:
            return ModuleNetwork(model, loss_fn, batch, **given)

        self._make, self._seed = make, seed
        self.step: Step | None = None
        """Between `before` and `after`; None where nothing is to be measured after the update."""
        self.diverged = False
        """Whether loss or gradient were not finite last time."""

    @cached_property
    def probes(self) -> list[Probe]:
        layer_probes = [n for n in self.options if issubclass(PROBES[n].item, LayerProbe)]
        words = "some that need no layer: no affine module with a weight to be trained is called"
        expect(bool(self.network.layers or not layer_probes), "probes", words, layer_probes)
        setting = Setting(self.network, LOSS, 0, self._seed, lambda _split: iter(()))
        return build_probes(self.options, setting)

    def before(self, number: int, lr: float, batch: Any) -> list[Rows]:
        """What is measured at theta_t; of a loss that is not finite only by `Probe.passive`."""
        batch = tree_map_only(Tensor, _copy, batch)
        with torch.inference_mode(False):
            if not (hasattr(self, "network") and self.network.is_current()):
                self.network = self._make(batch)
                self.__dict__.pop("probes", None)  # which know the layers
            network = self.network
            network.remember()
        params = {name: p.detach().clone() for name, p in network.own_params.items()}
        capture = sorted({layer for probe in self.probes for layer in probe.captures()})
        options = {"params": params, "capture": capture}
        with torch.inference_mode(False), leaving_no_trace(network):
            here = network.evaluate(LOSS, batch, NO_TARGETS, **options)
        step = Step(
            number, lr, batch, NO_TARGETS, here.loss, here.data_loss, here.accuracy, here.grads,
            here.grad_norm, params, here.activations,
        )  # fmt: skip
        finite = bool(torch.isfinite(here.loss) & torch.isfinite(here.grad_norm))
        self.diverged = not finite
        passive = self._rows(step, (p for p in self.probes if p.passive), "before_update")
        step.activations.clear()
        if not finite:
            return passive
        self.step = step if any(probe.wants_update for probe in self.probes) else None
        active = (probe for probe in self.probes if not probe.passive)
        return passive + self._rows(step, active, "before_update")

    def after(self, new_params: Params) -> list[Rows]:
        """What is measured with theta_{t+1} at hand, too."""
        step, self.step = self.step, None
        if step is None:
            return []
        step.new_params = {name: new_params[name].detach() for name in step.params}
        return self._rows(step, (p for p in self.probes if p.wants_update), "after_update")

    def _rows(self, step: Step, probes: Iterable[Probe], side: str) -> list[Rows]:
        made = []
        for probe in probes:
            try:
                with torch.inference_mode(False), leaving_no_trace(self.network):
                    made.append(getattr(probe, side)(step))
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # such as a second derivative that torch does not have
                why = str(error).partition("\n")[0]
                words = "a model and loss that it can be measured on"
                raise UserError(f"probes.{probe.name}: expected {words}; got {why}") from error
        for columns in (columns for rows in made for columns in rows.values()):
            for name, column in columns.items():
                if len(column) and isinstance(column[0], Tensor):
                    columns[name] = to_floats([value.double() for value in column])
        return made


def probe_options(probes: Probes, every: int = 1) -> dict[str, dict[str, Any]]:
    """The options of ``probes``, by name, to measure at every so many steps."""
    expect(
        isinstance(probes, Mapping | list | tuple), "probes", "names, or options by name", probes
    )
    images = OmegaConf.load(config_dir() / "preset" / "none.yaml").sizes.images
    measure = {"etas": images.etas, "layers": images.layers, "every": every, "eval_every": every}
    files = [path for path in (config_dir() / "probes").glob("*.yaml") if path.stem != "every"]
    sections = OmegaConf.merge(*map(OmegaConf.load, files), {"measure": measure})
    defaults: Any = OmegaConf.to_container(sections, resolve=True)
    options = {}
    for name in probes:
        one_of("probes", name, [n for n in PROBES.names() if n not in ELSEWHERE])
        more = probes[name] if isinstance(probes, Mapping) else {}
        schedule = {"every": every, "dense": 0}
        options[name] = {**schedule, **defaults.get(name, {}), "every": every, **more}
    return options


def _copy(tensor: Tensor) -> Tensor:
    """The caller may write into its own."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


__all__ = ["Meter", "Probes", "measure", "probe_options"]
