"""Run directories: how training writes them and how figures, claims and reports read them.

Nothing in here imports torch. A file that is missing, damaged or of another run is a `UserError`
naming it.
"""

from bnexp.runs.compact import compact
from bnexp.runs.directory import FINISHED, RunDirectory
from bnexp.runs.files import write_atomic
from bnexp.runs.frames import joined, load_runs, settings
from bnexp.runs.identity import EXCLUDED, NEUTRAL, code_hash, run_id, siblings, versions
from bnexp.runs.load import (
    Run,
    describe,
    differing,
    find_runs,
    folders_of_runs,
    order,
    printable,
    scale,
    written,
)
from bnexp.runs.lock import RunBusy
from bnexp.runs.tables import Manifest, TableWriter, read_table

__all__ = [
    "EXCLUDED",
    "FINISHED",
    "NEUTRAL",
    "Manifest",
    "Run",
    "RunBusy",
    "RunDirectory",
    "TableWriter",
    "code_hash",
    "compact",
    "describe",
    "differing",
    "find_runs",
    "folders_of_runs",
    "joined",
    "load_runs",
    "order",
    "printable",
    "read_table",
    "run_id",
    "scale",
    "settings",
    "siblings",
    "versions",
    "write_atomic",
    "written",
]  # fmt: skip
