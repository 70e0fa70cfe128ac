"""`envtune view`: every format that it reads, what it refuses, and a page that no text can break out of."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from envtune.cli import app
from envtune.environment import Trajectory
from envtune.errors import EnvtuneError
from envtune.evaluation.bfcl_v3.suite import BfclV3
from envtune.evaluation.runner import run_suite
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.suite import Target
from envtune.files import write_jsonl
from envtune.tasks import find_task
from envtune.viewer.page import page_data, render, write_page
from envtune.viewer.text import visible


class _Reader(HTMLParser):
    """The page as a browser takes it apart: every element, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.texts.append((self._inside, data))


def data_of(page: str) -> dict[str, Any]:
    return json.loads(next(text for tag, text in _Reader(page).texts if tag == "script"))


def view(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["view", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


# ---- what it reads


def test_trajectories(stored: Path, trajectories: list[Trajectory]) -> None:
    said = view(stored)
    page = stored.with_suffix(".html")
    assert said.startswith("9 episodes (") and str(page) in said
    data = data_of(page.read_text())
    assert [episode["id"] for episode in data["episodes"]] == [t.task_id for t in trajectories]
    assert [episode["line"] for episode in data["episodes"]] == list(range(1, 10))
    assert [episode["key"] for episode in data["episodes"]][4:6] == ["multi_turn_base_0~2", "multi_turn_miss_func_0~2"]
    (file,) = data["files"]
    assert file["rules"] == ["bfcl", "training"] and file["feedback"] == ["full", "none"]
    assert (file["label"], file["release"], file["episodes"]) == ("sampled.jsonl", ["paper"], 9)


def test_compressed_and_several(stored: Path, tmp_path: Path) -> None:
    other = tmp_path / "b" / "sampled.jsonl.gz"
    other.parent.mkdir()
    other.write_bytes(gzip.compress(stored.read_bytes()))
    view(stored, other, "--out", tmp_path / "both.html")
    data = data_of((tmp_path / "both.html").read_text())
    assert [file["label"] for file in data["files"]] == ["sampled.jsonl", "b/sampled.jsonl.gz"]
    assert len({episode["key"] for episode in data["episodes"]}) == 18
    assert [episode["file"] for episode in data["episodes"]] == [0] * 9 + [1] * 9


def test_validation_dump_of_verl(tmp_path: Path, trajectories: list[Trajectory]) -> None:
    path = tmp_path / "3.jsonl"
    rows = [{"input": "i", "output": "o", "acc": 1.0, "trajectory": json.dumps(t.as_dict())} for t in trajectories]
    write_jsonl(path, rows)
    episodes = page_data([path])["episodes"]
    assert {episode["kind"] for episode in episodes} == {"validation"} and len(episodes) == 9


@pytest.mark.parametrize(("reply_format", "protocol"), [("kit", "kit-format-1"), ("fc", "native-fc-1")])
def test_evaluation_with_its_records(tmp_path: Path, reply_format: str, protocol: str) -> None:
    tasks = [find_task(f"multi_turn_{name}_0") for name in ("base", "miss_func", "miss_param")]
    with ScriptedEndpoint(tasks, policy="errors", error_share=0.5) as endpoint:
        wrong = {task.id for task in tasks if endpoint.is_wrong(task)}
        target = Target(endpoint.base_url, endpoint.model, "scripted", reply_format, {"temperature": 0})
        run_suite(BfclV3(tasks), target, tmp_path, about={})
    assert 0 < len(wrong) < 3
    data = page_data([tmp_path / "trajectories.jsonl"])
    for episode in data["episodes"]:
        assert episode["outcome"] == ("failed" if episode["id"] in wrong else "passed")
        assert episode["record"]["tokens_in"] > 0 and episode["notes"] == []
    assert data["files"][0]["model"] == "scripted" and data["files"][0]["protocol"] == protocol

    records = (tmp_path / "records.jsonl").read_text().splitlines()
    number, good = next((n, json.loads(r)) for n, r in enumerate(records) if json.loads(r)["passed"])
    bad = {**good, "outcome": "failed", "passed": False, "error_type": "multi_turn:other", "error_message": "m"}
    records[number] = json.dumps(bad)
    (tmp_path / "records.jsonl").write_text("\n".join(records))
    (changed,) = [e for e in page_data([tmp_path / "trajectories.jsonl"])["episodes"] if e["id"] == good["id"]]
    assert (changed["outcome"], changed["error_type"]) == ("failed", "other")
    assert changed["notes"] == ["The record's verdict is not the one that these calls get here."]


def test_calls_alone(tmp_path: Path) -> None:
    task = find_task("multi_turn_miss_func_0", "current")
    gold = [[[call] for call in turn] for turn in task.ground_truth]
    called = [turn or [["ls()"]] for turn in gold]
    path = tmp_path / "c.jsonl"
    write_jsonl(path, [{"id": task.id, "turns": turns} for turns in (gold, called, gold[:2], [*gold, [["ls()"]]])])
    with pytest.raises(EnvtuneError, match=r"c\.jsonl, line 1: .* add --release"):
        page_data([path])
    perfect, impossible, short, long = page_data([path], "current")["episodes"]
    assert perfect["outcome"] == "passed" and [turn["score"] for turn in perfect["turns"]] == [1] * 5
    assert perfect["turns"][0]["replies"][0]["calls"][0]["result"] == '{"current_working_directory": "document"}'
    assert impossible["turns"][2]["replies"][0]["calls"][0]["status"] == "not_run"
    assert [turn["score"] for turn in impossible["turns"]] == [1, 1, 0, 1, 1]
    assert short["error_type"] == long["error_type"] == "force_terminated"
    assert [turn["played"] for turn in short["turns"]] == [True, True, False, False, False]
    assert long["notes"] == ["The line has 1 more turns than the task; they are not shown."]


def test_two_empty_steps_are_no_empty_turn_for_the_checker(tmp_path: Path) -> None:
    """BFCL's own idea of an empty turn (see `envtune.scoring`) has to survive the reading."""
    task = find_task("multi_turn_base_0")
    path = tmp_path / "c.jsonl"
    turns = [[[call] for call in turn] for turn in task.ground_truth]
    turns[0] += turns[1]
    write_jsonl(path, [{"id": task.id, "turns": [turns[0], empty, *turns[2:]]} for empty in ([[]], [[], []])])
    one, two = page_data([path], "paper")["episodes"]
    assert one["error_type"] == "empty_turn_model_response" != two["error_type"]


# ---- what it refuses


def _good() -> dict[str, Any]:
    task = find_task("multi_turn_base_0")
    end = {"replies": [], "score": 0, "end": "not_reached"}
    reply = {"reply": "", "kind": "tool_call", "calls": ["ls()"], "hints": [""], "error": "",
             "results": [{"call": "ls()", "text": "x", "raised": False, "error": False}]}  # fmt: skip
    return {
        "task_id": task.id, "task_hash": task.content_hash, "category": "base", "release": "paper",
        "feedback": "standard", "rules": "training", "stop_reason": "aborted",
        "turns": [{"replies": [reply], "score": 0, "end": "answer"}, end, end, end],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda row: row.update(turns=row["turns"][:2]), "has 4 turns, the trajectory 2"),
        (lambda row: row.update(task_id="nothing"), "unknown task id"),
        (lambda row: row.update(release="v5"), "unknown BFCL release"),
        (lambda row: row.update(stop_reason="other"), "not a trajectory"),
        (lambda row: row.update(feedback=7), "no string"),
        (lambda row: row.update(turns=None), "not a trajectory"),
        (lambda row: row.pop("category"), "not a trajectory"),
        (lambda row: row.update(more=1), "not a trajectory"),
        (lambda row: row.update(max_result_characters="9"), "must be a number or null"),
        (lambda row: row["turns"][0].update(score=2), "score must be 0 or 1"),
        (lambda row: row["turns"][0].update(score=True), "score must be 0 or 1"),
        (lambda row: row["turns"][0].update(end="x"), "not a trajectory"),
        (lambda row: row["turns"][0]["replies"][0].update(reply=None), "no string"),
        (lambda row: row["turns"][0]["replies"][0].update(calls=[[]]), "no string"),
        (lambda row: row["turns"][0]["replies"][0].update(hints=[]), "not of one length"),
        (lambda row: row["turns"][0]["replies"][0]["results"][0].update(text=1), "no string"),
        (lambda row: row["turns"][0]["replies"][0]["results"][0].update(raised="no"), "true or false"),
        (lambda row: row["turns"][0]["replies"][0]["results"].append(7), "not a trajectory"),
    ],
)
def test_a_line_that_is_no_trajectory(tmp_path: Path, change: Any, why: str) -> None:
    row = _good()
    page_data([_written(tmp_path, _good())])
    change(row)
    for wrong in (row, {"trajectory": row}, {"trajectory": json.dumps(row)}):
        path = _written(tmp_path, _good(), wrong)
        with pytest.raises(EnvtuneError, match=rf"t\.jsonl, line 2: .*{why}") as raised:
            write_page([path], tmp_path / "page.html")
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "page.html").exists()


