#!/usr/bin/env bash
# Make the committed reference results again: bash scripts/results.sh dln
# Runs go to outputs/<name> (what is there is not made again), small copies and figures to results/<name>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"

case "${1:-}" in
  dln) # the deep linear network at the paper's size: Figs 3b, 5b, 9, 10, 11b, 13
    settings=(preset=paper seed=0,1,2 out=outputs/dln threads=1)
    launcher=(hydra/launcher=joblib hydra.launcher.batch_size=1 progress=false)
    bnexp train -m experiment=fig3b "${settings[@]}" "${launcher[@]}"
    bnexp train -m experiment=fig13 "${settings[@]}" "${launcher[@]}"
    layers=1,11,24 figures=(3 5 9 10 11 13)
    ;;
  *)
    echo "results.sh: expected the name of a set of results: dln" >&2
    exit 2
    ;;
esac
rm -rf "results/$1/runs" "results/$1/figures"
bnexp compact --runs "outputs/$1" --out "results/$1" --layers "$layers"
bnexp figures "${figures[@]}" --runs "results/$1" --out "results/$1/figures" --format png
