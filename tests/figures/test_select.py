"""Which runs a figure takes, which a user can choose, and what is said of those left out."""

from pathlib import Path

import pytest
from looking import artists, line, panels, words
from synthetic_runs import make_run, runs_in

from bnexp.analysis.scales import at_paper_scale
from bnexp.analysis.select import needs, select, with_choice
from bnexp.cli import main
from bnexp.commands import figures
from bnexp.errors import UserError
from bnexp.figures import draw_figures, figure
from bnexp.figures.style import look
from bnexp.runs import find_runs

COMMITTED = Path(__file__).parents[2] / "results" / "cifar10"
NEEDS = needs("fig4", "vgg", ["none", "bn"], [0.1], ["train"])


def seeds(selection, norm):
    return [run.seed for run in selection.runs("vgg", norm, 0.1, "train")]


def test_runs_are_found_by_what_they_computed_one_per_seed(root):
    for seed in (2, 0):
        make_run(root, "vgg", "bn", 0.1, seed=seed)
    make_run(root, "vgg", "bn", 0.2)
    make_run(root, "vgg", "none", 0.1, tables=["eval"])
    found = select(NEEDS, runs_in(root))
    assert seeds(found, "bn") == [0, 2]
    assert found.describe_missing() == "VGG none lr 0.1", "its run lacks the table"


def test_committed_runs_from_before_and_after_options_came_are_seeds_of_one_scale():
    chosen = select(NEEDS, find_runs(COMMITTED))
    kinds = {len(run.config["optim"]) for run in chosen.of("vgg")}
    assert len(kinds) == 2, "from before and after options came"
    assert [seeds(chosen, norm) for norm in ("none", "bn")] == [[0, 1, 2]] * 2


def test_of_two_scales_the_more_complete_is_taken_then_the_longer(root):
    make_run(root, "vgg", "bn", 0.1, steps=80)
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.1, steps=40)
    assert select(NEEDS, runs_in(root)).steps("vgg") == 40
    make_run(root, "vgg", "none", 0.1, steps=80)
    assert select(NEEDS, runs_in(root)).steps("vgg") == 80


def test_needs_tell_runs_apart_by_settings_that_make_no_other_scale(root):
    make_run(root, "vgg", "bn", 0.1, optim__weight_decay=0.02)
    make_run(root, "vgg", "bn", 0.1, optim__weight_decay=0, optim__schedule="grow")
    wheres = (
        (("optim.weight_decay", 0.02), ("optim.schedule", None)),
        (("optim.weight_decay", 0.0), ("optim.schedule", "grow")),
    )
    both = needs("mine", "vgg", ["bn"], [0.1], ["train"], wheres)
    found = select(both, runs_in(root))
    values = [found.runs("vgg", "bn", 0.1, "train", where=where) for where in wheres]
    assert [run.option("optim.weight_decay") for (run,) in values] == [0.02, 0]
    assert not found.describe_left_out()
    lacking = select(both, values[0])
    assert lacking.describe_missing() == "VGG bn lr 0.1 optim.weight_decay=0 optim.schedule=grow"


def test_an_unfinished_run_only_where_there_is_no_other(root):
    done = make_run(root, "vgg", "bn", 0.1)
    half = make_run(root, "vgg", "bn", 0.1, seed=1)
    (half / "status.json").write_text('{"state": "running", "step": 10}')
    assert seeds(select(NEEDS, runs_in(root)), "bn") == [0]
    (done / "status.json").write_text('{"state": "failed", "step": 20}')
    assert seeds(select(NEEDS, runs_in(root)), "bn") == [0, 1]


def test_landscapes_along_random_directions_are_not_the_papers(root):
    make_run(root, "vgg", "bn", 0.1, probes__landscape={"etas": [1], "direction": "random"})
    assert select(figure("4").needs, runs_in(root)).empty


def test_the_papers_scale_is_recognised(root):
    paper = {"model__width": 1.0, "data__name": "cifar10", "data__label": "CIFAR-10"}
    make_run(root, "vgg", "bn", 0.1, steps=15_000, every=5000, **paper)
    make_run(root, "dln", "bn", 1e-6, steps=10_000, every=5000)
    make_run(root, "vgg", "none", 0.1)
    found = {(run.family, run.norm): at_paper_scale(run) for run in runs_in(root)}
    assert found == {("vgg", "bn"): True, ("dln", "bn"): True, ("vgg", "none"): False}


def test_other_norms_and_rates_are_drawn_with_looks_of_their_own(root):
    for norm in ("none", "group"):
        make_run(root, "vgg", norm, 0.05)
    recipe = figure("4")
    selection = select(with_choice(recipe.needs, ["none", "group"], [0.05]), runs_in(root))
    assert not selection.describe_missing()
    drawn = recipe.page(selection).figure
    assert line(panels(drawn)["c:beta_smoothness"][0], "line:group:0.05")[0].size
    assert not artists(drawn, "paper:"), "the paper has no run at this learning rate"
    assert look("group") == look("group") != look("instance")
    assert "GroupNorm" in words(drawn)


