"""Every config composes and checks; presets change sizes and never a definition."""

from __future__ import annotations

import itertools

import pytest

from bnexp.config import check, compose, config_dir, expand
from bnexp.config.recipes import recipe_jobs, recipes
from bnexp.errors import UserError


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


MODELS, NORMS, PRESETS = names("model"), names("norm"), names("preset")


@pytest.mark.parametrize(("model", "preset"), list(itertools.product(MODELS, PRESETS)))
def test_every_model_composes_under_every_preset(model: str, preset: str) -> None:
    config = check(compose([f"model={model}", f"preset={preset}"]))
    assert config.model.name == model
    assert config.data.name == (
        "gaussian" if model == "dln" else "cifar10" if preset in ("cpu", "paper") else "digits"
    )


def test_the_defaults_are_the_papers() -> None:
    vgg = check(compose([]))
    assert (vgg.model.name, vgg.model.width, vgg.run.steps, vgg.run.batch_size) == (
        "vgg16",
        1.0,
        15_000,
        128,
    )
    assert (vgg.optim.lr, vgg.optim.momentum, vgg.optim.weight_decay) == (0.1, 0.0, 5e-4)
    assert vgg.probes["landscape"]["etas"] == [0.5, 1, 2, 4]
    assert vgg.probes["landscape"]["every"] == vgg.probes["gradient_shift"]["every"] == 100
    assert vgg.probes["eval"]["every"] == 1000
    dln = check(compose(["model=dln"]))
    assert (dln.model.k, dln.model.d, dln.run.steps, dln.run.batch_size) == (25, 10, 10_000, None)
    assert (dln.data.samples, dln.optim.lr, dln.run.precision) == (1000, 1e-6, "float64")
    assert dln.probes["landscape"]["etas"] == pytest.approx([10**e for e in (-2, -1, 0, 1, 1.5)])
    assert dln.probes["landscape"]["every"] == 50
    assert dln.model.loss == "half_sum_squares"


SIZES = {
    "model.width",
    "steps",
    "measure.every",
    "measure.eval_every",
    "measure.layers",
    "measure.seeds",
    "preset",
    "data.name",
    "data.label",
    "data.path",
}


def flat(config: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


@pytest.mark.parametrize(("model", "preset"), list(itertools.product(MODELS, PRESETS)))
def test_a_preset_changes_only_sizes_and_schedules(model: str, preset: str) -> None:
    one, other = (flat(compose([f"model={model}", f"preset={p}"])) for p in ("none", preset))
    differing = {key for key in one | other if one.get(key) != other.get(key)}
    schedules = {key for key in differing if key.startswith("probes.")}
    assert differing - schedules <= SIZES
    assert all(key.endswith((".every", ".layers")) for key in schedules)


def test_preset_paper_is_the_papers_size() -> None:
    for model in MODELS:
        one, other = (
            flat(compose([f"model={model}", f"preset={p}", "data=digits"]))
            for p in ("none", "paper")
        )
        assert {key for key in one if one[key] != other[key]} == {"preset"}


@pytest.mark.parametrize("name", recipes())
@pytest.mark.parametrize("preset", ["quick", "cpu", "paper"])
def test_every_recipe_composes(name: str, preset: str) -> None:
    configs = [check(compose(job)) for job in recipe_jobs(name, [f"preset={preset}"])]
    kinds = {(c.model.name, c.norm.name, c.optim.lr) for c in configs}
    seeds = {c.run.seed for c in configs}
    assert len(kinds) >= 2 or name.startswith("figE")
    assert len({(c.norm.name, c.optim.lr, c.run.seed) for c in configs}) == len(configs)
    assert len(configs) == len(kinds) * len(seeds), "every kind of run has the same seeds"
    assert len({c.model.name for c in configs}) == 1


def test_a_sweep_is_the_product_of_its_values() -> None:
    jobs = expand(["norm=none,bn", "seed=range(3)", "steps=5"])
    seen = {(c.norm.name, c.run.seed) for c in map(check, map(compose, jobs))}
    assert seen == set(itertools.product(("none", "bn"), (0, 1, 2)))


def test_an_override_replaces_what_a_recipe_sweeps_over() -> None:
    jobs = recipe_jobs("fig5a", ["preset=quick", "norm=l1", "seed=4,5"])
    seen = {(c.norm.name, c.run.seed) for c in map(check, map(compose, jobs))}
    assert seen == {("l1", 4), ("l1", 5)}


def test_overrides_of_one_family_leave_the_other_alone() -> None:
    both = ["data=digits", "model.width=0.5", "model.k=3", "data.A_std=2.0", "steps=7"]
    vgg = check(compose(recipe_jobs("fig3a", both)[0]))
    dln = check(compose(recipe_jobs("fig3b", both)[0]))
    assert (vgg.model.width, vgg.data.name, vgg.run.steps) == (0.5, "digits", 7)
    assert (dln.model.k, dln.data.name, dln.data.A_std, dln.run.steps) == (3, "gaussian", 2.0, 7)


def test_an_override_that_no_family_knows_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.depth"):
        [compose(job) for job in recipe_jobs("fig3a", ["model.depth=3"])]


def test_one_key_moves_all_the_papers_schedules() -> None:
    config = check(compose(["measure.every=7"]))
    due = {config.probes[p]["every"] for p in ("landscape", "gradient_shift", "moments")}
    assert due == {7}


def test_recipes_have_the_seeds_that_bands_need() -> None:
    def seeds(preset: str, name: str) -> set[int]:
        return {check(compose(job)).run.seed for job in recipe_jobs(name, [f"preset={preset}"])}

    assert seeds("quick", "fig10") == seeds("quick", "fig4") == {0}
    assert seeds("paper", "fig10") == set(range(10))
    assert seeds("paper", "fig4") == {0, 1, 2}
