"""Other people's networks, small, and what a measurement must not change."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

CLASSES = 3


class Language(nn.Module):
    """A transformer on tokens: embedding, attention, LayerNorm, dropout, logits by position."""

    def __init__(self, dropout: float = 0.0, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(tokens))).transpose(1, 2)


def images(size: int = 3, side: int = 32, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(5)
    return torch.randn(size, 3, side, side, dtype=dtype), torch.randint(0, CLASSES, (size,))


def tokens(size: int = 3, length: int = 5) -> Any:
    torch.manual_seed(6)
    return torch.randint(0, 11, (size, length)), torch.randint(0, 11, (size, length))


def resnet18() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=CLASSES).double(), images(side=16)


def transformer(**options: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    return Language(**options).double(), tokens()


def convolutions(*more: nn.Module) -> nn.Sequential:
    """Two convolutions with torch's BN and ReLUs in place, ``more`` after them, and logits."""
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    second = [nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, CLASSES)]
    return nn.Sequential(*first, *second, *more, *head).double()


LOSS: Callable[[Any, Any], Tensor] = F.cross_entropy


def state(model: nn.Module) -> dict[str, Any]:
    """All of ``model`` and of the random streams that training goes on from."""
    modules = list(model.modules())
    return {
        "tensors": [t.detach().clone() for t in (*model.parameters(), *model.buffers())],
        "identity": [(id(t), t.data_ptr()) for t in (*model.parameters(), *model.buffers())],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "flags": [(m.training, getattr(m, "track_running_stats", None)) for m in modules],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
        "attributes": [sorted(vars(m)) for m in modules],
        "lengths": [
            [len(v) for v in vars(m).values() if isinstance(v, list | dict)] for m in modules
        ],
        "plain": [
            [*t]
            for m in modules
            if (t := [v.detach().clone() for v in vars(m).values() if isinstance(v, Tensor)])
        ],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
    }
