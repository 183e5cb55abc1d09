#!/usr/bin/env bash
# Everything that must hold before a commit: format, lint, types, tests. Other arguments go to pytest.
#   bash scripts/test.sh           all of it, minutes
#   bash scripts/test.sh --quick   under a minute: no test of whole runs, figures or commands
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
unset PYTHONDONTWRITEBYTECODE # else each of hundreds of processes compiles all that it imports
tests=()
if [ "${1:-}" = --quick ]; then
  shift
  tests=(-m "not slow" tests/test_structure.py tests/test_documents.py tests/test_norms.py tests/test_objective.py
    tests/runs tests/config tests/models tests/claims tests/training/test_checkpoint.py)
fi
ruff format --check .
ruff check .
mypy &
types=$!
[ ${#tests[@]} -gt 0 ] || bnexp verify results --document README.md --document docs/findings.md --document docs/quick_task.md
wait $types
cores=$(nproc)
exec python -m pytest -n $((cores < 8 ? cores : 8)) --dist worksteal "${tests[@]}" "$@"
