"""Which runs a user can choose, figures of one's own, and what is said of runs left out."""

from pathlib import Path

import pytest
from looking import artists, line, panels, words
from matplotlib.figure import Figure
from synthetic_runs import make_run, runs_in

from bnexp.analysis.select import needs
from bnexp.commands import figures
from bnexp.errors import UserError
from bnexp.figures import Choice, draw_figures, figure, figure_ids, select
from bnexp.figures.style import look
from bnexp.registry import FIGURES


def test_other_norms_and_rates_are_drawn_with_looks_of_their_own(root: Path) -> None:
    for norm in ("none", "group"):
        make_run(root, "vgg", norm, 0.05)
    choice = Choice(("none", "group"), (0.05,))
    recipe = figure("4")
    selection = select(choice.of(recipe), runs_in(root))
    assert selection.missing == ()
    drawn = recipe.draw(selection, True)
    assert line(panels(drawn)["c:beta_smoothness"][0], "line:group:0.05")[0].size
    assert not artists(drawn, "paper:"), "the paper has no run at this learning rate"
    assert look("group") == look("group") != look("instance")
    assert "group" in words(drawn)


def test_groups_of_runs_that_could_serve_are_told_and_can_be_chosen(root: Path, capsys) -> None:
    for batch in (128, 64, 16):
        for norm in ("none", "bn"):
            make_run(root, "vgg", norm, 0.1, batch_size=batch)
    (drawn,) = draw_figures(["4"], runs_in(root), root / "out", ["png"])
    assert drawn.left_out.startswith("4 runs with batch_size=")
    arguments = {"runs": root, "out": root / "out", "formats": "png", "paper": False}
    assert figures.run(["4"], **arguments) == 0
    assert "--where KEY=VALUE" in capsys.readouterr().err
    assert figures.run(["4"], **arguments, where=["batch_size=64"]) == 0
    assert "left out" not in capsys.readouterr().err
    with pytest.raises(UserError, match="batch_size=65"):
        figures.run(["4"], **arguments, where=["batch_size=65"])


def test_more_measurements_alone_are_not_told_as_another_group(root: Path) -> None:
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.1)
        more = {"probes__curvature": {"every": 2, "dense": 0}}
        make_run(root, "vgg", norm, 0.1, seed=1, **more)
    selection = select(figure("E4").needs, runs_in(root))
    assert selection.left_out == {}


@pytest.mark.parametrize("bad", ["0", "-1", "x", "", "0.1,nan"])
def test_learning_rates_are_positive_numbers(bad: str) -> None:
    with pytest.raises(UserError, match=r"^--lr: expected positive numbers"):
        figures.choice_of(None, bad)


def test_a_figure_of_ones_own_is_drawn_like_the_others(root: Path) -> None:
    mine = needs("fig4", "mlp", ["none"], [0.1], {"train": "all"})

    @FIGURES.register("myfig", title="Mine", recipes=("fig4",), needs=mine)
    def draw(selection, paper):
        page = Figure()
        run = selection.runs("mlp", "none", 0.1, "train")[0]
        page.add_subplot().plot(run.table("train")["loss"])
        return page

    try:
        make_run(root, "vgg", "none", 0.1, model={"name": "mlp", "family": "mlp"})
        assert figure_ids()[-1] == "myfig"
        assert figures.chosen(["myfig"]) == ["myfig"]
        arguments = {"runs": root, "out": root / "out", "formats": "png", "paper": True}
        assert figures.run(["myfig"], **arguments) == 0
        assert (root / "out" / "myfig.png").is_file()
    finally:
        FIGURES._entries.pop("myfig")


def test_a_baseline_at_chance_is_said_where_the_papers_trains(draw, runs) -> None:
    """The made-up VGG without BN learns nothing at lr 0.1 and 0.5; the paper's only at 0.5."""
    for number, panel in (("1", "a:train_accuracy"), ("4", "a:loss_landscape")):
        axes = panels(draw(number))[panel][0]
        assert [a.get_text() for a in artists(axes, "chance:")] == ["at chance"]
        assert artists(axes, "chance:none:0.1")
    assert not artists(draw("10"), "chance:")


def test_one_spike_does_not_set_the_limits_and_is_marked(draw) -> None:
    """The paper's beta of 1e15 at one step, in Fig 10c."""
    axes = panels(draw("10"))["c:beta_smoothness"][0]
    assert axes.get_ylim()[1] < 1e14
