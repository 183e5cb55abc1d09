"""Fig lr_choice, ours: the best learning rate of each normalisation out of a grid, as the paper's
were "selected by hyperparameter optimisation" (Appendix A.1)."""

from __future__ import annotations

import pandas as pd

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import LP
from bnexp.analysis.select import Selection, needs
from bnexp.figures.page import Page, figure
from bnexp.figures.style import SMALL, look, short


@figure(
    "lr_choice",
    "Test accuracy at the end over the learning rate, by normalisation",
    needs("lr_choice", "vgg", LP, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), ("train", "eval")),
)
def fig_lr_choice(page: Page) -> None:
    """A line per norm, the median over seeds, with min to max; in words the best rate of each."""
    table, words = final_accuracies(page.selection), list[str]()
    page.height = 3.0
    axes = page.figure.subplots()
    for norm, mine in table.groupby("norm", sort=False):
        style, over = look(str(norm)), mine.groupby("lr")["accuracy"]
        middle, least, most = over.median(), over.min(), over.max()
        axes.plot(
            middle.index, middle, color=style.colour, linestyle=style.dash, marker=".",
            label=style.label,
        )  # fmt: skip
        axes.fill_between(middle.index, least, most, color=style.colour, alpha=0.13, linewidth=0)
        best, highest = middle.index[int(middle.argmax())], middle.max()
        axes.plot([best], [highest], "o", color=style.colour, fillstyle="none", markersize=9)
        words.append(f"{short(str(norm))} {best:g} ({highest:.1f} %)")
    axes.set(xscale="log", xlabel="learning rate", ylabel=q.TEST_ACCURACY.label)
    axes.legend(fontsize=SMALL, ncols=2)
    page.remarks.append(
        f"Best of the grid by test accuracy at the end, circled: {', '.join(words)}. A run that "
        "diverged counts with its last evaluation."
    )


def final_accuracies(selection: Selection) -> pd.DataFrame:
    """By norm, lr and seed: the last ``accuracy`` in % on the test split."""
    rows = [
        (run.norm, run.lr, run.seed, q.TEST_ACCURACY.trace(run, None).lo[-1])
        for run in selection.of("vgg")
    ]
    return pd.DataFrame(rows, columns=["norm", "lr", "seed", "accuracy"])
