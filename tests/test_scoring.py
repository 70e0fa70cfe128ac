"""Scoring: BFCL's own checker agrees on every edited trajectory, and bad input costs nothing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.edits import Turns, edit, gold_turns_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envtune.bfcl import get_release
from envtune.errors import EnvtuneError
from envtune.scoring import official_verdict, score_file, score_line
from envtune.tasks import Task, find_task, load_tasks

ORACLE = Path(__file__).parent / "helpers" / "bfcl_oracle.py"


def bfcl_says(release: str, rows: list[tuple[Task, Turns]]) -> list[dict[str, object]]:
    """Verdicts and turn scores put together by BFCL's own code, in a process of its own."""
    chosen = get_release(release)
    lines = "".join(json.dumps({"id": task.id, "turns": turns}) + "\n" for task, turns in rows)
    command = [sys.executable, str(ORACLE), str(chosen.folder().parent), chosen.data_prefix]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_parity(release: str, rows: list[tuple[Task, Turns]]) -> int:
    valid = 0
    for (task, turns), theirs in zip(rows, bfcl_says(release, rows), strict=True):
        score, verdict = score_line(task, turns), official_verdict(task, turns)
        ours = {"valid": score["valid"], "error_type": verdict["error_type"], "turn_scores": score["turn_scores"]}
        assert ours == theirs, f"{task.id}: {turns}"
        valid += score["valid"]
    return valid


def edited(release: str, number: int, seed: int) -> list[tuple[Task, Turns]]:
    rng = random.Random(seed)
    return [(task, edit(task, rng)) for task in rng.choices(load_tasks(release), k=number)]


def test_parity_with_bfcl(release: str) -> None:
    rows = edited(release, 300, seed=0)
    assert 0.1 < assert_parity(release, rows) / len(rows) < 0.9, "edits that decide nothing test nothing"


WORDS = [
    "document",
    "final_report.pdf",
    "temp",
    ".",
    "..",
    "/",
    "a/b",
    "sort (x)",
    "don(t",
    "",
    "USD",
    "SFO",
    "economy",
    "NVDA",
]
VALUES = (
    st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=12) | st.integers(-1_000, 1_000)
    | st.floats(-1e6, 1e6) | st.booleans() | st.none() | st.lists(st.sampled_from(WORDS) | st.integers(0, 9), max_size=3)
)  # fmt: skip


@st.composite
def trajectories(draw: st.DrawFn, release: str) -> tuple[Task, Turns]:
    """Any calls of the task's tools, with parameters that they have or lack, among those of the ground truth."""
    tasks = load_tasks(release)
    task = tasks[draw(st.integers(0, len(tasks) - 1))]
    gold = [call for turn in task.ground_truth for call in turn] or ["ls()"]

    def call() -> str:
        if draw(st.booleans()):
            return draw(st.sampled_from(gold))
        tool = draw(st.sampled_from(task.tools))
        names = [name for name in tool["parameters"]["properties"] if draw(st.integers(0, 9))]
        names += ["nothing"] * draw(st.sampled_from([0, 0, 0, 1]))
        return f"{tool['name']}({', '.join(f'{name}={draw(VALUES)!r}' for name in names)})"

    def turn(calls: tuple[str, ...]) -> list[list[str]]:
        steps = [[one] for one in calls if draw(st.integers(0, 9))]
        for _ in range(draw(st.integers(0, 2))):
            steps.insert(draw(st.integers(0, len(steps))), [call() for _ in range(draw(st.integers(0, 2)))])
        return steps

    return task, [turn(calls) for calls in task.ground_truth]


@pytest.fixture(scope="module")
def oracles() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """BFCL's checker of each release, waiting for lines."""
    running = {}
    for name in ("paper", "current"):
        chosen = get_release(name)
        command = [sys.executable, str(ORACLE), str(chosen.folder().parent), chosen.data_prefix]
        running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    yield running
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(("paper", "current")), st.data())
def test_parity_with_bfcl_on_any_calls(
    oracles: dict[str, subprocess.Popen[str]], release: str, data: st.DataObject
) -> None:
    task, turns = data.draw(trajectories(release))
    oracle = oracles[release]
    assert oracle.stdin is not None and oracle.stdout is not None
    oracle.stdin.write(json.dumps({"id": task.id, "turns": turns}) + "\n")
    theirs = json.loads(oracle.stdout.readline())
    score, verdict = score_line(task, turns), official_verdict(task, turns)
    assert theirs == {
        "valid": score["valid"], "error_type": verdict["error_type"], "turn_scores": score["turn_scores"],
    }  # fmt: skip


@pytest.mark.slow
def test_parity_with_bfcl_on_many(release: str) -> None:
    assert_parity(release, edited(release, 5_000, seed=1))


def test_gold_is_valid(tasks: tuple[Task, ...]) -> None:
    for task in tasks[::7]:
        assert score_line(task, gold_turns_of(task)) == {
            "id": task.id, "valid": True, "turn_scores": [1] * len(task.ground_truth), "progress": 1.0,
        }  # fmt: skip


def test_a_fulfilled_request_needs_no_second_call() -> None:
    """Where our rule and BFCL's differ: everything was done in the first turn, nothing is called in the second."""
    task = find_task("multi_turn_base_0")
    turns = [[[call for turn in task.ground_truth for call in turn]], *[[] for _ in task.ground_truth[1:]]]
    assert score_line(task, turns)["turn_scores"][-1] == 1
    assert official_verdict(task, turns)["error_type"] in (
        "multi_turn:empty_turn_model_response", "multi_turn:instance_state_mismatch",
    )  # fmt: skip


def test_calls_in_an_impossible_turn_count_officially_and_not_in_training() -> None:
    task = find_task("multi_turn_miss_func_0")
    turns = gold_turns_of(task)
    turns[task.ground_truth.index(())] = [["mkdir(dir_name='made')"]]
    score = score_line(task, turns)
    assert not score["valid"] and score["turn_scores"].count(0) == 1


def test_score_file_keeps_the_order(tmp_path: Path) -> None:
    rows = edited("paper", 20, seed=2)
    source, out = tmp_path / "t.jsonl", tmp_path / "s.jsonl"
    source.write_text("".join(json.dumps({"id": task.id, "turns": turns}) + "\n" for task, turns in rows))
    assert score_file(source, "paper", out) == 20
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [task.id for task, _ in rows]


GOOD = '{"id": "multi_turn_base_0", "turns": []}'


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ('{"id": "multi_turn_base_900", "turns": []}', "line 2: unknown task id"),
        ('{"id": "multi_turn_base_0", "turns": [', "line 2: not valid JSON"),
        ('{"id": "multi_turn_base_0"}', "line 2: each line must be"),
        ('{"id": 3, "turns": []}', "line 2: each line must be"),
        ("[]", "line 2: each line must be"),
        ('{"id": "multi_turn_base_0", "turns": ["ls()"]}', 'line 2: "turns" must be'),
        ('{"id": "multi_turn_base_0", "turns": [["ls()"]]}', 'line 2: "turns" must be'),
        ('{"id": "multi_turn_base_0", "turns": [[[1]]]}', 'line 2: "turns" must be'),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path: Path, bad: str, complaint: str) -> None:
    source, out = tmp_path / "t.jsonl", tmp_path / "s.jsonl"
    source.write_text(f"{GOOD}\n{bad}\n")
    out.write_text("old")
    with pytest.raises(EnvtuneError, match=complaint):
        score_file(source, "paper", out)
    assert out.read_text() == "old"
