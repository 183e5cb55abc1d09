from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits

from bnexp.data import fingerprint, load_dataset
from bnexp.data.digits import upsampled, warped
from bnexp.errors import UserError
from tests.data.conftest import defaults

DIGESTS = {
    "digits": "59054187932ee7475c2c9bc370520e4610170b58f89e495050e26f18e1cb8f08",
    "varied_digits": "f108b1f70ad5889f13804dbc682f280a8d0207647d9a996c19b5b572a4661e30",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_pixels_are_the_same_everywhere_and_for_every_seed(name: str) -> None:
    data = load_dataset(defaults(name), 9)
    assert data.test is not None
    parts = [data.train.inputs, data.train.targets, data.test.inputs, data.test.targets]
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()
    assert digest == DIGESTS[name]
    assert data.train.inputs.is_contiguous(memory_format=torch.channels_last)


def test_split_is_stratified_and_every_sample_is_in_one_split_under_its_label() -> None:
    data, original = load_dataset(defaults("digits"), 0), load_digits()
    assert data.test is not None
    totals = np.bincount(original.target)
    assert torch.bincount(data.test.targets).tolist() == [n // 5 for n in totals]
    images = torch.cat([data.train.inputs, data.test.inputs])
    targets = torch.cat([data.train.targets, data.test.targets])
    expected = zip(upsampled(torch.from_numpy(original.images)), original.target, strict=True)
    pairs = zip(images, targets, strict=True)
    keys = [sorted((int(y), x.numpy().tobytes()) for x, y in part) for part in (pairs, expected)]
    assert keys[0] == keys[1]


def test_pixels_are_those_of_bilinear_upsampling() -> None:
    small = torch.from_numpy(load_digits().images[:20])
    large = upsampled(small)
    assert torch.equal(large, large[:, :1].expand(20, 3, 32, 32))
    for image, ours in zip(small, large, strict=True):  # Pillow, a second implementation
        theirs = Image.fromarray(image.numpy().astype(np.float32)).resize((32, 32), 2)
        difference = np.asarray(theirs) * (255 / 16) - ours[0].numpy()
        assert np.abs(difference).max() <= 0.5 + 1e-3  # no more than the rounding


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


@pytest.mark.parametrize("change", [{"smallest": 1.0}, {"turn": 0}, {"shift": 0}, {"noise": 10}])
def test_digits_vary_as_much_as_asked_for_and_other_ones_are_other_data(
    change: dict[str, float],
) -> None:
    usual, other = defaults("varied_digits"), defaults("varied_digits", **change)
    pixels, others = (load_dataset(cfg, 0).train.inputs for cfg in (usual, other))
    assert pixels.shape == others.shape
    assert not torch.equal(pixels, others)
    assert fingerprint(usual) != fingerprint(other)


def test_digits_that_do_not_vary_are_their_originals_in_colour() -> None:
    still = defaults("varied_digits", smallest=1.0, turn=0, shift=0, noise=0)
    varied, plain = (load_dataset(cfg, 0).train.inputs for cfg in (still, defaults("digits")))
    for image, original in zip(varied[:50], plain[:50, 0].double(), strict=True):
        for channel in image.double():  # each is an affine map of the ink, cut at white
            dark = channel < 255
            both = torch.stack([channel[dark], original[dark]])
            assert torch.corrcoef(both)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("key", "value"),
    [("smallest", 0.1), ("smallest", 1.1), ("turn", 91), ("shift", -1), ("noise", 256)],
)
def test_variation_out_of_range_is_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"data.{key}: expected "):
        load_dataset(defaults("varied_digits", **{key: value}), 0)
