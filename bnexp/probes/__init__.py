"""The measurements, one file each, registered in ``registry.PROBES``.

The training loop knows no probe by name: a new one is a file with a registered class, and its
settings under ``probes`` in a config.
"""

from bnexp.probes.base import (
    LayerProbe,
    LayerSchedule,
    Probe,
    Rows,
    Schedule,
    Setting,
    Step,
    build_probes,
    leaving_no_trace,
)

__all__ = [
    "LayerProbe",
    "LayerSchedule",
    "Probe",
    "Rows",
    "Schedule",
    "Setting",
    "Step",
    "build_probes",
    "leaving_no_trace",
]
