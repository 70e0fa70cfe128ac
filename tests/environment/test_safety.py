"""Hostile calls and replies are answered as ordinary data: at once, with nothing executed and nothing left behind.

The corpus is in tests/helpers/hostile. Every entry runs in this process on fresh episodes, of both releases and under
both sets of rules, while an audit hook records whatever reaches for the machine.
"""

from __future__ import annotations

import _strptime  # noqa: F401 - loaded by the first date that a tool reads
import json
import os
import subprocess
import sys
import unicodedata  # noqa: F401 - loaded by the first name that is not ASCII
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.hostile import Hostile, Kind, corpus
from helpers.hostile.growth import LOGIN_TEXT
from helpers.hostile.run import MODES, limited_memory, problems, task_for
from helpers.hostile.watch import Watch, settings, tables
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from envtune.bfcl import load_api_classes
from envtune.environment import ApiState, Episode
from envtune.environment.gold import gold_turns
from envtune.environment.gold_policy import gold_replies
from envtune.environment.prompt import reveal_sentence
from envtune.tasks import Task, load_tasks

RELEASES = ("paper", "current")
GROWTH_LIMIT = 5_000_000  # bytes
WATCH = Watch()


@pytest.fixture(scope="module", autouse=True)
def memory() -> Iterator[None]:
    """No payload may take the machine's memory. What is read from files once a process is read first."""
    for release in RELEASES:
        load_api_classes(release)
        load_tasks(release)
        reveal_sentence(release)
    with limited_memory():
        yield


@pytest.fixture
def canaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with the file and the variable that payloads try to read or to remove."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVTUNE_CANARY", "canary of the environment")
    (tmp_path / "canary.txt").write_text("canary of the folder", encoding="utf-8")
    return tmp_path


def unharmed(folder: Path) -> bool:
    kept = (folder / "canary.txt").read_text(encoding="utf-8") == "canary of the folder"
    return kept and os.listdir(folder) == ["canary.txt"] and os.environ["ENVTUNE_CANARY"] == "canary of the environment"


def test_the_corpus_is_large_enough_and_of_every_kind() -> None:
    assert len(corpus()) >= 600
    assert {entry.kind for entry in corpus()} == set(Kind)


def test_the_watch_sees_what_it_must(tmp_path: Path) -> None:
    """Otherwise all tests below would pass whatever happened."""
    with WATCH.armed() as seen:
        eval("1")  # noqa: S307
        (tmp_path / "f").write_text("x", encoding="utf-8")
        os.remove(tmp_path / "f")
        subprocess.run(["true"], check=True)
    events = {event.split("(")[0] for event in seen}
    assert {"exec", "open", "os.remove", "subprocess.Popen"} <= events


@pytest.mark.timeout(20)
@pytest.mark.parametrize("entry", corpus(), ids=lambda entry: entry.name)
def test_an_entry_is_answered_as_data(entry: Hostile, canaries: Path) -> None:
    before = settings()
    for release in entry.releases:
        for rules, feedback in MODES if entry.kind is Kind.REPLY else MODES[:1]:
            found = problems(entry, release, WATCH, rules, feedback)
            assert not found, f"{release}, {rules}: " + "; ".join(found[:5])
    assert unharmed(canaries)
    after = settings()
    assert [key for key in before if after[key] != before[key]] == []


PROBES = {
    "TwitterAPI": [LOGIN_TEXT, "post_tweet(content='probe')", "post_tweet(content='probe', tags=['#a'])"],
    "TravelAPI": ["get_all_credit_cards()", "get_flight_cost('SFO', 'LAX', '2024-01-01', 'economy')"],
    "VehicleControlAPI": ["get_outside_temperature_from_google()", "displayCarStatus(option='doors')"],
    "MathAPI": ["logarithm(value=2, base=10, precision=5)", "square_root(number=2, precision=5)"],
    "GorillaFileSystem": ["find()", "du()"],
}


