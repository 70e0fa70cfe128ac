"""The report's page in a real browser: headless Chromium, opened from file://, driven by playwright.

Which Chromium, and what happens without one: the fixture `browser` in tests/conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_reports import make_all, profile_in

from envtune.report import write_report

HOSTILE = (
    "</pre></details></section><script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'><svg onload='window.broken = 1'>",
    "<!--<style>* { display: none }</style><base href='https://example.org'>",
    "{{ it }} ünïcödé \u2603 \U0001f600 \u202e\u2028\x00",
)
SHOWN = ("ünïcödé \u2603 \U0001f600 \\u202e\\u2028\\x00",)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    profile = profile_in(tmp_path_factory.mktemp("hostile"))
    make_all(profile, text=" ".join(HOSTILE), error_message=HOSTILE[0])
    return write_report(profile)


class Seen:
    """A page and what it did: `problems` are errors and console messages, `requests` the addresses it asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1200, **options: Any) -> None:
        self.context = browser.new_context(offline=True, viewport={"width": width, "height": 800}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())


@pytest.fixture
def open_page(browser: Any, page_file: Path) -> Iterator[Any]:
    opened: list[Seen] = []

    def opener(**options: Any) -> Any:
        opened.append(Seen(browser, page_file, **options))
        return opened[-1].page

    yield opener
    for seen in opened:
        assert seen.problems == []
        assert seen.requests == [page_file.as_uri()]
        seen.context.close()


def test_tables_and_figures_are_seen(open_page: Any) -> None:
    page = open_page()
    assert page.locator("#table1 table").is_visible()
    assert page.locator("#table1 td").nth(3).inner_text() == "50.33 [44.0, 56.1] (151/300)"
    for name in ("ablation_augmentation", "ablation_reward", "ablation_curriculum", "training"):
        box = page.locator(f"svg#{name}").bounding_box()
        assert box["width"] > 600 and box["height"] > 250, name
    assert page.locator("#record pre").is_hidden()
    page.locator("#record summary").click()
    assert '"schema": 2' in page.locator("#record pre").inner_text()


def test_hostile_text_is_only_text(open_page: Any) -> None:
    page = open_page()
    examples = page.locator("details.example")
    assert examples.count() == 7
    for summary in page.locator("details.example > summary").all():
        summary.click()
    said = page.locator("#examples").inner_text()
    for text in (*HOSTILE[:3], *SHOWN):
        assert said.count(text) >= examples.count(), text
    assert page.evaluate("window.broken") is None
    assert page.evaluate("[...document.querySelectorAll('script, img, base')].length") == 0
    assert page.locator("svg").count() == 4


def test_a_narrow_screen_does_not_scroll_sideways(open_page: Any) -> None:
    page = open_page(width=390)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#table1 .scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")  # it has a box of its own to scroll in
    assert box.evaluate("box => box.getBoundingClientRect().right") <= 390


def test_light_and_dark(open_page: Any) -> None:
    colours = [
        open_page(color_scheme=scheme).evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        for scheme in ("light", "dark")
    ]
    assert colours[0] == colours[1][::-1] or (colours[0][0] != colours[1][0] and colours[0][1] != colours[1][1])


def test_it_prints(open_page: Any, tmp_path: Path) -> None:
    page = open_page(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    # at the width of A4 between its margins nothing is cut off at the right
    page.set_viewport_size({"width": 703, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    page.pdf(path=str(tmp_path / "page.pdf"), prefer_css_page_size=True)
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content.count(b"/Type /Page\n") >= 3
