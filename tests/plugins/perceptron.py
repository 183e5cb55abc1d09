"""The model ``perceptron``: linear layers on the pixels, the last but one normalised."""

from dataclasses import dataclass

from torch import nn

from bnexp.models import Chain, MakeNorm, ModelOptions, Stage, Task
from bnexp.registry import MODELS, at_least


@dataclass(frozen=True)
class PerceptronOptions(ModelOptions):
    """``hidden`` units in each of two hidden layers."""

    hidden: int

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.hidden", self.hidden, 1)


@MODELS.register("perceptron", PerceptronOptions, task="classification")
def perceptron(options: PerceptronOptions, norm: MakeNorm, task: Task) -> Chain:
    """Images ``(batch, 3, 32, 32)``, logits ``(batch, classes)``."""
    sizes = [task.channels * 32 * 32, options.hidden, options.hidden]
    hidden = [
        Stage(nn.Linear(sizes[i - 1], sizes[i]), norm(i, sizes[i]), nn.ReLU()) for i in (1, 2)
    ]
    return Chain([*hidden, Stage(nn.Linear(options.hidden, task.classes))])
