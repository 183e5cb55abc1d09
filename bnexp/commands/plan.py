"""A Slurm array script whose tasks share the runs of ``bnexp reproduce`` out among themselves."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SCRIPT = """#!/bin/bash
#SBATCH --job-name=bnexp
#SBATCH --array=1-{tasks}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem={memory_gb}G
#SBATCH --time={minutes}{gpus}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=bnexp-%A_%a.txt
#SBATCH --signal=TERM@120
# {todo} runs are to be made. Each task makes those that no other makes or has made; start more or
# fewer, now or later, anywhere that sees the folder. By ssh, srun or Kubernetes: only the command.
srun --ntasks=1 {command}
code=$?
if [ $code -eq 143 ]; then  # its time was up, and it has saved
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code"""


def script(arguments: Sequence[str], todo: int, tasks: int, job: Mapping[str, Any]) -> str:
    """The script that starts ``bnexp`` with ``arguments`` in ``tasks`` tasks with what ``job`` says
    of cpus, gpus, memory_gb and minutes."""
    gpus = f"\n#SBATCH --gres=gpu:{job['gpus']}" if job["gpus"] else ""
    command = shlex.join([sys.executable, "-m", "bnexp.cli", *arguments])
    return SCRIPT.format(**{**job, "gpus": gpus}, tasks=tasks, todo=todo, command=command)
