"""tau2-bench: the worker, and its verdicts beside tau2's own `run_tasks` on the same replies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.eval_environment import EVAL_PYTHON, job, needs_eval
from helpers.replay_endpoint import ReplayEndpoint

from envtune.evaluation.upstream.client import NoVerdict, UnavailableSuite, Worker, start_worker
from envtune.evaluation.upstream.tau2 import rewritten

# tau2's own runner, on the domains as tau2 registers them, against an endpoint that answers a task by its place.
OWN_RUN = """
import json, sys
from tau2.run import EvaluationType, load_tasks, run_tasks
given = json.load(sys.stdin)
verdicts = {}
for domain in ("airline", "retail", "telecom"):
    tasks = [task for task in load_tasks(domain, "base") if f"{domain}/{task.id}" in given["items"]]
    if tasks:
        model = {"api_key": "none", "temperature": 0.0, "max_retries": 0}
        done = run_tasks(
            domain, tasks, "llm_agent", "user_simulator",
            llm_agent="openai/m", llm_args_agent={**model, "api_base": f"{given['root']}/agent/v1"},
            llm_user="openai/u", llm_args_user={**model, "api_base": f"{given['root']}/user/v1"},
            max_steps=200, max_errors=10, evaluation_type=EvaluationType.ALL, max_concurrency=1, seed=1,
            console_display=False, skip_failed_samples=True, log_level="CRITICAL")
        verdicts |= {f"{domain}/{run.task_id}": run.reward_info.reward for run in done.simulations}
print("VERDICTS" + json.dumps(verdicts))
"""


def message(step: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A scripted step as an endpoint says it."""
    if "text" in step:
        return {"content": step["text"]}
    calls = [
        {
            "id": f"call_{number}_{place}",
            "type": "function",
            "function": {"name": call["name"], "arguments": call.get("raw") or json.dumps(call["arguments"])},
        }
        for place, call in enumerate(step["calls"])
    ]
    return {"content": step.get("also"), "tool_calls": calls}


def scripted(script: Mapping[str, Sequence[Mapping[str, Any]]]) -> ReplayEndpoint:
    """An endpoint for one item: side -> steps, the last for ever."""
    asked: dict[str, int] = {}

    def decide(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        side = path.split("/")[1]
        asked[side] = count = asked.get(side, 0) + 1
        return message(script[side][min(count, len(script[side])) - 1], count)

    return ReplayEndpoint(decide)


async def play(worker: Worker, items: Sequence[str], roots: Sequence[str], folder: Path) -> list[Any]:
    """All at once: a result, or the exception of an item without a verdict."""
    jobs = [job(number, item, roots[number], folder) for number, item in enumerate(items)]
    return await asyncio.gather(*map(worker.run, jobs), return_exceptions=True)


def play_scripts(worker: Worker, episodes: Sequence[tuple[str, Mapping[str, Any]]], folder: Path) -> list[Any]:
    """The results of (item, script) pairs, each with an endpoint of its own."""
    with contextlib.ExitStack() as stack:
        roots = [stack.enter_context(scripted(script)).root for _, script in episodes]
        return asyncio.run(play(worker, [item for item, _ in episodes], roots, folder))


@pytest.mark.parametrize(
    ("text", "anew"),
    [
        ("2 * ((350 - 122) + (499 - 127))", 1200),
        (" 1 - -1", 2),
        ("-2**2", -4),
        ("7 // 2", 3),
        ("1.05 ** 3", 1.05**3),
        ("0.1+0.2", 0.1 + 0.2),
        ("2/(3*4)", 2 / 12),
        ("5.*2", 10.0),
    ],
)
def test_a_sum_is_written_anew_with_the_same_value(text: str, anew: float) -> None:
    assert eval(rewritten(text)) == anew  # noqa: S307 - what we wrote, of texts of this test


@pytest.mark.parametrize("text", ["9**9**9**9", "(9**64)**64", "5(3)", "...", "1" * 1001, "2**-65", "((-9)**9)**9"])
def test_a_sum_that_is_none_or_takes_for_ever_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        rewritten(text)


@needs_eval
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "tau2 needs a user simulator"),
        ({"user": True, "strata": ["banking"]}, "has no stratum 'banking'"),
        ({"user": True, "max_steps": 0}, "max_steps is 0"),
    ],
)
def test_what_cannot_be_run_is_said(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableSuite, match=sentence), start_worker("tau2", options, tmp_path / "log"):
        pass


