"""From what Hydra composed to a checked :class:`Config`, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnexp.config.schema import (
    DATA,
    DATA_OF,
    MODELS,
    Config,
    DlnConfig,
    GaussianConfig,
    MeasureConfig,
    NormConfig,
    OptimConfig,
    RunConfig,
    expect,
)
from bnexp.errors import UserError

T = TypeVar("T")

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "None": "null",
}

SECTIONS = ("model", "norm", "data", "optim", "probes", "measure")


def bind(schema: type[T], section: Any, key: str) -> T:
    """``section`` as a ``schema``: unknown and missing keys and wrong types are refused by name.

    Raises:
        UserError: one line that names the key and what was expected.
    """
    if not isinstance(section, Mapping):
        raise UserError(f"{key}: expected a group of settings; got {section!r}")
    dot = f"{key}." if key else ""
    known = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    for name in section:
        if name not in known:
            where = key or "the config"
            raise UserError(f"{dot}{name}: no such key; {where} has {', '.join(known)}")
    for name in known:
        if name not in section or section[name] == "???":
            raise UserError(f"{dot}{name}: a value is expected; none was given")
    try:
        bound = OmegaConf.merge(OmegaConf.structured(schema), dict(section))
        result = OmegaConf.to_object(bound)
    except OmegaConfBaseException as error:
        name = str(getattr(error, "full_key", None) or "")
        kind = {field.name: str(field.type) for field in fields(schema)}.get(name, "")  # type: ignore[arg-type]
        expected = " or ".join(WORDS.get(part, part) for part in kind.split(" | "))
        raise UserError(f"{dot}{name}: expected {expected}; got {section.get(name)!r}") from None
    assert isinstance(result, schema)
    return result


def check(plain: Mapping[str, Any]) -> Config:
    """The checked config of one run, from what ``compose`` gives.

    Raises:
        UserError: one line that names the key and what was expected.
    """
    for name in SECTIONS:
        if not isinstance(plain.get(name), Mapping):
            raise UserError(f"{name}: expected a group of settings; got {plain.get(name)!r}")
    family, data = plain["model"].get("family"), plain["data"].get("name")
    if family not in MODELS:
        raise UserError(f"model.family: expected one of {', '.join(MODELS)}; got {family!r}")
    if data not in DATA:
        raise UserError(f"data.name: expected one of {', '.join(DATA)}; got {data!r}")
    rest = {k: v for k, v in plain.items() if k not in SECTIONS and k != "experiment"}
    bind(MeasureConfig, plain["measure"], "measure")
    probes = plain["probes"]
    for name, options in probes.items():
        if not isinstance(options, Mapping):
            raise UserError(f"probes.{name}: expected a group of settings; got {options!r}")
    groups = {
        "model": bind(MODELS[family], plain["model"], "model"),
        "norm": bind(NormConfig, plain["norm"], "norm"),
        "data": bind(DATA[data], plain["data"], "data"),
        "optim": bind(OptimConfig, plain["optim"], "optim"),
    }
    run = bind(RunConfig, rest, "")
    model, dataset = groups["model"], groups["data"]
    if isinstance(model, DlnConfig) != isinstance(dataset, GaussianConfig):
        needs = " or ".join(DATA_OF[family])
        raise UserError(f"data: model={model.name} needs data={needs}; got {dataset.name}")
    if isinstance(model, DlnConfig):
        why = "float64 or float32 with model=dln, whose gradients span 15 decades"
        expect(run.precision != "bf16", "precision", why, run.precision)
    if isinstance(model, DlnConfig) and isinstance(dataset, GaussianConfig):
        expect(dataset.d == model.d, "data.d", f"model.d, which is {model.d}", dataset.d)
    # As bound, not as given, so that 0.1 and "0.1" are one run.
    checked = {**{name: asdict(group) for name, group in groups.items()}, **asdict(run)}
    return Config(
        **groups,  # type: ignore[arg-type]
        probes={str(name): dict(options) for name, options in probes.items()},
        run=run,
        plain={**{k: v for k, v in plain.items() if k != "experiment"}, **checked},
    )
