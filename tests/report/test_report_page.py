"""The report's page: what it says of a run, what it says of what is missing, and that no text becomes markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_reports import ITEMS, RESPONSE, STATE, make_evaluation, record_of, talk

from envtune.errors import EnvtuneError
from envtune.files import write_jsonl
from envtune.profile import ROOT, Profile
from envtune.report import write_report
from envtune.report.collect import Collected, collect, departs
from envtune.report.examples import CHARACTERS, EXAMPLES, MESSAGES, compare
from envtune.report.page import render
from envtune.report.svg import inline_svg

BARE = {"record": None, "tables": {}, "figures": (), "runs": (), "departures": (), "departs": "", "comparisons": ()}


class Seen(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(whole: Profile, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(whole, tmp_path_factory.mktemp("page") / "page.html").read_text(encoding="utf-8")


def test_it_says_what_ran(page: str) -> None:
    text = Seen(page).text
    for said in ("run cpu", "Status finished", "Arm full", "Seed 42", "c0ffeec0ffee", "2026-11-01T12:00:00", "2 cores"):
        assert said in text, said


def test_tables_figures_and_cost_are_there(page: str) -> None:
    seen = Seen(page)
    assert "50.33 [44.0, 56.1] (151/300)" in seen.text
    assert [
        name
        for name in seen.ids
        if name in ("ablation_augmentation", "ablation_reward", "ablation_curriculum", "training")
    ]
    assert seen.tags.count("svg") == 4
    assert (
        "core-hours" in seen.text and "5.33" in seen.text and "2 h 40 min" in seen.text
    )  # four stages, 40 minutes, two cores
    assert len(seen.ids) == len(set(seen.ids))


def test_it_needs_nothing_from_elsewhere(page: str) -> None:
    seen = Seen(page)
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form"} & set(seen.tags)
    addresses = [
        value or "" for name, value in seen.attributes if name in ("href", "src", "xlink:href", "action", "data")
    ]
    assert addresses and all(address.startswith("#") for address in addresses)
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", page))
    assert {address[1:] for address in addresses} <= set(seen.ids)
    assert "default-src 'none'" in page


def test_departures_are_those_of_the_projects_own_lists(page: str, whole: Profile) -> None:
    text = Seen(page).text
    assert "actor_rollout_ref.rollout.n all 16 2" in text  # what verl was given, in all stages
    assert "algorithm.adv_estimator" not in text  # the same
    assert "verl 0.9.1 unmodified, vLLM, an agent loop" in text
    table = departs(ROOT / "reproduce" / "README.md")
    assert table.startswith("| what |") and "\n## " not in table


def test_a_readme_without_the_section_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvtuneError, match="cannot be read"):
        departs(tmp_path / "README.md")
    (tmp_path / "README.md").write_text("# other\n")
    with pytest.raises(EnvtuneError, match="has no section"):
        departs(tmp_path / "README.md")


def test_examples_are_grouped_by_what_became_of_them(whole: Profile) -> None:
    (one,) = compare(whole)
    assert (one.suite, one.seed, one.before, one.after, one.items, one.passed, one.apart) == (
        "bfcl-v3", 42, "start", "stage4", len(ITEMS), 1, 0,
    )  # fmt: skip
    assert [(group.kind, group.error_type, group.count) for group in one.groups] == [
        ("fixed", STATE, 4),
        ("fixed", RESPONSE, 1),
        ("broken", STATE, 1),
        ("still failing", RESPONSE, 1),
        ("still failing", STATE, 1),
    ]
    fixed = one.groups[0].examples
    # of each stratum the first before any second one
    assert [example.id for example in fixed] == [
        "multi_turn_base_101",
        "multi_turn_miss_func_104",
        "multi_turn_base_102",
    ]
    assert len(fixed) == EXAMPLES
    assert [(talk.checkpoint, talk.outcome) for talk in fixed[0].conversations] == [
        ("start", "failed"),
        ("stage4", "passed"),
    ]
    assert [talk.checkpoint for talk in one.groups[-1].examples[0].conversations] == ["stage4"]


def test_what_cannot_be_compared_is_left_out(empty: Profile) -> None:
    ids = ["multi_turn_base_1", "multi_turn_base_2", "multi_turn_base_3"]
    make_evaluation(empty, "start", [record_of(item, STATE) for item in ids])
    assert compare(empty) == ()
    changed = replace(record_of(ids[1], None), item_sha256="9" * 64)
    not_run = replace(record_of(ids[2], None), outcome="not_run", passed=None)
    folder = make_evaluation(empty, "stage1", [record_of(ids[0], None), changed, not_run], seed=43)
    assert compare(empty) == ()  # no seed that both have
    folder.rename(folder.with_name("seed42"))
    (one,) = compare(empty)
    assert (one.items, one.passed, one.apart) == (1, 0, 2)
    (conversation, _) = one.groups[0].examples[0].conversations
    assert conversation.messages is None


def test_long_conversations_are_cut_with_a_note(empty: Profile) -> None:
    item = "multi_turn_base_1"
    long = talk(item, "x" * (CHARACTERS + 77))
    long["messages"] += [{"role": "user", "content": f"more {number}"} for number in range(MESSAGES)]
    make_evaluation(empty, "start", [record_of(item, STATE)], talks=[long])
    make_evaluation(empty, "stage1", [record_of(item, None)], talks=[talk(item, "y" * (CHARACTERS + 77))])
    text = Seen(render(replace(_bare(empty), comparisons=compare(empty)))).text
    assert "[5 messages left out]" in text and "[77 characters left out]" in text
    assert "more 59" in text and "more 28" not in text


@pytest.mark.parametrize(
    "row",
    [{"id": "multi_turn_base_1", "turns": ["<b>hi</b>"]}, {"id": "multi_turn_base_1", "messages": ["odd", 3, None]}],
)
def test_conversations_of_another_shape_are_shown_as_they_are(empty: Profile, row: dict[str, object]) -> None:
    for checkpoint, error in (("start", STATE), ("stage1", STATE)):
        make_evaluation(empty, checkpoint, [record_of("multi_turn_base_1", error)], talks=[row])
    seen = Seen(render(replace(_bare(empty), comparisons=compare(empty))))
    assert "b" not in seen.tags and ("<b>hi</b>" in seen.text or "odd" in seen.text)


def test_without_a_run_each_part_says_what_makes_it(empty: Profile) -> None:
    path = write_report(empty)
    assert path == empty.results_dir / "report.html"
    text = Seen(path.read_text(encoding="utf-8")).text
    for said in ("No run: there is no", "make reproduce PROFILE=cpu", "No tables in", "make tables PROFILE=cpu", "No figures in",
                 "make figures PROFILE=cpu", "No examples:", "make evaluate PROFILE=cpu"):  # fmt: skip
        assert said in text, said
    # what the profile would run with is known all the same
    assert "data.train_batch_size stage2, stage3, stage4 32 2" in text and "would be given" in text


def test_the_same_files_give_the_same_page(whole: Profile, page: str, tmp_path: Path) -> None:
    assert write_report(whole, tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_a_record_that_is_none_is_an_error(empty: Profile) -> None:
    empty.run_dir.mkdir(parents=True)
    (empty.run_dir / "run.json").write_text("{}")
    with pytest.raises(EnvtuneError, match=r"run\.json"):
        write_report(empty)
    assert not (empty.results_dir / "report.html").exists()


def test_markdown_is_no_way_to_markup(empty: Profile) -> None:
    text = (
        "# Head\n\n<script>broken</script>\n\n![a picture](https://example.org/x.png) [a link](https://example.org) "
        "<https://example.org>\n\n| a |\n| --- |\n| <img src=x> |\n"
    )
    seen = Seen(render(replace(_bare(empty), tables={"table1": text})))
    assert not {"script", "img"} & set(seen.tags) and "table" in seen.tags
    assert all((value or "").startswith("#") for name, value in seen.attributes if name in ("href", "src"))
    assert "<script>broken</script>" in seen.text and "<img src=x>" in seen.text
    assert seen.tags.count("h1") == 1


TAGS = [
    "</details>",
    "</pre>",
    "<script>broken</script>",
    "{{ it }}",
    "{% raw %}",
    "<!--",
    "]]>",
    "&lt;",
    "<svg onload=x>",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(TAGS) | st.text(max_size=20), max_size=6).map("".join))
def test_no_text_of_a_model_changes_the_page(empty: Profile, text: str) -> None:
    def page(text: str) -> Seen:
        for checkpoint, error in (("start", f"type {text}"), ("stage1", f"type {text}")):
            record = record_of("multi_turn_base_1", error, f"message {text}")
            folder = make_evaluation(empty, checkpoint, [record])
            write_jsonl(
                folder / "trajectories.jsonl",
                [{"id": record.id, "messages": [{"role": text, "content": f"content {text}"}]}],
            )
        return Seen(render(replace(_bare(empty), comparisons=compare(empty))))

    hostile, plain = page(text), page("plain")
    assert hostile.tags == plain.tags
    assert [pair for pair in hostile.attributes if pair[0] != "class"] == [
        pair for pair in plain.attributes if pair[0] != "class"
    ]


def test_a_figure_stands_beside_others(tmp_path: Path, whole: Profile) -> None:
    one = inline_svg(whole.results_dir / "figures" / "training.svg")
    assert one.title.startswith("Training curves") and "exponentially weighted" in one.description
    assert "<metadata" not in one.element and "*{" not in one.element.replace("#training *{", "")
    head = one.element.partition(">")[0]
    assert "width=" not in head and "viewBox=" in head and 'role="img"' in head
    for content in ("<svg", "<p>no figure</p>", ""):
        path = tmp_path / "broken.svg"
        path.write_text(content)
        with pytest.raises(EnvtuneError, match="envtune figures"):
            inline_svg(path)


def test_the_record_is_shown_without_what_would_fill_the_page(whole: Profile) -> None:
    collected = collect(whole)
    record = json.loads(json.dumps(collected.record))
    record["code"]["diff"] = "+line\n" * 5000
    text = Seen(render(replace(collected, record=record))).text
    assert "28000 characters left out here" in text


def _bare(profile: Profile) -> Collected:
    return Collected(profile=profile, missing={}, **BARE)