@needs_eval
def test_tasks_and_endings(tmp_path: Path) -> None:
    """The items, one task of each domain by its script, and every way in which a task can end badly."""
    with start_worker("tau2", {"user": True, "max_steps": 40}, tmp_path / "log") as worker:
        domains = [item.stratum for item in worker.items]
        assert [domains.count(name) for name in ("airline", "retail", "telecom")] == [50, 114, 114]
        assert len({item.id for item in worker.items}) == 278 == len({item.sha256 for item in worker.items})
        scripts = worker.scripts()
        roaming = next(item.id for item in worker.items if item.stratum == "telecom")
        hello, stop = {"text": "Hello."}, {"text": "###STOP###"}
        tower = {"calls": [{"name": "calculate", "arguments": {"expression": "9**9**9**9"}}]}
        no_json = {"calls": [{"name": "get_user_details", "arguments": {}, "raw": "{user"}]}
        unknown = {"calls": [{"name": "nothing", "arguments": {"requestor": "user"}}], "also": "Let me see."}
        asks = [hello, *[{"text": "And?"}] * 3, stop]
        results = play_scripts(
            worker,
            [
                *((item, scripts[item]) for item in ("airline/1", "retail/1", roaming)),
                ("retail/1", {"agent": [hello], "user": [hello, stop]}),
                ("airline/3", {"agent": [tower, hello], "user": asks}),
                ("airline/1", {"agent": [no_json], "user": [hello]}),
                ("airline/1", {"agent": [{"text": " "}], "user": [hello]}),
                ("airline/1", {"agent": [hello], "user": [{"text": ""}]}),
                ("airline/1", {"agent": [hello], "user": [hello]}),
                ("retail/1", {"agent": [*[unknown] * 3, hello], "user": [hello, stop]}),
            ],
            tmp_path,
        )
    *gold, silent, sums, malformed, empty, mute, endless, wrong_tool = results
    assert [(r["passed"], r["score"], r["error_type"]) for r in gold] == [(True, 1.0, None)] * 3
    assert gold[0]["details"]["termination"] == "user_stop"
    assert gold[2]["details"]["reward_breakdown"] == {"ENV_ASSERTION": 1.0, "ACTION": 1.0} or gold[2]["details"][
        "reward_breakdown"
    ] == {"ENV_ASSERTION": 1.0}
    assert silent["error_type"] == "reward:db" and silent["details"]["reward_breakdown"]["DB"] == 0.0
    assert sums["details"]["termination"] == "user_stop"
    assert malformed["error_type"] == "run_error" and "JSONDecodeError" in malformed["error_message"]
    assert empty["error_type"] == "run_error"
    assert isinstance(mute, NoVerdict) and mute.who == "user", "it says nothing about the agent"
    assert endless["error_type"] == endless["details"]["termination"] == "max_steps"
    assert wrong_tool["error_type"] == "reward:db"
    assert not any(result["passed"] for result in results[3:] if result not in (sums, mute))


@needs_eval
def test_an_endpoint_that_gives_out_is_no_verdict(tmp_path: Path) -> None:
    """The frozen endpoint answers 500 to every request."""
    with (
        start_worker("tau2", {"user": True, "strata": ["telecom"]}, tmp_path / "log") as worker,
        ReplayEndpoint(lambda path, body: {}) as endpoint,
    ):
        endpoint.frozen = True
        (result,) = asyncio.run(play(worker, [worker.items[0].id], [endpoint.root], tmp_path))
        assert isinstance(result, NoVerdict) and "InternalServerError" in str(result)
        assert len(endpoint.unknown) == 1, "it is not asked twice"


FULL_DISK = """
from pathlib import Path
import tau2.run
from envtune.evaluation.upstream.serve import Job
from envtune.evaluation.upstream.tau2 import make

def full(**options):
    raise kind("no room")

tau2.run.run_task = full
benchmark = make({"user": True, "strata": ["airline"]})
for kind in (OSError, MemoryError, ValueError):
    try:
        print(benchmark.run(Job(1, "airline/1", "m", "http://a", "m", "http://a", 0, Path("."))).error_type)
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
"""


@needs_eval
def test_what_this_machine_lacks_is_no_failure_of_the_model() -> None:
    done = subprocess.run([EVAL_PYTHON, "-c", FULL_DISK], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["OSError", "MemoryError", "run_error"], done.stderr[-2000:]


@needs_eval
@pytest.mark.slow
def test_verdicts_are_tau2s(tmp_path: Path) -> None:
    """Six tasks a domain, by their scripts; in two of three the agent leaves out or repeats a step."""
    with start_worker("tau2", {"user": True}, tmp_path / "log") as worker:
        items = []
        for domain in ("airline", "retail", "telecom"):
            ours = [item.id for item in worker.items if item.stratum == domain]
            items += ours[:: len(ours) // 6][:6]
        scripts = worker.scripts()
        asked: dict[str, int] = {}

        def decide(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            number, side = path.split("/")[1:3]
            steps = list(scripts[items[int(number)]][side])
            if side == "agent" and int(number) % 3 == 1 and len(steps) > 1:
                del steps[-2]
            if side == "agent" and int(number) % 3 == 2:
                steps.insert(0, {"calls": [{"name": "transfer_to_human_agents", "arguments": {"summary": "no"}}]})
            asked[path] = count = asked.get(path, 0) + 1
            return message(steps[min(count, len(steps)) - 1], count)

        with ReplayEndpoint(decide) as endpoint:
            roots = [f"{endpoint.root}/{number}" for number in range(len(items))]
            results = asyncio.run(play(worker, items, roots, tmp_path))
            endpoint.frozen = True
            theirs = own_rewards(items, endpoint.root)
            assert not endpoint.unknown
    assert {item: result["score"] for item, result in zip(items, results, strict=True)} == theirs
    assert {result["passed"] for result in results} == {True, False}


def own_rewards(items: Sequence[str], root: str) -> dict[str, float]:
    """Item -> reward by tau2's own runner."""
    given = json.dumps({"items": list(items), "root": root})
    environment = {"PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [EVAL_PYTHON, "-c", OWN_RUN],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.partition("VERDICTS")[2]))
