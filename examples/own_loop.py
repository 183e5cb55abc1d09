"""The suite's measurements in a training loop of your own: two lines around the step.

python examples/own_loop.py [DIR]; then: bnexp runs --runs DIR
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from bnexp import watch
from bnexp.runs import load_runs

out = sys.argv[1] if len(sys.argv) > 1 else "outputs/own_loop"
pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8)
targets = torch.tensor(labels)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(288, 10)
)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)

with watch(model, optimizer, F.cross_entropy, every=10, out=out) as watcher:
    for _ in range(40):
        rows = torch.randint(len(images), (64,))
        batch = images[rows], targets[rows]
        with watcher(batch):  # or watcher.before(batch) here, watcher.after() below
            optimizer.zero_grad()
            F.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()
        schedule.step()

tables = load_runs(out)  # one pandas DataFrame per table, joined with the settings
print(tables["train"][["step", "loss", "accuracy", "lr"]].to_string(index=False))
print(tables["smoothness"][["step", "lipschitz", "beta"]].to_string(index=False))
