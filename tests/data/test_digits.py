from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from bnexp.data import load_dataset
from bnexp.data.digits import upsampled
from tests.data.conftest import defaults

CFG = defaults("digits")


def test_split_is_stratified_and_the_same_for_every_seed() -> None:
    data = load_dataset(CFG, 0)
    other = load_dataset(CFG, 9)
    assert data.test is not None
    assert other.test is not None
    assert torch.equal(data.train.inputs, other.train.inputs)
    assert torch.equal(data.test.targets, other.test.targets)
    totals = np.bincount(load_digits().target)
    assert torch.bincount(data.test.targets).tolist() == [n // 5 for n in totals]
    assert torch.bincount(data.train.targets).tolist() == [n - n // 5 for n in totals]
    assert data.classes == 10


def test_every_sample_is_in_exactly_one_split_under_its_own_label() -> None:
    data = load_dataset(CFG, 0)
    assert data.test is not None
    digits = load_digits()
    images = upsampled(torch.from_numpy(digits.images))
    expected = zip(images, digits.target.tolist(), strict=True)
    found = [
        (image, target)
        for split in (data.train, data.test)
        for image, target in zip(split.inputs, split.targets.tolist(), strict=True)
    ]
    keys = [
        sorted((target, x.numpy().tobytes()) for x, target in pairs) for pairs in (found, expected)
    ]
    assert keys[0] == keys[1]


def test_pixels_are_those_of_bilinear_upsampling() -> None:
    small = torch.from_numpy(load_digits().images[:20])
    large = upsampled(small)
    assert large.dtype == torch.uint8
    assert large.shape == (20, 3, 32, 32)
    assert torch.equal(large[:, 0], large[:, 1])
    assert torch.equal(large[:, 0], large[:, 2])
    for image, ours in zip(small, large, strict=True):  # Pillow, a second implementation
        theirs = Image.fromarray(image.numpy().astype(np.float32)).resize((32, 32), 2)
        difference = np.asarray(theirs) * (255 / 16) - ours[0].numpy()
        assert np.abs(difference).max() <= 0.5 + 1e-3  # no more than the rounding
