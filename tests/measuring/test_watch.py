"""`watch`: training as it is without, the update the optimiser made, a run that others read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bnexp import watch
from bnexp.cli import main
from bnexp.errors import UserError
from bnexp.runs import find_runs, load_runs
from bnexp.watching import Watcher, lightning_callback
from tests.measuring.networks import LOSS, convolutions, images, state, transformer
from tests.measuring.test_measure import Reference
from tests.probes.test_no_trace import same

PROBES = ("train", "landscape", "gradient_shift", "curvature", "moments", "activations")
Make = Callable[[], tuple[nn.Module, Any]]


def with_dropout() -> tuple[nn.Module, Any]:
    return convolutions(nn.Dropout(0.3)), images(6, side=8)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)


def momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)


def train(
    model: nn.Module,
    batch: Any,
    optimizer: torch.optim.Optimizer,
    watcher: Watcher | None = None,
    steps: int = 4,
) -> list[float]:
    """Steps with a warm-up from 0, a clipped gradient and autocast under a loss scale."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / steps)
    scaler, losses = torch.amp.GradScaler("cpu"), []
    torch.manual_seed(1)
    for _ in range(steps):
        with nullcontext() if watcher is None else watcher(batch):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = LOSS(model(batch[0]), batch[1])
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        schedule.step()
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("make", [with_dropout, lambda: transformer(dropout=0.2)])
@pytest.mark.parametrize("optim", [adamw, momentum])
def test_training_is_bit_for_bit_what_it_is_without(make: Make, optim: Any, tmp_path: Path) -> None:
    (plain, batch), (watched, _) = make(), make()
    first, second = optim(plain), optim(watched)
    options = {"every": 2, "probes": (*PROBES, "sharpness"), "out": tmp_path}
    with watch(watched, second, LOSS, autocast=torch.bfloat16, **options) as watcher:
        expected = train(plain, batch, first)
        assert train(watched, batch, second, watcher) == expected
    a, b = state(plain), state(watched)
    assert all(same(a[name], b[name]) for name in a if name != "identity")
    assert same(first.state_dict(), second.state_dict())
    (run,) = find_runs(tmp_path)
    rates = run.table("train")
    assert rates.lr.tolist() == [0.0, second.defaults["lr"] / 2]
    assert rates.step.tolist() == [0, 2]
    assert rates.loss.to_numpy() == pytest.approx([expected[0], expected[2]], rel=1e-2)


@pytest.mark.parametrize("make", [with_dropout, lambda: transformer(dropout=0.2)])
def test_the_loss_measured_is_the_one_of_the_step_dropout_and_all(
    make: Make, tmp_path: Path
) -> None:
    model, batch = make()
    optimizer = adamw(model)
    grid = {"landscape": {"etas": [1e-300]}, "train": {}}
    with watch(model, optimizer, LOSS, every=1, probes=grid, out=tmp_path) as watcher:
        losses = []
        for _ in range(2):
            with watcher(batch):
                optimizer.zero_grad()
                losses.append(LOSS(model(batch[0]), batch[1]))
                losses[-1].backward()
                optimizer.step()
    tables = load_runs(tmp_path)
    assert tables["train"].loss.to_numpy() == pytest.approx([float(v) for v in losses], rel=1e-12)
    assert tables["landscape"].loss.tolist() == tables["train"].loss.tolist()
    assert tables["landscape"].predictiveness.tolist() == [0.0, 0.0], "the same mask at every point"


def test_the_shift_is_of_the_update_that_the_optimiser_made(tmp_path: Path) -> None:
    model, batch = transformer()
    optimizer = adamw(model)
    watcher = watch(model, optimizer, LOSS, 1, ("gradient_shift",), tmp_path)
    here = Reference(model, batch)
    watcher.before(batch)
    LOSS(model(batch[0]), batch[1]).backward()
    optimizer.step()
    watcher.after()
    watcher.close()
    after = {name: p.detach() for name, p in model.named_parameters()}
    head = "head.weight"  # of the last layer: all others precede it
    new = here.gradient({**after, head: here.theta[head]})[head]
    (run,) = find_runs(tmp_path)
    layers, rows = run.table("layers"), run.table("gradient_shift").set_index("layer")
    row = rows.loc[layers.set_index("affine").layer["head"]]
    assert row.l2 == pytest.approx(float((here.gradient(here.theta)[head] - new).norm()), rel=1e-8)


