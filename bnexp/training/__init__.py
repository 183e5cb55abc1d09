"""Training: the loop, checkpoints and the life of one run."""

from bnexp.training.failures import reason, record
from bnexp.training.interrupts import Interrupted
from bnexp.training.reload import Reloaded, reload
from bnexp.training.run import FINISHED, Job, identify, train

__all__ = [
    "FINISHED",
    "Interrupted",
    "Job",
    "Reloaded",
    "identify",
    "reason",
    "record",
    "reload",
    "train",
]
