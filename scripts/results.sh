#!/usr/bin/env bash
# Make committed reference results again: bash scripts/results.sh dln|quick
# Runs go to outputs/<name> (what is there is not made again); small copies, figures, claims and
# theorems to results/<name>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"

name=${1:-}
# sweep RECIPE OVERRIDES..: the runs of a recipe, one on each core
sweep() {
  bnexp train -m "experiment=$1" "${settings[@]}" "${@:2}" out="outputs/$name" threads=1 \
    hydra/launcher=joblib hydra.launcher.batch_size=1 progress=false
}

case "$name" in
  dln) # the deep linear network at the paper's size
    settings=(preset=paper)
    sweep fig3b seed=0,1,2,3,4,5,6,7,8,9
    sweep fig13 seed=0,1,2,3,4,5,6,7,8,9
    sweep figE1 seed=0
    sweep figE4b seed=1,2,3,4,5
    layers=1,11,24 samples=64 figures=(3 5 9 10 11 13 E1 E4)
    ;;
  quick) # preset quick, three seeds: the VGG at an eighth of its width on handwritten digits, the DLN for 1,000 steps
    settings=(preset=quick seed=0,1,2)
    for recipe in fig1 fig2 fig3a fig5a claim2 figE2 figE3a figE5a fig3b fig13 figE3b figE4b figE5b; do sweep "$recipe"; done
    layers=1,2,3,9,11,13,24 samples=64 figures=(1 2 3 4 5 6 8 9 10 11 12 13 E2 E3 E4 E5)
    ;;
  *)
    echo "results.sh: expected the name of a set of results: dln or quick" >&2
    exit 2
    ;;
esac
rm -rf "results/$name"
bnexp compact --runs "outputs/$name" --out "results/$name" --layers "$layers" --samples "$samples"
bnexp figures "${figures[@]}" --runs "results/$name" --out "results/$name/figures" --format png
bnexp claims --runs "outputs/$name" --out "results/$name/claims" --format png >/dev/null
bnexp theory --runs "outputs/$name" >"results/$name/theory.txt"