def _written(folder: Path, *rows: Any) -> Path:
    path = folder / "t.jsonl"
    write_jsonl(path, rows)
    return path


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (7, "must be a JSON object"),
        ({}, "neither a trajectory nor"),
        ({"trajectory": "{"}, "not valid JSON"),
        ({"trajectory": 7}, "not a trajectory"),
        ({"input": "a", "output": "b", "score": 1.0}, "a dump of training"),
        ({"id": "memory_1", "exchanges": [], "result": {}}, "a conversation of another suite than bfcl-v3"),
        ({"id": 7, "turns": []}, '"id" must be a string'),
        ({"id": "multi_turn_base_0", "turns": [["ls()"]]}, '"turns" a list'),
        ({"id": "nothing", "turns": []}, "unknown task id"),
    ],
)
def test_other_lines(tmp_path: Path, row: Any, why: str) -> None:
    with pytest.raises(EnvtuneError, match=rf"t\.jsonl, line 1: .*{why}"):
        page_data([_written(tmp_path, row)], "paper")


def test_files_that_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(EnvtuneError, match="no such file"):
        view(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(EnvtuneError, match="nothing to show"):
        view(tmp_path / "empty.jsonl")
    (tmp_path / "half.jsonl").write_text('{"id": ')
    with pytest.raises(EnvtuneError, match=r"half\.jsonl, line 1: not valid JSON"):
        view(tmp_path / "half.jsonl")
    write_jsonl(tmp_path / "trajectories.jsonl", [_good()])
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(EnvtuneError, match=r"summary\.json: not the summary of an evaluation"):
        view(tmp_path / "trajectories.jsonl")


# ---- the page


def test_long_texts_are_cut_by_the_stated_rule(tmp_path: Path, stored: Path) -> None:
    cut, whole = (page_data([stored], limit=limit)["episodes"][3] for limit in (1000, None))
    result, full = (episode["turns"][0]["replies"][0]["calls"][1]["result"] for episode in (cut, whole))
    assert isinstance(full, str) and len(full) > 3000
    assert result == {"head": full[:750], "tail": full[-250:], "left": len(full) - 1000}
    view(stored, "--max-characters", "0", "--out", tmp_path / "whole.html")
    assert data_of((tmp_path / "whole.html").read_text())["limit"] is None


def test_the_page_asks_for_nothing_and_allows_only_its_own_script(stored: Path) -> None:
    page = render(page_data([stored]))
    reader = _Reader(page)
    assert [name for tag, given in reader.elements for name in given if name in ("src", "href", "style")] == []
    assert {tag for tag, _ in reader.elements} & {"link", "img", "iframe", "object", "base"} == set()
    (policy,) = [given["content"] for tag, given in reader.elements if "http-equiv" in given]
    (style,) = [text for tag, text in reader.texts if tag == "style"]
    script = [text for tag, text in reader.texts if tag == "script"][1]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import", style)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function\(|fetch|https?:", script
    )


HOSTILE = (
    "</script><script>alert(1)</script>", "<!-- <script>", "]]>", "<img src=x onerror=alert(1)>", "{{script}}{{data}}",
    "\u2028\u2029", "\ud800", "&lt;b&gt;", "\x00\x1b[31m", "</SCRIPT >", "<style>*{display:none}", "javascript:alert(1)",
)  # fmt: skip


@settings(max_examples=100)
@given(st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec=None)), st.from_regex(r"[<>/!a-z{}\-]{1,20}")))
def test_no_text_breaks_out_of_the_data(text: str) -> None:
    data = {"episodes": [{"text": text, "other": visible(text)}], "files": []}
    page = render(data)
    embedded = next(text for tag, text in _Reader(page).texts if tag == "script")
    assert embedded.isascii() and not set(embedded) & set("<>&")
    assert json.loads(embedded) == data
    assert [tag for tag, _ in _Reader(page).elements] == [tag for tag, _ in _Reader(render({})).elements]
