from __future__ import annotations

import itertools

import pytest
import torch

from bnexp.data import Batches, Dataset, Split, image_dataset
from bnexp.data.batches import PAD, augmented
from bnexp.errors import UserError

N, B = 103, 10  # ten batches an epoch, three samples left over


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Images with a bright border, so that what a crop brings in shows; targets are row numbers."""
    source = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (N, 3, 32, 32), generator=source, dtype=torch.uint8)
    test = torch.randint(0, 256, (23, 3, 32, 32), generator=source, dtype=torch.uint8)
    return image_dataset("x", Split(images, torch.arange(N)), Split(test, torch.arange(23)), N)


def batches(data: Dataset, seed: int = 0, augment: bool = False, size: int | None = B) -> Batches:
    return Batches(data, size, seed, "cpu", torch.float64, augment=augment)


def pixels(data: Dataset, inputs: torch.Tensor) -> torch.Tensor:
    """Normalisation undone."""
    assert data.mean is not None
    assert data.std is not None
    return (inputs * data.std[:, None, None] + data.mean[:, None, None]) * 255


@pytest.mark.parametrize("augment", [False, True])
def test_batch_is_a_pure_function_of_seed_and_step(data: Dataset, augment: bool) -> None:
    """Whatever was asked before, and whatever torch's own generator does."""
    forward = batches(data, augment=augment)
    expected = [forward.at(step) for step in range(25)]
    backward = batches(data, augment=augment)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    for step in [24, 3, 3, 11, 0, 19]:
        again = backward.at(step)
        assert torch.equal(again.inputs, expected[step].inputs)
        assert torch.equal(again.targets, expected[step].targets)
        assert torch.equal(again.targets, batches(data).at(step).targets)  # augmented or not
    assert torch.equal(torch.get_rng_state(), state)


def test_epochs_and_seeds_have_orders_of_their_own_without_repetition(data: Dataset) -> None:
    orders, left = set(), set(range(N))
    for seed, epoch in itertools.product((0, 1, 2), (0, 1, 2)):
        ours = batches(data, seed)
        assert ours.steps_per_epoch == N // B
        order = torch.cat([ours.at(step).targets for step in range(epoch * 10, epoch * 10 + 10)])
        assert len(order.unique()) == 100
        orders.add(tuple(order.tolist()))
        left &= set(range(N)) - set(order.tolist())
    assert len(orders) == 9
    assert not left  # what one epoch leaves over, others use


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_training_split_has_mean_0_and_std_1(
    data: Dataset, dtype: torch.dtype, tolerance: float
) -> None:
    whole = Batches(data, None, 0, "cpu", dtype).at(0).inputs
    assert whole.dtype == dtype
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert whole.mean((0, 2, 3)).abs().max() < tolerance
    assert (whole.std((0, 2, 3), correction=0) - 1).abs().max() < tolerance
    constant = image_dataset("x", Split(data.train.inputs * 0 + 51, data.train.targets), None, 1)
    assert constant.mean is not None
    assert constant.std is not None
    assert (constant.mean.tolist(), constant.std.tolist()) == ([0.2] * 3, [1.0] * 3)


@pytest.mark.parametrize("size", [7, None])
@pytest.mark.parametrize("name", ["train", "test"])
def test_a_split_is_whole_in_order_without_augmentation(
    data: Dataset, name: str, size: int | None
) -> None:
    parts = list(batches(data, augment=True).split(name, size))
    split: Split = getattr(data, name)
    assert torch.equal(torch.cat([part.targets for part in parts]), split.targets)
    inputs = pixels(data, torch.cat([part.inputs for part in parts]))
    torch.testing.assert_close(inputs, split.inputs.double(), rtol=0, atol=1e-9)
    assert all(len(part.targets) == size for part in parts[:-1])


def shifts(image: torch.Tensor) -> list[torch.Tensor]:
    """All crops of (h, w, c) from its zero-padded self, and their mirror images."""
    h, w, c = image.shape
    padded = torch.zeros(h + 2 * PAD, w + 2 * PAD, c, dtype=image.dtype)
    padded[PAD : PAD + h, PAD : PAD + w] = image
    places = itertools.product(range(2 * PAD + 1), repeat=2)
    crops = [padded[down : down + h, right : right + w] for down, right in places]
    return crops + [crop.flip(1) for crop in crops]


def test_every_shift_and_both_mirrors_are_equally_likely() -> None:
    image = torch.randint(1, 256, (8, 8, 1), dtype=torch.uint8)
    kinds = {shift.numpy().tobytes(): n for n, shift in enumerate(shifts(image))}
    draws = 16200
    results = augmented(image.expand(draws, -1, -1, -1), torch.Generator().manual_seed(1))
    counts = torch.bincount(torch.tensor([kinds[x.numpy().tobytes()] for x in results]))
    assert len(counts) == 162
    chi_squared = float(((counts - draws / 162) ** 2 / (draws / 162)).sum())
    assert abs(chi_squared - 161) < 5 * (2 * 161) ** 0.5


@pytest.mark.parametrize("augment", [False, True])
def test_batches_are_rows_of_the_split_augmented_or_not(data: Dataset, augment: bool) -> None:
    batch = batches(data, augment=augment).at(11)
    for row, image in zip(batch.targets, pixels(data, batch.inputs), strict=True):
        result = image.permute(1, 2, 0).round().to(torch.uint8)
        original = data.train.inputs[row].permute(1, 2, 0)
        expected = shifts(original) if augment else [original]
        assert sum(torch.equal(result, shift) for shift in expected) == 1


def test_full_batch_of_vectors_is_everything_in_order_in_the_dtype() -> None:
    x = torch.randn(9, 4, dtype=torch.float64)
    full = Batches(Dataset("v", Split(x, 2 * x)), None, 0, "cpu", torch.float32)
    batch = full.at(7)
    assert full.at(0) is batch
    assert torch.equal(batch.inputs, x.float())
    assert torch.equal(batch.targets, 2 * x.float())


def test_impossible_requests_are_named(data: Dataset) -> None:
    vectors = Dataset("v", Split(torch.zeros(9, 4), torch.zeros(9, 4)))
    for size in (0, -1, N + 1):
        with pytest.raises(UserError, match=rf"batch_size: expected 1\.\.{N}.*got {size}"):
            batches(data, size=size)
    for dataset, size in ((data, None), (vectors, 3)):
        with pytest.raises(UserError, match=r"data\.augment"):
            batches(dataset, augment=True, size=size)
    assert not list(batches(vectors, size=3).split("test", 3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_are_those_of_the_cpu(data: Dataset) -> None:
    there = Batches(data, B, 0, "cuda", torch.float64, augment=True)
    for step in (0, 9, 10):
        here, batch = batches(data, augment=True).at(step), there.at(step)
        assert batch.inputs.is_cuda
        assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.targets.cpu(), here.targets)
        torch.testing.assert_close(batch.inputs.cpu(), here.inputs, rtol=1e-12, atol=1e-12)