def bystanders(release: str) -> list[Task]:
    """A task of each class, with and without long context: those that the payloads run on."""
    wanted = {(entry.classes, entry.category) for entry in corpus()}
    wanted |= {
        ((name,), category) for name in load_api_classes(release).classes for category in ("base", "long_context")
    }
    entries = [Hostile("", Kind.TEXT, (), classes, category) for classes, category in sorted(wanted)]
    tasks = {}
    for entry in entries:
        try:
            task = task_for(entry, release)
        except StopIteration:  # no long-context task has MathAPI alone, say
            continue
        tasks[task.id] = task
    return list(tasks.values())


def seen_by(api: ApiState, task: Task) -> str:
    """All that an episode of the task can see: the gold calls' results, probes of what tools share, and the state."""
    calls = [call for turn in task.ground_truth for call in turn]
    calls += [call for name in task.involved_classes for call in PROBES.get(name, [])]
    return json.dumps([[result.text for result in api.run(calls)], repr(api.public_state())])


def played(episode: Episode, replies: list[str]) -> str:
    for reply in replies:
        episode.step(reply)
    return json.dumps(episode.trajectory.as_dict())


def started(task: Task) -> Episode:
    episode = Episode(task)
    episode.start()
    return episode


@pytest.mark.timeout(120)
@pytest.mark.parametrize("release", RELEASES)
def test_other_episodes_see_nothing_of_it(release: str) -> None:
    tasks = bystanders(release)
    golds = {task.id: repr(gold_turns(task)) for task in tasks}
    replies = {task.id: list(gold_replies(task)) for task in tasks}
    states = {task.id: seen_by(ApiState(task), task) for task in tasks}
    trajectories = {task.id: played(started(task), replies[task.id]) for task in tasks}
    opened = {task.id: (ApiState(task), started(task)) for task in tasks}
    for _, episode in opened.values():
        episode.step(replies[episode.task.id][0])

    shared = tables()
    for entry in corpus():
        if release in entry.releases:
            problems(entry, release, WATCH)

    after = tables()
    assert [name for name in shared if after[name] != shared[name]] == []
    gold_turns.cache_clear()
    for task in tasks:
        api, episode = opened[task.id]
        assert seen_by(api, task) == states[task.id], f"{task.id}: opened before"
        assert played(episode, replies[task.id][1:]) == trajectories[task.id], f"{task.id}: opened before"
        assert seen_by(ApiState(task), task) == states[task.id], f"{task.id}: opened after"
        assert played(started(task), replies[task.id]) == trajectories[task.id], f"{task.id}: opened after"
        assert repr(gold_turns(task)) == golds[task.id], f"{task.id}: its gold"


@pytest.mark.timeout(120)
def test_resident_memory_is_flat() -> None:
    tests = Path(__file__).parent.parent
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "helpers.hostile.run", "4"],
        capture_output=True, text=True, check=False, timeout=110, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    after = json.loads(done.stdout)
    assert after[-1] - after[1] < GROWTH_LIMIT, after


TEXTS = tuple(
    payload for entry in corpus() if entry.kind is not Kind.JSON
    for payload in entry.payload[:3] if isinstance(payload, str) and 0 < len(payload) <= 2000
)  # fmt: skip


@st.composite
def spliced(draw: st.DrawFn) -> str:
    """Pieces of the corpus put together at random places, sometimes inside a call or a reply."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        other = draw(st.sampled_from(TEXTS))
        start, end = sorted((draw(st.integers(0, len(other))), draw(st.integers(0, len(other)))))
        place = draw(st.integers(0, len(text)))
        text = text[:place] + other[start:end] + text[place + draw(st.integers(0, 3)) :]
    around = draw(
        st.sampled_from(("{}", "{}", "ls({})", "echo(content={})", "echo(content='{}')", "cd({}", "power({}, 2)"))
    )
    return around.replace("{}", text)


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spliced(), st.sampled_from((Kind.TEXT, Kind.REPLY)), st.sampled_from(MODES), st.sampled_from(RELEASES))
def test_spliced_entries_are_answered_as_data(text: str, kind: Kind, mode: tuple[str, str], release: str) -> None:
    wrapped = (text, f"<think>t</think><tool_call>{text}</tool_call>", f"<think>t</think>{text}")
    entry = Hostile("spliced", kind, wrapped if kind is Kind.REPLY else (text,))
    before = settings()
    assert problems(entry, release, WATCH, *mode) == []
    assert settings() == before
