"""Training: the loop, checkpoints and the life of one run."""

from bnexp.training.interrupts import Interrupted
from bnexp.training.run import FINISHED, Job, identify, train

__all__ = ["FINISHED", "Interrupted", "Job", "identify", "train"]