def test_groups_of_runs_that_could_serve_are_said_and_can_be_chosen(root, capsys):
    for batch in (128, 64, 16):
        for norm in ("none", "bn"):
            make_run(root, "vgg", norm, 0.1, batch_size=batch)
    command = ["figures", "4", "--runs", str(root), "--format", "png", "--no-paper"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "figure 4: left out" in said
    assert "batch_size=" in said
    assert "--where KEY=VALUE" in said
    assert main([*command, "--where", "batch_size=64"]) == 0
    assert "left out" not in capsys.readouterr().err
    assert main([*command, "--where", "batch_size=65"]) == 2


def test_many_groups_that_could_serve_are_told_by_the_settings_in_which_they_differ(root):
    for batch in (16, 32, 64, 128, 256, 512):
        make_run(root, "vgg", "bn", 0.1, batch_size=batch)
    chosen = select(NEEDS, runs_in(root))
    (met,) = chosen.of("vgg")
    words, _, values = chosen.describe_left_out().partition(" (")
    assert words == "5 runs that differ in batch_size"
    others = {16, 32, 64, 128, 256, 512} - {met.option("batch_size")}
    assert {int(value) for value in values.rstrip(")").split(", ")} == others


def test_a_setting_that_a_scale_does_not_name_is_told_at_its_value(root):
    for schedule in ("constant", "cosine"):
        for seed in range(2 if schedule == "cosine" else 1):
            make_run(root, "vgg", "bn", 0.1, seed=seed, optim__schedule=schedule)
    said = select(NEEDS, runs_in(root)).describe_left_out()
    assert said == "1 run with optim.schedule=constant"


def test_options_of_a_norm_are_never_mixed_and_what_is_left_out_is_said(root):
    """Of two seeds each, by ids of which any order is possible; one setting has a third seed."""
    for seed in (0, 1):
        for eps in (1e-5, 1e-3, 1e-4):
            make_run(root, "vgg", "bn", 0.1, seed=seed, norm__eps=eps)
    make_run(root, "vgg", "bn", 0.1, seed=2, norm__eps=1e-4)
    chosen = select(NEEDS, runs_in(root))
    assert {run.option("norm.eps") for run in chosen.of("vgg")} == {1e-4}
    assert seeds(chosen, "bn") == [0, 1, 2]
    said = chosen.describe_left_out()
    assert "2 runs with norm.eps=1e-05" in said
    assert "2 runs with norm.eps=0.001" in said


def test_seeds_of_their_own_are_seeds(root):
    for order in range(4):
        make_run(root, "vgg", "bn", 0.1, seed_order=order)
    chosen = select(NEEDS, runs_in(root))
    assert len(chosen.runs("vgg", "bn", 0.1, "train")) == 4
    assert chosen.describe_left_out() == ""


@pytest.mark.parametrize("probes", [{}, {"probes__curvature": {"every": 2, "dense": 0}}])
def test_a_run_of_other_code_is_left_out_aloud_unless_it_is_that_of_other_probes(root, probes):
    for code, more in {"aaaa": {}, "bbbb": probes}.items():
        path = make_run(root, "vgg", "bn", 0.1, **more)
        copy = path.rename(path.with_name(f"vgg16-bn-{code}"))
        config = copy / "config.yaml"
        config.write_text(config.read_text().partition("\n")[2].replace(path.name, copy.name))
        (copy / "status.json").write_text('{"state": "done", "step": 40}')
    chosen = select(NEEDS, runs_in(root))
    assert {run.code for run in runs_in(root)} == {"aaaa", "bbbb"}
    if not probes:
        assert [run.code for run in chosen.runs("vgg", "bn", 0.1, "train")] == ["aaaa"]
    assert chosen.describe_left_out() == ("" if probes else "1 run with code=bbbb")


@pytest.mark.parametrize("other", [{}, {"batch_size": 64}])
def test_more_measurements_alone_are_no_difference(root, other):
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.1, **other)
        make_run(root, "vgg", norm, 0.1, seed=1, probes__curvature={"every": 2, "dense": 0})
    for number in ("4", "E4"):
        words = select(figure(number).needs, runs_in(root)).describe_left_out()
        assert "probes" not in words
        assert bool(words) == bool(other)


@pytest.mark.parametrize("bad", ["0", "-1", "x", "", "0.1,nan"])
def test_learning_rates_are_positive_numbers(bad):
    with pytest.raises(UserError, match=r"^--lr: expected positive numbers"):
        figures.lrs_of(bad)


def test_a_damaged_part_is_named(root, tmp_path):
    path = make_run(root, "vgg", "bn", 0.1)
    (part,) = (path / "tables" / "smoothness").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(UserError, match=part.name):
        draw_figures(["4"], runs_in(root), tmp_path / "out", ["png"])
