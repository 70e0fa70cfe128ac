"""The environment for `verifiers`, driven by the library itself against a scripted endpoint.

test_adapters.py runs this in an environment that has the library; alone:
    .venv-verifiers/bin/python -m pytest tests/adapters/verifiers_checks.py
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import verifiers.v1 as vf
from hypothesis import given
from hypothesis import strategies as st
from scripted_replies import ANSWER, RepliesEndpoint, drawn, mixtures, opening, plain, played
from verifiers.v1.cli.eval.main import main as evaluate
from verifiers.v1.cli.replay import main as replay
from verifiers.v1.cli.validate import main as validate

from envtune import load_environment
from envtune.adapters.verifiers_env import BfclEnv
from envtune.environment import Episode, StopReason
from envtune.environment.gold_policy import gold_replies
from envtune.metrics import episode_metrics
from envtune.rewards import REWARDS
from envtune.scoring import official_verdict
from envtune.tasks import Task, find_task, load_tasks

FOUR = ("multi_turn_base_0", "multi_turn_miss_func_2", "multi_turn_miss_param_3", "multi_turn_long_context_5")
Scripts = Mapping[Task, Sequence[str]]


def roll_out(env: vf.Env, scripts: Scripts, status: int = 200) -> list[vf.Trace]:
    """One rollout of each task, all at once, on the library's own path."""
    rows = {task.data.id: task for task in env.taskset.include(ids=[task.id for task in scripts])}

    async def run(base_url: str) -> list[vf.Episode]:
        client = vf.EvalClientConfig(base_url=base_url, api_key_var="NO_KEY_IS_NEEDED")
        ctx = vf.ModelContext(model="scripted", client=client, sampling=vf.SamplingConfig())
        async with env.serving():
            slots = [slot for task in scripts for slot in env.slots(rows[task.id])]
            return await asyncio.gather(*(env.run_slot(slot, ctx) for slot in slots))

    with RepliesEndpoint({opening(task): replies for task, replies in scripts.items()}, status) as endpoint:
        return [episode.traces[0] for episode in asyncio.run(run(endpoint.base_url))]


def gold(tasks: Sequence[Task]) -> Scripts:
    return {task: list(gold_replies(task)) for task in tasks}


def test_the_librarys_loader_finds_it() -> None:
    env = vf.load_environment(vf.resolve_env_config({"taskset": {"id": "envtune", "split": "validation"}}))
    assert isinstance(env, BfclEnv) and env.config.agent_harnesses()["agent"].id == "envtune"
    rows, tasks = list(env.taskset), load_tasks("paper", "validation")
    assert len(rows) == len(tasks) == 100
    for row, task in zip(rows, tasks, strict=True):
        assert (row.data.system_prompt, row.data.prompt) == opening(task)
        assert (row.data.id, row.data.category, row.key) == (task.id, task.category, task.content_hash)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"split[\s\S]*'heldout'"):
        load_environment(split="everything")
    with pytest.raises(ValueError, match="feedbck"):
        load_environment(feedbck="standard")


@pytest.mark.parametrize("release", ["paper", "current"])
def test_gold_scores_1_in_all_categories(release: str) -> None:
    env = load_environment(release=release, feedback="augmented")
    for trace in roll_out(env, gold([find_task(name, release) for name in FOUR])):
        assert trace.ok and trace.reward == 1.0 and trace.stop_condition == "completed"
        assert trace.metrics["official"] == trace.metrics["binary"] == 1.0 and trace.metrics["format"] == 2.0


@given(st.data())
@drawn(1)
def test_20_rollouts_at_once_are_each_their_own(data: st.DataObject) -> None:
    scripts = {task: data.draw(mixtures(task.id))[:5] for task in load_tasks("paper", "base")[:20]}
    traces = roll_out(load_environment(split="base"), scripts)
    for trace, (task, replies) in zip(traces, scripts.items(), strict=True):
        assert plain(trace.info["trajectory"]) == plain(played(task, replies)[0])
    del traces, trace
    gc.collect()
    assert not [held for held in gc.get_objects() if isinstance(held, Episode)]


