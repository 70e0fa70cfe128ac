"""The page of `envtune view` in a real browser: headless Chromium, opened from file://, driven by playwright.

Which Chromium, and what happens without one: the fixture `browser` in tests/conftest.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.sample_trajectories import ANSWER, played

from envtune.environment import ToolCall, Trajectory, render_reply
from envtune.tasks import find_task
from envtune.viewer.page import write_page


class Seen:
    """A page and what it did: `problems` are errors and console messages, `requests` the addresses it asked for."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, viewport={"width": 1200, "height": 800}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.address = file.as_uri()
        self.page.goto(self.address)

    def rows(self) -> list[str]:
        # by textContent: a row is drawn only once it comes into view (content-visibility), and innerText is "" until then
        return list(self.page.locator("#episodes .name").all_text_contents())

    def shown(self) -> str:
        return str(self.page.locator("#episode h2").inner_text())

    def wait_for(self, selector: str, text: str) -> None:
        self.page.locator(selector, has_text=text).wait_for()

    def wait_for_rows(self, number: int) -> None:
        from playwright.sync_api import expect

        expect(self.page.locator("#episodes li")).to_have_count(number)


@pytest.fixture
def page_file(stored: Path) -> Path:
    page = stored.with_suffix(".html")
    write_page([stored], page, limit=2000)
    return page


@pytest.fixture
def seen(browser: Any, page_file: Path) -> Iterator[Seen]:
    seen = Seen(browser, page_file)
    yield seen
    assert seen.problems == []
    assert {request.split("#")[0] for request in seen.requests} == {seen.address}
    seen.context.close()


def test_it_opens_on_the_first_episode(seen: Seen) -> None:
    assert seen.page.locator("#totals").inner_text() == (
        "9 episodes · ✓ 6 passed · ✗ 1 failed · ◔ 1 over budget · ⊘ 1 aborted"
    )
    assert len(seen.rows()) == 9
    assert seen.shown() == "multi_turn_base_0 ✓ passed"
    assert seen.page.locator("section.turn").count() == 4
    assert seen.page.locator(".same").count() == 8
    assert seen.page.title() == "multi_turn_base_0 · envtune view"


def test_filters_search_and_order(seen: Seen) -> None:
    page = seen.page
    page.select_option("#category", "base")
    assert seen.rows() == ["multi_turn_base_0", "multi_turn_base_0~2", "multi_turn_base_1", "multi_turn_base_3"]
    page.select_option("#outcome", "failed/instance_state_mismatch")
    assert seen.rows() == ["multi_turn_base_0~2"]
    assert page.locator("#count").inner_text() == "1 of 9 episodes"
    page.select_option("#outcome", "aborted")
    assert seen.rows() == ["multi_turn_base_1"]
    page.select_option("#category", "")
    page.select_option("#outcome", "over_budget")
    assert seen.rows() == ["multi_turn_miss_param_1"]
    page.select_option("#outcome", "")
    page.keyboard.press("Escape")
    page.locator("#episode").focus()
    page.keyboard.press("/")
    page.keyboard.type("Change ONE directory")
    seen.wait_for_rows(1)
    assert seen.rows() == ["multi_turn_base_0~2"]
    page.fill("#search", "no such text anywhere")
    seen.wait_for_rows(0)
    page.fill("#search", "")
    seen.wait_for_rows(9)
    page.select_option("#sort", "progress, lowest first")
    assert seen.rows()[:3] == ["multi_turn_base_0~2", "multi_turn_miss_param_1", "multi_turn_base_1"]


def test_a_failed_episode(seen: Seen) -> None:
    page = seen.page
    page.get_by_text("multi_turn_base_0~2").click()
    assert seen.shown() == "multi_turn_base_0 ✗ failed: instance state mismatch"
    assert page.evaluate("location.hash") == "#multi_turn_base_0~2"
    turn = page.locator("#turn-1")
    assert "✗ score 0" in turn.locator("h3").inner_text()
    assert turn.locator(".call.error .label").all_inner_texts() == ["call", "✗ tool error", "➜ hint"]
    assert turn.locator(".call .hint").inner_text().startswith("Change one directory at a time")
    assert turn.locator(".call .hint").get_attribute("title") == "fs.cd.path"
    assert turn.locator(".ill_formed .hint").inner_text().startswith("Begin with <think>")
    ill = turn.locator(".ill_formed")
    assert "ill-formed" in ill.locator("h4").inner_text() and ill.locator(".raw").inner_text() == "I call ls."
    cells = [row.locator("th, td").all_inner_texts() for row in turn.locator(".diff tbody tr").all()]
    assert [cell[0] for cell in cells] == [
        "GorillaFileSystem.root/document/temp", "GorillaFileSystem.root/document/final_report.pdf",
    ]  # fmt: skip
    assert cells[0][1] == "not there" and cells[1][2] == "not there"
    assert turn.locator(".missing li").count() == 3
    assert not turn.locator(".gold pre").first.is_visible()
    turn.locator(".gold summary").click()
    assert turn.locator(".gold pre").first.inner_text() == "cd(folder='document')"


