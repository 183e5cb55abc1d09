#!/usr/bin/env bash
# Make committed reference results again: bash scripts/results.sh dln|quick|cifar10 [OVERRIDES..]
# Runs go to outputs/results-<name> (what is there is not made again); small copies, figures, claims,
# numbers and theorems to results/<name>; then the generated parts of README and docs are filled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1

name=${1:-}
shift || true
runs=outputs/results-$name
more=("$@")
sweep() { bnexp train -m "${settings[@]}" "$@" "${more[@]}" out="$runs" threads=1 hydra/launcher=joblib progress=false; }

case "$name" in
  dln) # the deep linear network at the paper's size, thirty seeds
    settings=(preset=paper model=dln probes.activations.samples=64)
    sweep norm=none,bn,l1,l2,linf optim.lr=1e-6,1e-7 'seed=range(30)'
    layers=1,9,11,17,24 samples=64
    ;;
  quick) # preset quick, three seeds
    settings=(preset=quick seed=0,1,2)
    for recipe in fig1 fig2 fig3a fig5a claim2 figE2 figE3a figE5a fig3b fig5b figE3b figE4b figE5b; do sweep "experiment=$recipe"; done
    layers=1,2,3,5,9,10,11,13,17,24 samples=64
    ;;
  cifar10) # VGG-16 at a quarter of its width, 5,000 steps; give the data: data=images data.path=FILE
    settings=(preset=cpu)
    for recipe in fig4 fig2 fig1 fig5a fig3a claim2 figE2; do sweep "experiment=$recipe"; done
    layers=1,2,3,5,9,10,11,13 samples=64
    ;;
  *)
    echo "results.sh: expected the name of a set of results: dln, quick or cifar10" >&2
    exit 2
    ;;
esac
rm -rf "results/$name"
bnexp compact --runs "$runs" --out "results/$name" --layers "$layers" --samples "$samples"
bnexp figures --runs "results/$name" --out "results/$name/figures" --format png
bnexp claims --runs "results/$name" --out "results/$name/claims" >/dev/null
bnexp theory --runs "$runs" >"results/$name/theory.txt"
bnexp verify results --write --document README.md --document docs/findings.md
