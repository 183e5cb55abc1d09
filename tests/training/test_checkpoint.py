from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.errors import UserError
from bnexp.runs import RunBusy, RunDirectory
from bnexp.training import checkpoint
from bnexp.training.checkpoint import Checkpoints

MANIFEST = {"train": [{"name": "000000000-000000001.parquet", "rows": 2, "sha256": "0"}]}


def state(step: int) -> dict[str, Any]:
    return {"model": {"w": torch.full((2, 2), float(step))}, "probes": {}, "lr": 0.1 * step}


def saved(folder: Path, *steps: int) -> Checkpoints:
    (folder / "a").mkdir(exist_ok=True)
    checkpoints = Checkpoints(RunDirectory(folder / "a"))
    for step in steps:
        checkpoints.save(step, state(step), MANIFEST)
    return checkpoints


def loaded(checkpoints: Checkpoints) -> tuple[int, list[str]]:
    """The step of the checkpoint that is used, and what is said; its content is that step's."""
    said: list[str] = []
    content = checkpoints.load(said.append)
    if content is None:
        return 0, said
    step, found, manifest = content
    expected = state(step)
    assert torch.equal(found["model"].pop("w"), expected["model"].pop("w"))
    assert (found, manifest) == (expected, MANIFEST)
    return step, said


def test_the_last_one_is_loaded_and_the_last_two_are_kept(tmp_path: Path) -> None:
    assert loaded(saved(tmp_path)) == (0, [])
    assert loaded(saved(tmp_path, 1)) == (1, [])
    checkpoints = saved(tmp_path, 2, 3)
    assert loaded(checkpoints) == (3, [])
    assert {*(tmp_path / "a").iterdir()} == {*checkpoints.files}
    checkpoints.files[0].unlink()
    assert loaded(checkpoints) == (2, [])


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one bit flipped": lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_last_one_is_named_and_never_replaces_the_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    last, before = checkpoints.files
    last.write_bytes(DAMAGE[how](last.read_bytes()))
    step, (said,) = loaded(checkpoints)
    assert step == 1
    assert str(last) in said
    assert "going on from the one before" in said

    def killed(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomic", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(2, state(2), MANIFEST)
    assert loaded(checkpoints)[0] == 1, "the process ended between moving and writing"
    checkpoints.save(2, state(2), MANIFEST)
    assert loaded(checkpoints) == (2, [])
    before.write_bytes(b"")
    assert loaded(checkpoints) == (2, [])


def test_two_damaged_ones_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    for file in checkpoints.files:
        file.write_bytes(b"damaged")
    with pytest.raises(UserError) as caught:
        loaded(checkpoints)
    assert all(str(file) in str(caught.value) for file in checkpoints.files)
    assert all(file.read_bytes() == b"damaged" for file in checkpoints.files)


def test_no_flipped_bit_gives_another_state(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 7)
    last, _ = checkpoints.files
    good, refused = last.read_bytes(), 0
    for place in range(0, len(good), 5):
        last.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        try:
            assert loaded(checkpoints) == (7, [])
        except UserError:
            refused += 1
    assert refused > 100


def test_a_checkpoint_cannot_run_anything(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    checkpoints = saved(tmp_path, 1)
    last, _ = checkpoints.files
    whole = torch.load(last, weights_only=True)
    for key in whole:
        for new in (True, False):
            torch.save({**whole, key: Trap()}, last, _use_new_zipfile_serialization=new)
            with pytest.raises(UserError, match="checkpoint"):
                loaded(checkpoints)
    assert not (tmp_path / "sprung").exists()


def test_who_lost_the_run_writes_no_checkpoint(tmp_path: Path) -> None:
    with RunDirectory(tmp_path).lock() as run:
        run.lock_file.unlink()
        with pytest.raises(RunBusy):
            Checkpoints(run).save(1, state(1), MANIFEST)
    assert not any(tmp_path.iterdir())