def test_the_run_is_read_by_the_commands_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for norm in ("bn", "none"):
        model, batch = with_dropout()
        if norm == "none":
            model[1], model[4] = nn.Identity(), nn.Identity()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        config = {"model": {"name": "vgg"}, "steps": 3}
        with watch(model, optimizer, LOSS, 1, PROBES, tmp_path, config=config) as watcher:
            for _ in range(3):
                with watcher(batch):
                    optimizer.zero_grad()
                    LOSS(model(batch[0]), batch[1]).backward()
                    optimizer.step()
    runs = find_runs(tmp_path)
    assert sorted(run.norm for run in runs) == ["bn", "none"]
    assert [(run.state, run.verify(), run.lr, run.steps) for run in runs] == [
        ("done", [], 0.1, 3)
    ] * 2
    assert load_runs(tmp_path)["moments"].step.unique().tolist() == [0, 1, 2]
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "own data" in capsys.readouterr().out
    assert main(["figures", "4", "--runs", str(tmp_path), "--format", "png"]) == 0
    assert list(tmp_path.glob("figures/*.png"))


def test_how_a_run_ended_is_said(tmp_path: Path) -> None:
    model, batch = with_dropout()
    watcher = watch(model, adamw(model), LOSS, 1, ("train", "landscape"), tmp_path)
    with watcher(batch):
        pass
    with pytest.raises(ZeroDivisionError), watcher, watcher(batch):
        raise ZeroDivisionError
    (run,) = find_runs(tmp_path)
    assert (run.state, run.status["reason"]) == ("failed", "ZeroDivisionError()")
    assert run.table("train").step.tolist() == [0, 1]
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with watch(model, adamw(model), LOSS, 1, ("train", "landscape"), tmp_path / "nan") as watcher:
        with watcher(batch):
            pass
        assert find_runs(tmp_path / "nan")[0].state == "running"
    (run,) = find_runs(tmp_path / "nan")
    assert (run.state, run.table_names()) == ("diverged", ["layers", "train"])
    with pytest.raises(UserError, match="watcher: expected before\\(\\) only until close"):
        watcher.before(batch)


def test_before_and_after_take_turns(tmp_path: Path) -> None:
    model, batch = with_dropout()
    watcher = watch(model, adamw(model), LOSS, 2, ("train",), tmp_path)
    with pytest.raises(UserError, match="watcher: expected before"):
        watcher.after()
    watcher.before(batch)
    with pytest.raises(UserError, match="watcher: expected after"):
        watcher.before(batch)
    watcher.close()


def test_parameters_that_come_to_be_trained_are_measured_from_then_on(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = torch.randn(6, 4), torch.randint(0, 3, (6,))
    probes = ("train", "updates", "sharpness")
    with watch(model, optimizer, LOSS, 1, probes, tmp_path) as watcher:
        for step in range(3):
            model[0].requires_grad_(step == 2)
            with watcher(batch):
                optimizer.zero_grad()
                LOSS(model(batch[0]), batch[1]).backward()
                optimizer.step()
    (run,) = find_runs(tmp_path)
    length = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    assert run.table("train").grad_norm.iloc[-1] == pytest.approx(length)
    assert run.table("updates").step.tolist() == [0, 1, 2, 2]
    assert run.table("layers").affine.tolist() == ["2", "0", "2"]
    assert run.table("layers").step.tolist() == [0, 2, 2]


@pytest.mark.parametrize("config", [{"optim": 3}, {"norm": "bn"}])
def test_a_config_that_is_none_is_refused(config: Any, tmp_path: Path) -> None:
    model, batch = with_dropout()
    watcher = watch(model, adamw(model), LOSS, 1, ("train",), tmp_path, config=config)
    with pytest.raises(UserError, match=f"config.{next(iter(config))}: expected a mapping"):
        watcher.before(batch)
    assert not list(tmp_path.iterdir())


def test_an_optimizer_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optimizer: expected a torch optimizer"):
        watch(nn.Linear(2, 2), None, LOSS, out=tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"every": 0}, "every: expected"), ({"probes": ("trian",)}, "did you mean train")],
)
def test_what_is_wrong_is_said_when_watch_is_called(
    options: Any, words: str, tmp_path: Path
) -> None:
    model, _ = with_dropout()
    with pytest.raises(UserError, match=words):
        watch(model, adamw(model), LOSS, out=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_the_lightning_callback(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.data = convolutions(), images(8, side=8)

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, _: int) -> Any:
            loss = LOSS(self(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader([*zip(*self.data, strict=True)], 4)

    states = []
    for options in ({}, {"every": 2, "probes": PROBES, "out": tmp_path}):
        module = Module()
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        callbacks = [lightning_callback(LOSS, **options)] if options else []
        fit = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=callbacks,
            enable_model_summary=False,
            **quiet,
        )
        fit.fit(module)
        states.append(copy.deepcopy(module.state_dict()))
    assert same(*states)
    (run,) = find_runs(tmp_path)
    assert (run.state, run.model, run.norm, run.lr) == ("done", "module", "bn", 0.1)
    assert run.table("gradient_shift").step.unique().tolist() == [0, 2]
