"""The OpenEnv server, as a real process on a free port, through the library's own clients.

test_adapters.py runs this in an environment that has the library; alone:
    .venv-openenv/bin/python -m pytest tests/adapters/openenv_checks.py
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openenv import GenericEnvClient
from scripted_replies import ANSWER, drawn, mixtures, plain, played
from websockets.sync.client import connect

from envtune.adapters.openenv_server import EpisodeClient, ReplyAction, make_app
from envtune.environment import Episode
from envtune.environment.gold_policy import gold_replies
from envtune.errors import EnvtuneError
from envtune.metrics import episode_metrics
from envtune.rewards import REWARDS
from envtune.scoring import official_verdict
from envtune.tasks import find_task, load_tasks

ROOT = Path(__file__).resolve().parents[2]
FOUR = ("multi_turn_base_0", "multi_turn_miss_func_2", "multi_turn_miss_param_3", "multi_turn_long_context_5")
OPTIONS: dict[str, Any] = {"feedback": "augmented", "max_steps_per_turn": 4, "max_result_characters": 60}
COMMAND_OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server, started by its command."""
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "envtune.cli", "openenv-server", "--port", "0", *COMMAND_OPTIONS]
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out) as server:
        while not (found := re.search(r"running on (http://\S+)", log.read_text(encoding="utf-8"))):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield found[1]
        server.terminate()


def play(url: str, task_id: str, replies: Sequence[str]) -> tuple[dict[str, Any], list[float], list[dict[str, str]]]:
    """The last observation's metadata, the rewards of the steps, and the environment's messages."""
    with GenericEnvClient(base_url=url).sync() as env:
        result = env.reset(task_id=task_id)
        rewards, messages = [], list(result.observation["messages"])
        for reply in replies:
            if not result.done:
                result = env.step({"reply": reply})
                rewards.append(result.reward)
                messages += result.observation["messages"]
        if not result.done:
            result = env.step({"reply": "", "over_budget": True})
            rewards.append(result.reward)
        state = env.state()
    assert result.done and state["task_id"] == task_id and state["stop_reason"] is not None
    return result.metadata, rewards, messages


@pytest.mark.parametrize("task_id", FOUR)
def test_gold_scores_1(url: str, task_id: str) -> None:
    metadata, rewards, messages = play(url, task_id, list(gold_replies(find_task(task_id))))
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0] and metadata["metrics"]["official"] == 1.0
    assert messages[:2] == Episode(find_task(task_id)).start()


@given(st.data())
@drawn(40)
def test_any_replies_give_what_the_episode_gives(url: str, data: st.DataObject) -> None:
    task = find_task(data.draw(st.sampled_from(FOUR)))
    replies = data.draw(mixtures(task.id))
    metadata, rewards, messages = play(url, task.id, replies)
    wanted, conversation = played(task, replies, **OPTIONS)
    assert messages == [message for message in conversation if message["role"] != "assistant"]
    assert plain(metadata["trajectory"]) == plain(wanted) and metadata["metrics"] == episode_metrics(
        wanted, official_verdict(task, wanted.calls)
    )
    assert sum(rewards) == rewards[-1] == REWARDS["progress"](wanted)


@given(st.data())
@drawn(1)
def test_20_sessions_at_once_are_each_their_own(url: str, data: st.DataObject) -> None:
    scripts = {task.id: data.draw(mixtures(task.id)) for task in load_tasks("paper", "base")[:20]}

    async def session(task_id: str, replies: list[str]) -> dict[str, Any]:
        async with EpisodeClient(base_url=url) as env:
            result = await env.reset(task_id=task_id, episode_id=f"of {task_id}")
            for reply in replies:
                if not result.done:
                    result = await env.step(ReplyAction(reply=reply))
            if not result.done:
                result = await env.step(ReplyAction(reply="", over_budget=True))
            assert (await env.state()).episode_id == f"of {task_id}"
            return result.observation.metadata

    async def all_sessions() -> list[dict[str, Any]]:
        return await asyncio.gather(*(session(*item) for item in scripts.items()))

    for metadata, (name, replies) in zip(asyncio.run(all_sessions()), scripts.items(), strict=True):
        assert plain(metadata["trajectory"]) == plain(played(find_task(name), replies, **OPTIONS)[0])


