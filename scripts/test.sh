#!/usr/bin/env bash
# Everything that must hold before a commit: format, lint, types, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
ruff format --check .
ruff check .
mypy
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # the tests are side by side, so each has one thread
exec python -m pytest -n $((cores < 8 ? cores : 8)) --dist worksteal "$@"
