"""The paper's figures, drawn from run directories beside the paper's own curves, and our own.

Each registers itself with what it needs of which recipe's runs, and with a function that puts
panels on a page; in a user's module likewise::

    @figure("myfig", "its title", needs("fig4", "vgg", ["none", "bn"], [0.1], ["train"]))
    def draw(page: Page) -> None:
        page.panel(page.figure.subplots(), "a", TRAIN_LOSS, "vgg")

(`bnexp.figures.page.figure`, `bnexp.analysis.select.needs`, `bnexp.analysis.quantities`.) Reads
runs through `bnexp.analysis` and nothing else of the package.
"""

from bnexp.figures.draw import FORMATS, draw_figures, figure, figure_ids, message

__all__ = ["FORMATS", "draw_figures", "figure", "figure_ids", "message"]
