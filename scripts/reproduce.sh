#!/usr/bin/env bash
# The main job: run what is missing, draw figures, judge claims, write report.html. Arguments go to `bnexp reproduce`; the preset is quick unless said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
preset=preset=quick
for argument in "$@"; do
  case "$argument" in preset=*) preset= ;; esac
done
exec .venv/bin/bnexp reproduce ${preset:+"$preset"} "$@"
