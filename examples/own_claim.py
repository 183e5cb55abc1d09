"""A claim of your own, judged over seeds from runs of your own loop.

python examples/own_claim.py [DIR]; then: bnexp claims OWN.1 --plugins own_claim --runs DIR
"""

import math
import sys

import torch
from torch import nn
from torch.nn import functional as F

from bnexp import watch
from bnexp.claims import Claim, judge_claim, register
from bnexp.claims.compare import COMPARISONS, Term
from bnexp.claims.statistics import Region
from bnexp.runs import find_runs

CLAIM = register(
    Claim(
        id="OWN.1",
        statement="With LayerNorm this network's loss ends lower than without.",
        short="LayerNorm ends lower",
        criterion="Holds if the log10 of the ratio of the losses is below 0.",
        source="examples/own_claim.py",
        statistic="log10 of the final train losses, LayerNorm / none",
        compare=COMPARISONS["ratio"],
        region=Region(-math.inf, 0.0),
        parts={"": tuple(Term("train_loss", n, 0.5, summary="final") for n in ("layer", "none"))},
        family="sequential",
        recipe="examples/own_claim.py",
    )
)


def train(norm: str, seed: int, out: str) -> None:
    torch.manual_seed(seed)
    x = torch.randn(64, 4)
    y = (x[:, 0] * x[:, 1] > 0).long()
    between = [nn.LayerNorm(24)] if norm == "layer" else []
    model = nn.Sequential(nn.Linear(4, 24), *between, nn.Tanh(), nn.Linear(24, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    config = {"seed": seed, "steps": 60, "data": {"name": "xor", "label": "xor"}}
    probes = ("train", "landscape")
    with watch(model, optimizer, F.cross_entropy, 10, probes, out, config=config) as watcher:
        for _ in range(60):
            with watcher((x, y)):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else "outputs/own_claim"
    for seed in range(4):
        for norm in ("none", "layer"):
            train(norm, seed, out)
    judgement = judge_claim(CLAIM, find_runs(out), out)
    print(judgement.verdict, *judgement.parts, sep="\n")
