"""What `bnexp doctor`, `bnexp completion` and the first words of `bnexp train` say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bnexp.cli import COMMANDS, main
from bnexp.commands.completion import words
from bnexp.runs import lock
from tests.commands.test_cli import QUICK


def test_the_doctor_finds_locks_that_hold_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--runs", str(tmp_path / "not" / "there")]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "locks" in line and line.startswith("ok")]
    assert "torch " in said
    assert not list(tmp_path.iterdir())


def test_the_doctor_finds_locks_that_do_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = lock.Lease.acquire

    def acquire_and_lose(lease: lock.Lease, wait: bool) -> None:
        acquire(lease, wait)
        lease.path.unlink()  # as where files made with O_EXCL are not seen by others
        monkeypatch.setattr(lock.Lease, "check", lambda _: None)

    monkeypatch.setattr(lock.Lease, "acquire", acquire_and_lose)
    assert main(["doctor", "--runs", str(tmp_path)]) == 1
    assert "BAD locks" in capsys.readouterr().out


def test_the_doctor_refuses_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--runs", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("bnexp: --runs: expected a folder")


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("bnexp rep", {"reproduce"}),
        ("bnexp ", set(COMMANDS)),
        ("bnexp train norm=l", {"norm=l1", "norm=l2", "norm=linf"}),
        ("bnexp train -m norm=none,b", {"norm=none,bn"}),
        ("bnexp train model=dln model.", {"model.k=", "model.d="}),
        ("bnexp train optim.l", {"optim.lr="}),
        ("bnexp figures no", set()),
        ("bnexp train nonsense=1 op", set()),
    ],
)
def test_words_are_completed(line: str, some: set[str]) -> None:
    start = line.split(" ")[-1]
    got = words(line)
    assert some <= set(got)
    assert all(word.startswith(start) for word in got)
    assert bool(got) == bool(some)


def test_bash_completes_choices_after_the_equals_sign() -> None:
    script = """
        eval "$("$PYTHON" -m bnexp.cli completion bash)"
        bnexp() { "$PYTHON" -m bnexp.cli "$@"; }
        COMP_LINE="bnexp train norm=noisy" COMP_POINT=22
        _bnexp; echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script], env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["noisy_bn"]  # bash takes what stands before = for another word


def test_a_long_run_says_first_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bnexp.training.build.estimate", lambda *_: 7200.0)
    monkeypatch.setattr("bnexp.training.run.train", lambda _: "done")
    assert main(["train", *QUICK, "data=digits", f"out={tmp_path}"]) == 0
    assert "takes about 2 hours; preset=quick takes a minute" in capsys.readouterr().err
    assert main(["train", *QUICK, "preset=quick", f"out={tmp_path}"]) == 0
    assert main(["train", *QUICK, "data=digits", "steps=10", f"out={tmp_path}"]) == 0
    assert capsys.readouterr().err == ""
