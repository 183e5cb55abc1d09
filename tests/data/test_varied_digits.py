from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from bnexp.data import Dataset, load_dataset
from bnexp.data.digits import upsampled
from bnexp.data.varied_digits import warped
from tests.data.conftest import defaults

DIGEST = "f108b1f70ad5889f13804dbc682f280a8d0207647d9a996c19b5b572a4661e30"


def digest(data: Dataset) -> str:
    assert data.test is not None
    parts = [data.train.inputs, data.train.targets, data.test.inputs, data.test.targets]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def test_pixels_are_the_same_everywhere_and_for_every_seed() -> None:
    data = load_dataset(defaults("varied_digits"), 9)
    assert digest(data) == DIGEST
    assert data.test is not None
    assert data.train.inputs.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.train.targets.bincount() % 4, torch.zeros(10, dtype=torch.int64))


def test_warp_is_the_affine_map_of_the_upsampled_digit() -> None:
    """Held against torch's own sampler, which is float and puts the border elsewhere."""
    small = torch.from_numpy(load_digits().images[:50])
    source = torch.Generator().manual_seed(0)
    size = torch.randint(600, 1001, (50,), generator=source, dtype=torch.int32)
    turn = torch.randint(-25, 26, (50,), generator=source, dtype=torch.int32)
    shift = torch.randint(-64, 65, (50, 2), generator=source, dtype=torch.int32)
    ours = warped(small.int(), size, turn, shift).double() / 256

    angle, scale = torch.deg2rad(turn.double()), 1000 / size.double()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    down, right = (shift.double() / 256).T  # 16 pixels, half of the image, are 1
    rows = [[cos, -sin, sin * down - cos * right], [sin, cos, -sin * right - cos * down]]
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = F.affine_grid(theta, [50, 1, 32, 32], align_corners=False)
    theirs = F.grid_sample(small[:, None], grid, align_corners=False)[:, 0]
    assert (ours - theirs).abs().max() < 0.2  # of 16
    assert (ours - theirs).abs().mean() < 0.02


def test_warp_without_change_is_the_plain_digit() -> None:
    small = torch.from_numpy(load_digits().images[:20])
    zero = torch.zeros(20, dtype=torch.int32)
    ours = warped(small.int(), zero + 1000, zero, torch.zeros(20, 2, dtype=torch.int32))
    inner = upsampled(small)[:, 0].double()[:, 2:-2, 2:-2]  # whose border is repeated, not blank
    assert (ours[:, 2:-2, 2:-2] * 255 / 4096 - inner).abs().max() <= 1
