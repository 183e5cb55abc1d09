"""Runs whose files are hostile, or whose code has changed: nothing is run, nothing is stale."""

# ruff: noqa: F811 - fixtures are imported and named as arguments

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from bnexp.cli import main
from bnexp.runs import RunDirectory
from tests import faults
from tests.test_nothing_lost import (  # noqa: F401 - fixtures among them
    READS,
    TINY,
    command,
    copy,
    one_line,
    only_part,
    only_run,
    train,
    whole,
)  # fmt: skip


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


CONFIGS = [
    "!!python/object/apply:os.system ['touch {0}']",
    "model: !!python/object/apply:os.system ['touch {0}']",
    "model: &a [*a]",
    "a: &a [x]\nb: &b [*a, *a, *a, *a]",
    "[" * 5_000,
]


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_a_config_cannot_run_anything_nor_fill_the_memory(
    tmp_path: Path, copy: RunDirectory, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    sprung = tmp_path / "sprung"
    copy.config_file.write_text(text.format(sprung))
    if name == "train":
        copy.write_status(state="running", step=3)
    assert command(name, tmp_path) == 2
    assert str(copy.config_file) in one_line(capsys)
    assert not sprung.exists()


def test_a_pickle_for_a_table_is_refused(
    tmp_path: Path, copy: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    part, sprung = only_part(copy.path), tmp_path / "sprung"
    part.write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("train", "compact"):
        assert command(name, tmp_path) == 2
        assert not sprung.exists()
        assert "damaged" in one_line(capsys)


PIPES = {
    "train": ("config.yaml", "env.json", "status.json", "checkpoint.pt", "tables/*/*.parquet"),
    "runs": ("status.json", "lock"),
    "compact": ("status.json", "lock"),
}


@pytest.mark.parametrize(("name", "file"), [(n, file) for n in PIPES for file in PIPES[n]])
def test_a_pipe_for_a_file_is_refused_at_once(
    tmp_path: Path, copy: RunDirectory, capsys: pytest.CaptureFixture[str], name: str, file: str
) -> None:
    copy.write_status(**{**copy.read_status(), "state": "running"})
    (pipe,) = sorted(copy.path.glob(file))[:1] or [copy.path / file]
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    before_it_serves = file == "checkpoint.pt"
    assert command(name, tmp_path) == (0 if before_it_serves else 2)
    assert pipe.name in one_line(capsys)


@pytest.mark.parametrize("label", [r"$\frac{1$", "<b>|`a`", "\x1b[31m\n\u202e"], ids=range(3))
def test_a_strangers_label_is_shown_as_plain_letters(
    tmp_path: Path, copy: RunDirectory, capsys: pytest.CaptureFixture[str], label: str
) -> None:
    config = copy.read_config()
    copy.config_file.unlink()
    copy.create({**config, "data": {**config["data"], "label": label}}, {})
    assert main(["figures", "10", "--runs", str(tmp_path), "--format", "png"]) == 0
    assert main(["claims", "--runs", str(tmp_path), "--out", str(tmp_path)]) == 0
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out + (tmp_path / "claims.md").read_text()
    assert not any(word in shown for word in ("<b>", "`a`", "\x1b", "\u202e"))


# Changed code

NORM = """
from bnexp.norms import BatchNorm, StatisticsOptions
from bnexp.registry import NORMS

class Scaled(BatchNorm):
    def forward(self, x):
        return 1.0 * super().forward(x)

@NORMS.register("scaled", StatisticsOptions)
def scaled(units, options, seed):
    return Scaled(units, options)
"""


def test_changed_code_never_silently_gives_the_numbers_made_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "scaled.yaml").write_text("name: scaled\neps: 1e-5\nmomentum: 0.1\n")
    monkeypatch.chdir(tmp_path)

    def made(code: str, *more: str) -> tuple[int, str, str]:
        """Exit code, the run's folder, and what was said before it."""
        Path("my_norm.py").write_text(code)
        own = ("--config-dir", ".", "plugins=[my_norm]", "norm=scaled", f"out={tmp_path}")
        with faults.Command("train", *TINY, *own, "probes=none", *more) as process:
            return process.code(), *reversed(process.output.rpartition("bnexp: ")[::2])

    exit_code, first, _ = made(NORM)
    assert exit_code == 0
    commented = NORM.replace("class Scaled", "# a comment\nclass Scaled") + '\n"""More."""\n'
    assert made(commented) == (0, first, ""), "nothing that counts is different"
    changed = NORM.replace("1.0 *", "2.0 *")
    exit_code, line, _ = made(changed)
    assert exit_code == 2
    assert line.startswith("stale: ")
    assert "stale=reuse" in line
    assert "stale=remake" in line
    assert made(changed, "stale=reuse") == (0, first, "")
    exit_code, second, _ = made(changed, "stale=remake")
    assert exit_code == 0
    old, new = (RunDirectory(Path(line.strip())) for line in (first, second))
    assert old.path.name[:-4] == new.path.name[:-4]
    assert faults.differing(faults.numbers(old), faults.numbers(new)) > 0
    assert made(changed) == (0, second, "")
    assert made(NORM) == (0, first, ""), "the old code has its own run"
