"""One call measures a network of your own where it stands; nothing of it is changed.

python examples/own_model.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp import measure

torch.manual_seed(0)


class Language(nn.Module):
    """A transformer that says the next token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True), 2
        )
        self.head = nn.Linear(16, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.encoder(self.embed(tokens), mask)).transpose(1, 2)


text = torch.randint(0, 20, (8, 9))
model, batch = Language(), (text[:, :-1], text[:, 1:])
tables = measure(model, F.cross_entropy, batch, lr=0.1)
print(tables["layers"].to_string(index=False))
print(tables["landscape"][["eta", "loss", "predictiveness", "beta"]].to_string(index=False))
print(tables["gradient_shift"].to_string(index=False))
print(tables["sharpness"].to_string(index=False))

# Options by probe; a batch of another kind, and a loss with a term of its own.
named = {"tokens": text[:, :-1], "next": text[:, 1:]}
tables = measure(
    model,
    lambda logits, target: (
        F.cross_entropy(logits, target) + 1e-3 * model.head.weight.square().sum()
    ),
    named,
    {"landscape": {"etas": [0.1, 1.0], "direction": "random"}, "curvature": {}},
    layers=["encoder.layers.1.linear1", "head"],
    forward=lambda model, batch: (model(batch["tokens"]), batch["next"]),
)
print(tables["curvature"][["curvature", "beta_0"]].to_string(index=False))