@given(st.data())
@drawn(3)
def test_any_replies_give_what_the_episode_gives(data: st.DataObject) -> None:
    options: dict[str, Any] = {
        "feedback": data.draw(st.sampled_from(["standard", "augmented"])),
        "rules": data.draw(st.sampled_from(["training", "bfcl"])),
        "max_steps_per_turn": data.draw(st.integers(1, 5)),
        "max_result_characters": data.draw(st.sampled_from([None, 40])),
    }
    reward = data.draw(st.sampled_from(sorted(REWARDS)))
    env = load_environment(reward=reward, **options)
    scripts = {task: data.draw(mixtures(task.id)) for task in map(find_task, FOUR)}
    for trace, (task, replies) in zip(roll_out(env, scripts), scripts.items(), strict=True):
        wanted, conversation = played(task, replies, **options)
        said = [{"role": message.role, "content": message.content or ""} for message in trace.messages]
        assert said == conversation[: len(said)] and len(conversation) - len(said) <= 1  # the last may have no reply
        assert trace.ok and plain(trace.info["trajectory"]) == plain(wanted)
        assert trace.reward == REWARDS[reward](wanted) and trace.metrics == episode_metrics(
            wanted, official_verdict(task, wanted.calls)
        )
        assert trace.stop_condition == wanted.stop_reason


def test_a_limit_of_the_library_ends_the_episode_over_budget() -> None:
    task = find_task(FOUR[0])
    replies = list(gold_replies(task))
    (trace,) = roll_out(load_environment(env={"agent": {"max_turns": 3}}), {task: replies})
    wanted, _ = played(task, replies[:3])
    assert trace.ok and trace.stop_condition == "max_turns" and trace.metrics["over_budget"] == 1.0
    assert plain(trace.info["trajectory"]) == plain(wanted) and 0 < trace.reward == REWARDS["progress"](wanted) < 1


@pytest.mark.parametrize(("status", "env"), [(500, {}), (401, {}), (200, {"agent": {"timeout": {"rollout": 0.001}}})])
def test_an_infrastructure_error_is_no_score(status: int, env: dict[str, Any]) -> None:
    (trace,) = roll_out(load_environment(env=env), gold([find_task(FOUR[0])]), status)
    assert not trace.ok and trace.errors and not [reward for reward in trace.rewards.values() if reward is not None]
    assert trace.info["trajectory"]["stop_reason"] == StopReason.ABORTED


def test_the_librarys_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [find_task(name) for name in FOUR]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vf"])  # they set it, and read it
    scripts = {**gold(tasks[:3]), tasks[3]: [ANSWER] * 9}
    with RepliesEndpoint({opening(task): replies for task, replies in scripts.items()}) as endpoint:
        evaluate([
            "envtune", "-m", "scripted", "--client.base-url", endpoint.base_url,
            "--client.api-key-var", "NO_KEY_IS_NEEDED", "--no-push", "--no-rich",
            "--env.taskset.task.feedback", "augmented", "--select.include.ids", json.dumps(FOUR), "--run.name", "run",
        ])  # fmt: skip
    replay(["outputs/run", "--output-dir", "outputs/again", "--no-rich"])
    validate(["envtune", "--runtime.type", "subprocess", "--taskset.split", "test", "-n", "5", "--no-rich"])
    for run in ("run", "again"):
        lines = (tmp_path / "outputs" / run / "traces.jsonl").read_text(encoding="utf-8").splitlines()
        traces = [trace for line in lines for trace in json.loads(line).get("traces", [json.loads(line)])]
        scores = {trace["task"]["data"]["id"]: trace["rewards"]["progress"]["score"] for trace in traces}
        assert [scores[name] for name in FOUR[:3]] == [1.0] * 3 and scores[FOUR[3]] < 1
    (summary,) = map(json.loads, map(Path.read_text, tmp_path.rglob("summary.json")))
    assert summary["outcomes"]["valid"] == summary["total"] == 5
