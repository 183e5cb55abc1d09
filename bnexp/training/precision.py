"""The numbers that a run computes in: float64, float32, or float32 with faster products."""

from __future__ import annotations

import os

import torch

from bnexp.models import Network


def dtype_of(precision: str) -> torch.dtype:
    """The type of parameters, gradients, batches and the optimiser's state."""
    return torch.float64 if precision == "float64" else torch.float32


def autocast_of(precision: str) -> torch.dtype | None:
    """The type of the products in forward and backward passes, where it is another one."""
    return torch.bfloat16 if precision == "bf16" else None


def cast(model: Network, precision: str, device: torch.device) -> Network:
    """``model`` on ``device``, computing in ``precision``: in training and in every measurement."""
    model = model.to(device, dtype_of(precision))
    model.autocast = autocast_of(precision)
    return model


def set_up_cuda(*, tf32: bool, deterministic: bool) -> None:
    """float32 in full precision unless ``tf32``; if asked, only kernels that repeat themselves.

    For the whole process. TensorFloat-32 rounds the factors of a product to 10 bits.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
