"""A second implementation of what the package computes, written from the paper's definitions.

Plain functions over dicts of tensors and torch.func; nothing here comes from ``bnexp``. Layer i has
``W{i}``, perhaps ``b{i}``, and ``gamma{i}``, ``beta{i}`` where it is normalised. The noise of
Algorithm 1 is handed in as tensors: ``noise[i] = (m, s)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.func import grad, grad_and_value

Theta = dict[str, Tensor]
Loss = Callable[[Theta], Tensor]

# Simonyan and Zisserman 2015, table 1: convolutions by multiple of 64 channels, P a max-pool.
VGG = {
    "vgg11": "1 P 2 P 4 4 P 8 8 P 8 8 P",
    "vgg13": "1 1 P 2 2 P 4 4 P 8 8 P 8 8 P",
    "vgg16": "1 1 P 2 2 P 4 4 4 P 8 8 8 P 8 8 8 P",
    "vgg19": "1 1 P 2 2 P 4 4 4 4 P 8 8 8 8 P 8 8 8 8 P",
}

# He et al. 2016, table 1, with the 3x3 stem of their section 4.2: stem, convolutions of each block
# with their stride (P: and a projection), head.
RESNET18 = ["stem", "1", "1", "2P", "1", "2P", "1", "2P", "1", "head"]

# Huang et al. 2017, section 3: two dense layers, a transition, one more dense layer.
DENSENET = ["stem", "dense", "dense", "transition", "dense", "head"]

BATCH = ("bn", "noisy_bn", "l1", "l2", "linf")
SAMPLE = ("layer", "group", "instance")


@dataclass(frozen=True)
class Net:
    """``layers``: per layer ``conv``, ``conv pool`` or ``linear``; or `RESNET18` or `DENSENET`. The
    last has no norm, nor has a VGG's head (the linear layers after its convolutions). Group norm
    has two groups where the units can be parted, ghost batches have four samples."""

    layers: Sequence[str]
    norm: str
    relu: bool
    noise: Mapping[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    eps: float = 1e-5


def vgg_layers(name: str, hidden: int = 0) -> list[str]:
    """The layers of a VGG with so many hidden linear layers before the logits."""
    words = VGG[name].split()
    convs = [
        "conv pool" if following == "P" else "conv"
        for word, following in zip(words, [*words[1:], ""], strict=True)
        if word != "P"
    ]
    return convs + ["linear"] * (hidden + 1)


def layer_of(name: str) -> int:
    return int("".join(c for c in name if c.isdigit()))


def normalise(net: Net, i: int, x: Tensor, theta: Theta) -> Tensor:
    """Norm and noise of layer i on (batch, units) or (batch, channels, h, w); biased variance."""
    over = [0] if x.ndim == 2 else [0, 2, 3]
    count = x.numel() // x.shape[1]
    shape = (1, -1) if x.ndim == 2 else (1, -1, 1, 1)
    if net.norm == "ghost":
        bn = replace(net, norm="bn")
        return torch.cat([normalise(bn, i, part, theta) for part in x.split(4)])
    if net.norm in SAMPLE:
        units = x.shape[1]
        size = {"layer": units, "group": max(units // 2, 2), "instance": 1}[net.norm]
        values = x.reshape(len(x), units // size, -1)
        centred = values - values.mean(2, keepdim=True)
        divisor = ((centred * centred).mean(2, keepdim=True) + net.eps) ** 0.5
        x = (centred / divisor).reshape(x.shape)
        return theta[f"gamma{i}"].view(shape) * x + theta[f"beta{i}"].view(shape)
    if net.norm == "weight":
        gain = theta[f"gamma{i}"] / (theta[f"W{i}"].flatten(1) ** 2).sum(1) ** 0.5
        if f"b{i}" in theta:
            x = x - theta[f"b{i}"].view(shape)
        return gain.view(shape) * x + theta[f"beta{i}"].view(shape)
    if net.norm in BATCH:
        centred = x - x.sum(over, keepdim=True) / count
        if net.norm in ("bn", "noisy_bn"):
            variance = (centred * centred).sum(over, keepdim=True) / count
            divisor = (variance + net.eps) ** 0.5
        elif net.norm == "l1":
            divisor = x.abs().sum(over, keepdim=True) / count + net.eps
        elif net.norm == "l2":
            divisor = torch.linalg.vector_norm(x, dim=over, keepdim=True) / count**0.5 + net.eps
        else:
            divisor = x.abs().amax(over, keepdim=True) + net.eps
        x = theta[f"gamma{i}"].view(shape) * centred / divisor + theta[f"beta{i}"].view(shape)
    if net.norm in ("noisy_bn", "noise_only"):
        m, s = net.noise[i]
        x = s * x + m
    return x


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """Zero padding that keeps the size at stride 1, as a matrix product over patches."""
    side = weight.shape[-1]
    patches = torch.nn.functional.unfold(x, side, padding=side // 2, stride=stride)
    out = weight.flatten(1) @ patches
    if bias is not None:
        out = out + bias[:, None]
    return out.reshape(len(x), -1, -(-x.shape[2] // stride), -(-x.shape[3] // stride))


def forward(net: Net, theta: Theta, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """The outputs, and each layer's pre-activation (after norm and noise, before the ReLU)."""
    if net.layers is RESNET18:
        return _residual_forward(net, theta, x)
    if net.layers is DENSENET:
        return _dense_forward(net, theta, x)
    preactivations = {}
    for i, kind in enumerate(net.layers, start=1):
        last = i == len(net.layers)
        if kind == "linear":
            x = x.reshape(len(x), -1) @ theta[f"W{i}"].T
            if f"b{i}" in theta:
                x = x + theta[f"b{i}"]
        else:
            x = convolution(x, theta[f"W{i}"], theta[f"b{i}"])
        if not last and not (kind == "linear" and net.relu):
            x = normalise(net, i, x, theta)
        preactivations[i] = x
        if net.relu and not last:
            x = x * (x > 0)
        if kind == "conv pool":
            n, c, height, width = x.shape
            x = x.reshape(n, c, height // 2, 2, width // 2, 2).amax((3, 5))
    return x, preactivations


def _residual_forward(net: Net, theta: Theta, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    preactivations: dict[int, Tensor] = {}

    def layer(x: Tensor, stride: int = 1) -> Tensor:
        i = len(preactivations) + 1
        out = normalise(net, i, convolution(x, theta[f"W{i}"], stride=stride), theta)
        preactivations[i] = out
        return out

    for block in net.layers[:-1]:
        if block == "stem":
            x = layer(x)
        else:
            inner = layer(x, int(block[0]))
            branch = layer(inner * (inner > 0))
            x = branch + (layer(x, int(block[0])) if block.endswith("P") else x)
        x = x * (x > 0)
    i = len(preactivations) + 1
    preactivations[i] = x.mean((2, 3)) @ theta[f"W{i}"].T + theta[f"b{i}"]
    return preactivations[i], preactivations


def _dense_forward(net: Net, theta: Theta, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """Every norm has the number of the layer before it."""
    preactivations: dict[int, Tensor] = {}

    def conv(x: Tensor) -> Tensor:
        i = len(preactivations) + 1
        preactivations[i] = convolution(x, theta[f"W{i}"])
        return preactivations[i]

    def norm_relu(x: Tensor) -> Tensor:
        out = normalise(net, len(preactivations), x, theta)
        return out * (out > 0)

    x = conv(x)
    for kind in net.layers[1:-1]:
        if kind == "dense":
            inner = normalise(net, len(preactivations) + 1, conv(norm_relu(x)), theta)
            preactivations[len(preactivations)] = inner
            x = torch.cat([x, conv(inner * (inner > 0))], 1)
        else:
            x = conv(norm_relu(x))
            n, c, height, width = x.shape
            x = x.reshape(n, c, height // 2, 2, width // 2, 2).mean((3, 5))
    x, i = norm_relu(x).mean((2, 3)), len(preactivations) + 1
    preactivations[i] = x @ theta[f"W{i}"].T + theta[f"b{i}"]
    return preactivations[i], preactivations


def data_loss(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if name == "cross_entropy":
        picked = outputs[torch.arange(len(targets)), targets]
        return (outputs.exp().sum(1).log() - picked).sum() / len(targets)
    squares = ((outputs - targets) ** 2).sum()
    return {
        "half_sum_squares": squares / 2,
        "sum_squares": squares,
        "mean_squares": squares / targets.numel(),
    }[name]


def objective(
    net: Net,
    loss: str,
    inputs: Tensor,
    targets: Tensor,
    weight_decay: float = 0.0,
    decay: str = "weights",
) -> Loss:
    """theta -> data loss + weight_decay/2 ||w||^2, w the W_i (``weights``) or everything."""

    def value(theta: Theta) -> Tensor:
        total = data_loss(loss, forward(net, theta, inputs)[0], targets)
        for name, tensor in theta.items():
            if decay == "all" or name.startswith("W"):
                total = total + weight_decay / 2 * (tensor**2).sum()
        return total

    return value


def length(theta: Mapping[str, Tensor]) -> float:
    """||theta||_2 over all tensors as one vector."""
    return math.sqrt(sum(float((t.double() ** 2).sum()) for t in theta.values()))


def length_by_tensor(theta: Mapping[str, Tensor]) -> float:
    """The sum of the 2-norms of the tensors."""
    return sum(length({name: tensor}) for name, tensor in theta.items())


def gradient_shift(
    loss: Loss, old: Theta, new: Theta, numbers: Sequence[int]
) -> dict[int, tuple[float, float, float]]:
    """Definition 2.1 for the layers ``numbers``: ||G - G'||_2, cos(G, G'), ||G||_2."""
    here = grad(loss)(old)
    shifts = {}
    for i in numbers:
        mixed = {n: (new if layer_of(n) < i else old)[n] for n in old}
        before = here[f"W{i}"].double().flatten()
        after = grad(lambda w: loss({**mixed, f"W{i}": w}))(mixed[f"W{i}"]).double().flatten()  # noqa: B023
        cosine = before @ after / math.sqrt(float(before @ before) * float(after @ after))
        shifts[i] = float((before - after).norm()), float(cosine), float(before.norm())
    return shifts


@dataclass(frozen=True)
class Point:
    """One eta of the landscape."""

    loss: float
    predictiveness: float
    beta: float
    predictiveness_tensors: float
    beta_tensors: float


def landscape(loss: Loss, theta: Theta, direction: Theta, eta: float) -> Point:
    """Appendix A.2.2 at theta - eta d."""
    here = grad(loss)(theta)
    there, value = grad_and_value(loss)({n: t - eta * direction[n] for n, t in theta.items()})
    change = {n: there[n] - here[n] for n in theta}
    move = {n: eta * d for n, d in direction.items()}
    return Point(
        loss=float(value),
        predictiveness=length(change),
        beta=length(change) / length(move),
        predictiveness_tensors=length_by_tensor(change),
        beta_tensors=length_by_tensor(change) / length_by_tensor(move),
    )


def hessian(loss: Loss, theta: Theta) -> Tensor:
    """The Hessian by all of theta as one vector in its order, ``(n, n)``; forward over reverse."""
    return torch.func.hessian(_of_vector(loss, theta))(flat(theta))


def hvp(loss: Loss, theta: Theta, vector: Tensor) -> Tensor:
    """The Hessian times ``vector``, ``(n,)``; forward over reverse."""
    return torch.func.jvp(grad(_of_vector(loss, theta)), (flat(theta),), (vector,))[1]


def flat(theta: Theta) -> Tensor:
    """All of ``theta`` as one vector in its order."""
    return torch.cat([tensor.flatten() for tensor in theta.values()])


def _of_vector(loss: Loss, theta: Theta) -> Callable[[Tensor], Tensor]:
    sizes = [t.numel() for t in theta.values()]

    def of_vector(vector: Tensor) -> Tensor:
        pieces = vector.split(sizes)
        return loss({n: v.view(t.shape) for v, (n, t) in zip(pieces, theta.items(), strict=True)})

    return of_vector


def descend(gradient: Theta, theta: Theta, velocity: Theta, lr: float, momentum: float) -> Theta:
    """One step of SGD with momentum: v <- momentum v + g (in place), theta - lr v."""
    for name, g in gradient.items():
        velocity[name] = momentum * velocity[name] + g if name in velocity else g
    return {name: value - lr * velocity[name] for name, value in theta.items()}