def test_what_is_no_action_is_an_error_and_the_session_goes_on(url: str) -> None:
    task_id = "multi_turn_base_0"
    hostile = {
        "not json": "Invalid JSON",
        '{"type": "dance"}': "Unknown message type",
        '{"type": "step", "data": {"reply": "x"}}': "call reset first",
        '{"type": "reset", "data": {"task_id": "multi_turn_base_900"}}': "unknown task id 'multi_turn_base_900'",
        '{"type": "reset", "data": {"task_id": ["a"]}}': "Invalid message",
        '{"type": "reset", "data": {"split": "all of them"}}': "Invalid message",
        '{"type": "reset", "data": {"taskid": "multi_turn_base_0"}}': "Invalid message",
        '{"type": "reset", "data": {"split": "train", "index": 400}}': "past the end",
        json.dumps({"type": "reset", "data": {"task_id": task_id}}): None,
        '{"type": "step", "data": {"answer": "x"}}': "Invalid message",
        '{"type": "step", "data": {"reply": 7}}': "Invalid message",
        '{"type": "step", "data": "x"}': "Invalid message",
        '{"type": "step", "data": {"reply": "\\ud800"}}': None,
        json.dumps({"type": "step", "data": {"reply": "[" * 1_000_000}}): None,
        json.dumps({"type": "step", "data": {"reply": "<think>" * 50_000}}): None,
    }
    with connect(url.replace("http", "ws") + "/ws") as socket:
        for message, wanted in hostile.items():
            socket.send(message)
            answer = json.loads(socket.recv(timeout=10))
            if wanted is None:
                assert answer["type"] == "observation" and not answer["data"]["done"], message[:80]
            else:
                assert answer["type"] == "error" and wanted in answer["data"]["message"], message[:80]
        socket.send('{"type": "state"}')
        assert json.loads(socket.recv(timeout=10))["data"]["step_count"] == 3
    metadata, _, _ = play(url, task_id, [ANSWER] * 9)
    assert metadata["metrics"]["replies"] == len(find_task(task_id).ground_truth)


def test_a_step_past_the_end_is_an_error(url: str) -> None:
    with EpisodeClient(base_url=url).sync() as env:
        env.reset(task_id=FOUR[0])
        env.step(ReplyAction(reply="", over_budget=True))
        with pytest.raises(RuntimeError, match="the episode is over"):
            env.step(ReplyAction(reply=ANSWER))
        assert env.reset(split="test", index=3).observation.messages[0]["role"] == "system"
        drawn_by_seed = [env.reset(split="test", seed=5).observation.messages for _ in range(2)]
        assert drawn_by_seed[0] == drawn_by_seed[1]


def test_http(url: str) -> None:
    with httpx.Client(base_url=url) as http:
        assert http.get("/health").json()["status"] == "healthy"
        assert "reply" in http.get("/schema").json()["action"]["required"]
        assert http.post("/envtune/num_tasks", json={"split": "validation"}).json() == {"num_tasks": 100}
        task = http.post("/envtune/task", json={"split": "all", "index": 0}).json()["task"]
        assert task["task_hash"] == find_task(task["id"]).content_hash
        reset = http.post("/reset", json={"task_id": FOUR[0]}).json()
        assert reset["observation"]["messages"] == Episode(find_task(FOUR[0])).start()
        for path, body, wanted in (
            ("/reset", {"task_id": "nothing"}, "unknown task id"),
            ("/reset", {"taskid": "nothing"}, "taskid"),
            ("/step", {"action": {"reply": "x"}}, "call reset first"),
            ("/step", {"action": {"say": "x"}}, "reply"),
            ("/step", {}, "action"),
            ("/envtune/num_tasks", {"split": "x"}, "unknown split"),
        ):
            answer = http.post(path, json=body)
            assert 400 <= answer.status_code < 500 and wanted in answer.text, path


@pytest.mark.parametrize("options", [{"reward": "praise"}, {"release": "old"}, {"feedback": "loud"}])
def test_a_wrong_setting_is_told_at_the_start(options: dict[str, str]) -> None:
    with pytest.raises(EnvtuneError, match="choose one of"):
        make_app(**options)
