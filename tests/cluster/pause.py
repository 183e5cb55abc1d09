"""A plug-in: a probe that takes as long as the environment says, so that runs can be met midway."""

from __future__ import annotations

import os
import time

from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@PROBES.register("pause", Schedule)
class Pause(Probe):
    tables = {"pause": {"step": "training step t"}}
    passive = True

    def before_update(self, step: Step) -> Rows:
        time.sleep(float(os.environ.get("BNEXP_TEST_PAUSE", "0")))
        return {}
