"""The report says what the runs say, is whole in one file, and lets no label in as HTML."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnexp.analysis.select import select
from bnexp.claims import Judgement, all_claims, judge_claim
from bnexp.claims.report import telling, where_numbers_lie
from bnexp.cli import main
from bnexp.figures import figure
from bnexp.report import html
from bnexp.report import page as module
from bnexp.report.plot import plot
from bnexp.runs import Run, find_runs
from tests.figures.synthetic_runs import make_run

HOSTILE = "</script><img src=x onerror=console.error(1)><script>console.error(2)</script>{{7*7}}"
NORM = "<img src=x onerror=console.error(3)>"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
browser = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds of the VGG with and without BN at two learning rates, and a hostile run."""
    root = tmp_path_factory.mktemp("runs")
    for norm in ("none", "bn"):
        for seed in (0, 1):
            make_run(root, "vgg", norm, 0.1, seed)
        make_run(root, "vgg", norm, 0.5)
    hostile = {"data": {"name": "digits", "label": HOSTILE}}
    make_run(root, "vgg", NORM, 0.1, steps=50, **hostile)
    return find_runs(root)


@pytest.fixture(scope="module")
def judged(runs: list[Run]) -> list[Judgement]:
    return [judge_claim(all_claims()[name], runs, "there") for name in ("1.1", "4.7", "5.4")]


@pytest.fixture(scope="module")
def text(runs: list[Run], judged: list[Judgement]) -> str:
    """The page of the runs with four figures and three claims."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "figure_ids", lambda: ["1", "4", "5", "11"])
        commands = {run.id: f"bnexp train seed={run.seed} # {HOSTILE}" for run in runs}
        pages = [html(runs, judged, commands) for _ in range(2)]
    assert pages[0] == pages[1], "the same runs give the same bytes"
    return pages[0]


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the text in between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_from_elsewhere_and_is_small(text: str) -> None:
    tags = Tags(text).tags
    loaded = [a[key] for _, a in tags for key in ("src", "srcset", "data", "poster") if key in a]
    assert loaded == []
    assert not [tag for tag, _ in tags if tag in ("link", "iframe", "object", "img", "base")]
    assert "@import" not in text.partition("</style>")[0]
    (policy,) = [a["content"] for _, a in tags if "http-equiv" in a]
    assert str(policy).startswith("default-src 'none'")
    assert len(text.encode()) < 6e6


def test_no_label_of_a_run_becomes_html(text: str) -> None:
    page = Tags(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]
    assert any(HOSTILE in words for words in page.words), "it is shown as it is"
    assert NORM in {a.get("data-norm") for _, a in page.tags}


def test_the_page_says_what_claims_runs_and_figures_say(
    text: str, runs: list[Run], judged: list[Judgement]
) -> None:
    page = Tags(text)
    words = " ".join(" ".join(page.words).split())
    for run in runs:
        assert run.id in words
        assert f"bnexp train seed={run.seed} # {HOSTILE}" in words
    answer = [where_numbers_lie(judged), *telling(judged), *(j.claim.statement for j in judged)]
    for expected in (*answer, "0.491", "figure 5: drawn without", "figure 11: drawn", "Mądry"):
        assert expected in words, expected
    described = [a["aria-label"] for _, a in page.tags if a.get("role") == "img"]
    assert len(described) == 4
    assert all("Standard" in str(label) for label in described[:3])


def test_curves_are_the_tables_numbers_of_the_median_and_of_each_seed(runs: list[Run]) -> None:
    """Figure 4's effective beta: per seed what table smoothness has, drawn their median."""
    recipe = figure("4")
    shown = plot(recipe.page(select(recipe.needs, runs), bare=True))
    data = [np.frombuffer(base64.b64decode(each), "<f4") for each in shown["data"]]
    beta = next(i for i, p in enumerate(shown["panels"]) if "β-smoothness" in p["y"]["label"])
    looks = {"panel": beta, "norm": "bn", "width": 1.76}  # of the line of Fig 4c, as it is drawn
    mine = [t for t in shown["traces"] if looks.items() <= t.items()]
    median, seeds = sorted(mine, key=lambda t: len(t["at"]))
    tables = [
        run.table("smoothness") for run in runs if (run.norm, run.lr, run.steps) == ("bn", 0.1, 40)
    ]
    lo, hi = shown["panels"][beta]["y"]["range"]
    for seed, table in enumerate(tables):
        x, y = (data[index] for index in seeds["at"][str(seed)])
        np.testing.assert_allclose(x, table["step"], atol=1e-3)
        np.testing.assert_allclose(y, table["beta"].clip(2 * lo - hi, 2 * hi - lo), rtol=2e-4)
    expected = np.median([table["beta"] for table in tables], axis=0)
    np.testing.assert_allclose(data[median["at"][""][1]], expected, rtol=2e-4)
    assert [t for t in shown["traces"] if "the paper" in t["groups"] and t["norm"] == "bn"]


def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    for folder in (tmp_path / "missing", tmp_path):
        assert main(["report", "--runs", str(folder), "--out", str(out)]) == 2
        assert str(folder) in capsys.readouterr().err
    assert not out.exists()


def chromium(page: Path, *options: str, address: str = "") -> str:
    """What Chromium prints of the page; fails where its console says anything."""
    given = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", f"--user-data-dir={page.parent / 'profile'}",
             "--virtual-time-budget=20000", "--enable-logging=stderr", *options]  # fmt: skip
    command = [CHROMIUM, *given, page.as_uri() + address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line.upper()]
    return done.stdout


@browser
def test_a_browser_draws_all_figures_and_filters_them(text: str, tmp_path: Path) -> None:
    """In Chromium: no error, curves in every figure, fewer under each filter."""
    page = tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
    shown = {}
    for address in ("", "#norm=bn", "#lr=0.5", "#seed=1", "#paper=0"):
        dom = chromium(page, "--window-size=1200,9000", "--dump-dom", address=address)
        figures = dom.split("<figure ")[1:]
        assert len(figures) == 4
        rows = [row for row in re.findall(r"<tr data-norm[^>]*>", dom) if "hidden" not in row]
        shown[address] = (
            [len(re.findall(r'class="trace scatter', part)) for part in figures],
            len(rows),
        )
    every, _ = shown[""]
    assert min(every) > 0
    assert [rows for _, rows in shown.values()] == [7, 3, 2, 2, 7]
    for address, few in shown.items():
        # At so few steps the paper has no lines in its figure 11.
        less = {"#norm=bn": 4, "#paper=0": 3}.get(address, 0)
        assert all(0 < a < b for a, b in zip(few[0][:less], every, strict=False)), shown
    assert 0 < shown["#lr=0.5"][0][0] < every[0]
    assert shown["#lr=0.5"][0][1] < every[1] / 2, "only the reference lines of figure 4"


@browser
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_a_screenshot_is_not_blank(text: str, tmp_path: Path, width: int, dark: bool) -> None:
    page, image = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_text(text.replace("<html", "<html data-theme=dark", 1) if dark else text, "utf-8")
    chromium(page, f"--window-size={width},5000", f"--screenshot={image}")
    pixels = np.asarray(Image.open(image).convert("RGB")).astype(int)
    assert pixels.shape[1] == width
    corner = pixels[:40, :4].reshape(-1, 3).mean()
    assert corner < 60 if dark else corner > 220
    colourful = (pixels.max(2) - pixels.min(2) > 60).any(axis=1).mean()
    assert colourful > 0.15, "curves in a good part of the rows"
