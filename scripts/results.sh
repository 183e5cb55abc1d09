#!/usr/bin/env bash
# Make committed reference results again: bash scripts/results.sh NAME [OVERRIDES..], NAME one of
# dln, dln_settings, dln_phases, quick, quick_task, cifar10, vgg_settings, vgg_level, beyond.
# Runs go to outputs/results-<name> (what is there is not made again); small copies, figures, claims,
# numbers and theorems to results/<name>; then the generated parts of README and docs are filled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1

name=${1:-}
shift || true
runs=outputs/results-$name
more=("$@") keep=() figures= report=yes
sweep() { bnexp train -m "${settings[@]}" "$@" "${more[@]}" out="$runs" threads=1 hydra/launcher=joblib progress=false; }

case "$name" in
  dln) # the deep linear network at the paper's size, thirty seeds
    settings=(preset=paper model=dln probes.activations.samples=64)
    sweep norm=none,bn,l1,l2,linf optim.lr=1e-6,1e-7 'seed=range(30)'
    keep=(--layers 1,9,11,17,24 --samples 64)
    ;;
  dln_settings) # which settings bring out the paper's curves
    settings=(preset=paper seed=0,1,2,3,4)
    for recipe in dln_settings dln_settings_normal dln_settings_init; do sweep "experiment=$recipe"; done
    figures=dln_settings report=
    ;;
  dln_phases) # figure E6: learning rate, depth and width
    settings=(preset=paper)
    sweep experiment=figE6
    figures=E6 report=
    ;;
  quick) # preset quick, three seeds of the VGG, the preset's five of the DLN
    settings=(preset=quick seed=0,1,2)
    for recipe in fig1 fig2 fig3a fig5a claim2 figE2 figE3a figE5a; do sweep "experiment=$recipe"; done
    settings=(preset=quick)
    for recipe in fig3b fig5b figE3b figE4b figE5b; do sweep "experiment=$recipe"; done
    keep=(--layers 1,2,3,5,9,10,11,13,17,24 --samples 48)
    ;;
  quick_task) # how hard the task of preset quick should be
    settings=(preset=quick seed=0,1,2)
    for recipe in quick_task quick_task_place quick_task_batch; do sweep "experiment=$recipe"; done
    figures=quick_task report=
    ;;
  vgg_settings) # what the paper leaves open about its VGG, 1,000 steps; give the data, as for cifar10
    settings=(preset=cpu)
    for recipe in "" _head _init _momentum _width; do sweep "experiment=vgg_settings$recipe"; done
    figures=vgg_settings report=
    keep=(--layers 5 --samples 4)
    ;;
  vgg_level) # the level of the loss at step 0, at full width; give the data, as for cifar10
    settings=(preset=cpu)
    sweep experiment=vgg_level
    figures=vgg_level report=
    ;;
  cifar10) # VGG-16 at a quarter of its width, 5,000 steps; give the data: data=images data.path=FILE
    settings=(preset=cpu model=vgg norm=none,bn,noisy_bn optim.lr=0.1 seed=0,1,2)
    sweep
    settings=(preset=cpu)
    for recipe in fig4 fig2 fig1 fig5a fig3a claim2 figE2 figE3a figE5a; do sweep "experiment=$recipe"; done
    figures="1 2 3 4 5 6 8 11 12 E2 E4"
    keep=(--layers 1,2,3,5,9,10,11,13 --samples 64)
    ;;
  beyond) # what others say of BN: figures E7 to E14, preset quick, three seeds
    settings=(preset=quick seed=0,1,2)
    for recipe in figE7 figE8 figE8_resnet figE9 figE10 figE11a figE11b figE12 figE13 figE14; do
      sweep "experiment=$recipe"
    done
    keep=(--samples 64)
    figures="E7 E8 E9 E10 E11 E12 E13 E14"
    ;;
  *)
    echo "results.sh: expected dln, dln_settings, dln_phases, quick, quick_task, cifar10, vgg_settings, vgg_level or beyond; got '$name'" >&2
    exit 2
    ;;
esac
rm -rf "results/$name"
bnexp compact --runs "$runs" --out "results/$name" --where seed=0 "${keep[@]}"
others=$(seq -s, 1 99) # whose distributions no figure draws
if [ -n "$(bnexp runs --runs "$runs" --json | grep -m 1 '"seed": [1-9]')" ]; then
  bnexp compact --runs "$runs" --out "results/$name" --where "seed=$others" "${keep[@]}" --samples 4
fi
bnexp figures $figures --runs "results/$name" --out "results/$name/figures" --format png
bnexp claims --runs "results/$name" --out "results/$name/claims" >/dev/null
[ -z "$report" ] || bnexp report --runs "results/$name" --out "results/$name/report.html" >/dev/null
bnexp verify results --write --document README.md --document docs/findings.md --document docs/quick_task.md