def test_an_impossible_turn_and_one_not_reached(seen: Seen) -> None:
    page = seen.page
    page.goto(f"{seen.address}#multi_turn_miss_func_0~2")
    turn = page.locator("#turn-3")
    assert "a call in a turn that cannot be done" in turn.locator("h3").inner_text()
    assert "not executed" in turn.inner_text() and "cannot be fulfilled" in turn.inner_text()
    assert "Now on offer: sort" in page.locator("#turn-4").inner_text()
    page.goto(f"{seen.address}#multi_turn_miss_param_1")
    assert "not finished" in page.locator("#turn-1 h3").inner_text()
    assert "not reached" in page.locator("#turn-2 h3").inner_text()
    assert page.locator("#turn-2 .turn-end").count() == 0


def test_links_and_keys(seen: Seen) -> None:
    page = seen.page
    page.goto(f"{seen.address}#multi_turn_miss_param_1")
    page.reload()
    assert seen.shown().startswith("multi_turn_miss_param_1")
    for key, expected in (("j", "base_1 "), ("ArrowRight", "base_3 "), ("j", "base_3 "), ("k", "base_1 "),
                          ("ArrowLeft", "miss_param_1 ")):  # fmt: skip
        page.keyboard.press(key)
        seen.wait_for("h2", expected)
    page.go_back()
    seen.wait_for("h2", "base_1 ")
    page.locator("#episodes a").first.focus()
    page.keyboard.press("ArrowUp")
    seen.wait_for("h2", "miss_param_1 ")
    assert page.locator("[aria-current] .name").text_content() == "multi_turn_miss_param_1"
    page.locator("#search").focus()
    page.keyboard.type("jk")
    assert seen.shown().startswith("multi_turn_miss_param_1")
    for odd in ("#nothing", "#%E0%A4%A", "#<img src=x>"):
        page.goto(seen.address + odd)
        seen.wait_for("#episode", "This page has no episode")


def test_long_texts_open_on_demand_and_say_what_was_left_out(seen: Seen) -> None:
    page = seen.page
    page.goto(f"{seen.address}#multi_turn_long_context_30")
    result = page.locator("#turn-1 .long", has=page.locator(".result"))
    assert len(result.locator("pre").inner_text()) < 1300
    assert result.locator("button").inner_text().startswith("show all 2,0")
    result.locator("button").click()
    assert "characters left out of this page" in result.locator("pre").inner_text()
    assert result.locator("button").inner_text() == "show less"
    page.locator("#about summary").click()
    assert "more than 2,000 characters" in page.locator("#provenance").inner_text()
    assert "sampled.jsonl" in page.locator("#provenance").inner_text()


HOSTILE = (
    "</script><script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'><svg onload='window.broken = 1'>",
    "<!--<script>",
    "{{script}}\u2028\ud800\x00\u202e",
    "<style>* { display: none }</style><base href='https://example.org'>",
)


def _hostile() -> Trajectory:
    task = find_task("multi_turn_base_0")
    text = "".join(HOSTILE)
    call = ToolCall("cd", {"folder": text + "/"})
    replies = [text, render_reply(text, calls=[call]), render_reply(text, answer=text), ANSWER, ANSWER, ANSWER]
    return played(task, replies)


def test_hostile_text_is_only_text(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "h<img src=x>.jsonl"
    file.write_text(json.dumps(_hostile().as_dict()) + "\n")
    write_page([file], tmp_path / "page.html")
    seen = Seen(browser, tmp_path / "page.html")
    seen.page.locator("#about summary").click()
    for button in seen.page.locator("button.more").all():
        button.click()
    body = seen.page.locator("#episode").inner_text()
    for text in (*HOSTILE[:3], "{{script}}\\u2028\\ud800\\x00\\u202e", HOSTILE[4]):
        assert body.count(text) >= 4, text
    assert seen.page.evaluate("window.broken") is None
    elements = seen.page.evaluate("[...document.querySelectorAll('script, img, svg, style, base')].map(e => e.tagName)")
    assert elements == ["STYLE", "SCRIPT", "SCRIPT"]
    assert seen.problems == [] and len(seen.requests) == 1
    # and if some text became markup after all, the page's own policy would stop it
    seen.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.broken = 1";
            const image = document.createElement("img");
            image.src = "https://example.org/x.png";
            document.body.append(script, image);
        }"""
    )
    seen.page.wait_for_function("() => document.images[0].complete")
    assert seen.page.evaluate("window.broken") is None
    assert all("Content Security Policy" in problem for problem in seen.problems) and len(seen.problems) == 2
    seen.context.close()


def test_light_dark_narrow_and_on_paper(browser: Any, page_file: Path) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        seen = Seen(browser, page_file, color_scheme=scheme)
        backgrounds.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert seen.page.locator("#file-label").is_hidden()
        seen.page.set_viewport_size({"width": 400, "height": 800})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 400
        seen.page.emulate_media(media="print")
        assert seen.page.locator("#side").is_hidden() and seen.page.locator("#episode").is_visible()
        assert seen.problems == []
        seen.context.close()
    assert backgrounds[0] != backgrounds[1]


def test_only_the_chosen_one_of_many_episodes_is_built(browser: Any, stored: Path) -> None:
    many = stored.with_name("many.jsonl")
    many.write_text(stored.read_text() * 90)
    write_page([many], stored.with_name("many.html"))
    seen = Seen(browser, stored.with_name("many.html"))
    assert len(seen.rows()) == 810
    assert seen.page.locator("section.turn").count() == 4
    seen.page.keyboard.press("k")
    seen.page.keyboard.press("j")
    seen.wait_for("h2", "miss_func_0")
    assert seen.page.locator("section.turn").count() == 5
    assert seen.problems == []
    seen.context.close()
