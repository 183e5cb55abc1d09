from __future__ import annotations

import numpy as np
import torch

from bnexp.data.splits import Split, image_dataset, pixel_moments


def test_moments_are_those_of_numpy() -> None:
    images = torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8)
    images[:, 1] //= 3
    mean, std = pixel_moments(images)
    scaled = images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 2, 3)), rtol=1e-12)


def test_moments_do_not_depend_on_order_or_memory_layout() -> None:
    images = torch.randint(0, 256, (5000, 3, 4, 4), dtype=torch.uint8)
    expected = pixel_moments(images)
    shuffled = images[torch.randperm(5000)].contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(pixel_moments(shuffled), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_channel_that_never_varies_is_only_centred() -> None:
    mean, std = pixel_moments(torch.full((4, 3, 8, 8), 51, dtype=torch.uint8))
    assert mean.tolist() == [0.2] * 3
    assert std.tolist() == [1.0] * 3


def test_test_pixels_have_no_part_in_the_moments() -> None:
    train = Split(torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8), torch.arange(9))
    test = Split(torch.full((3, 3, 8, 8), 255, dtype=torch.uint8), torch.arange(3))
    with_test, without = (image_dataset("x", train, other, 9) for other in (test, None))
    assert with_test.mean is not None
    assert without.mean is not None
    assert torch.equal(with_test.mean, without.mean)
