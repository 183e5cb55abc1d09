#!/usr/bin/env bash
# Make .venv from requirements.lock and install bnexp into it, editable. Needs bash and python3 only.
# Fast when there is nothing to do. Safe to call from the other scripts every time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

# uv, from wherever it is: the PATH, this project's own .uv, or the package index.
find_uv() {
  if command -v uv >/dev/null 2>&1; then UV=$(command -v uv); return 0; fi
  if [ -x .uv/bin/uv ]; then UV=$PWD/.uv/bin/uv; return 0; fi
  return 1
}
install_uv() {
  say "fetching uv into .uv"
  rm -rf .uv
  # A venv of its own, so that this works where pip refuses to install system-wide. Debian's python3 may lack ensurepip
  # (no python3-venv): then pip installs into a folder instead.
  if python3 -m venv .uv >/dev/null 2>&1 && .uv/bin/python -m pip install -q uv >&2; then return 0; fi
  rm -rf .uv && mkdir -p .uv
  if python3 -m pip install -q --target .uv/site uv >&2 \
    || python3 -m pip install -q --break-system-packages --target .uv/site uv >&2; then
    mkdir -p .uv/bin && ln -sf ../site/bin/uv .uv/bin/uv && return 0
  fi
  say "could not install uv: need either 'python3 -m venv' or 'python3 -m pip' to work (Debian: apt install python3-venv)"
  exit 1
}
command -v python3 >/dev/null 2>&1 || { say "python3 was not found: Python 3.11 or later is expected"; exit 1; }
find_uv || { install_uv; find_uv; }

stamp=.venv/.bnexp-stamp
want=$(cat requirements.lock pyproject.toml | cksum)
if [ -x .venv/bin/bnexp ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$want $PWD" ]; then exit 0; fi

say "building .venv from requirements.lock (torch and its libraries are a few GB: the first time takes a minute or more)"
rm -f "$stamp"
"$UV" venv -q --allow-existing --python '>=3.11' .venv
"$UV" pip sync -q --require-hashes --python .venv/bin/python requirements.lock
"$UV" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
printf '%s' "$want $PWD" >"$stamp"
say "done"
