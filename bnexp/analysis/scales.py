"""The sizes of the paper's own runs, and whether ours have them (Appendix A.1)."""

from __future__ import annotations

from bnexp.runs import Run

PAPER_SCALE = {
    "vgg": "full-width VGG-16, CIFAR-10, batch 128, 15,000 steps",
    "dln": "25 layers of 10×10, 1,000 samples, 10,000 steps",
}
PAPER_STEPS = {"vgg": 15_000, "dln": 10_000}


def at_paper_scale(run: Run) -> bool:
    """Whether the run has the size of the paper's own."""
    if run.steps != PAPER_STEPS[run.family]:
        return False
    if run.family == "vgg":
        asked = (run.model, run.width, run.option("data.name"), run.option("batch_size"))
        return asked == ("vgg16", 1.0, "cifar10", 128)
    size = (run.option("model.k"), run.option("model.d"), run.option("data").get("samples"))
    return size == (25, 10, 1000)

LAYERS = {"vgg": (5, 10), "dln": (9, 17)}
"""The layers whose internal covariate shift the paper shows (Fig 3)."""

RATES = {"vgg": 0.1, "dln": 1e-6}
"""The paper's learning rates unless it says otherwise."""
