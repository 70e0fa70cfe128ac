"""The scripted endpoint: what each policy says in each way of speaking, and what happens to requests on the way.

A small client below plays conversations as the benchmarks do: results after a reply with calls, else the next request.
"""

from __future__ import annotations

import ast
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from envtune.environment import ReplyKind, parse_reply
from envtune.environment.calls import call_text
from envtune.environment.gold_policy import gold_calls
from envtune.environment.reply import format_instructions
from envtune.evaluation.scripted import POLICIES, ScriptedEndpoint, Way
from envtune.evaluation.scripted.speech import Step, spoken
from envtune.tasks import find_task

TASK = find_task("multi_turn_base_1", "current")
GOLD = [[call_text(call) for call in turn] for turn in gold_calls(TASK)]
LAST = max(number for number, calls in enumerate(GOLD) if calls)
TOOLS = [{"type": "function", "function": {"name": tool["name"]}} for tool in TASK.tools]
SCRIPTS = {
    "item": {
        "agent": [
            {"calls": [{"name": "look", "arguments": {"at": "it"}}, {"name": "take", "arguments": {}}]},
            {"text": "Taken. Anything else?"},
        ],
        "user": [{"text": "Take it."}, {"text": "No. STOP"}],
    }
}
Message = dict[str, Any]


def post(url: str, body: Any, headers: dict[str, str], path: str = "/v1/chat/completions") -> tuple[int, Any]:
    """(status, answer). Raises what http.client raises when the connection is closed."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def ask(
    scripted: ScriptedEndpoint, item: str, messages: list[Message], way: Way = Way.NATIVE, **headers: Any
) -> tuple[int, Any]:
    names = {"step": "X-Envtune-Step", "role": "X-Envtune-Role"}
    body = {"model": scripted.model, "messages": messages} | ({"tools": TOOLS} if way is Way.NATIVE else {})
    sent = {"X-Envtune-Item": item} | {names[key]: str(value) for key, value in headers.items()}
    return post(scripted.base_url, body, sent)


def reply(scripted: ScriptedEndpoint, item: str, messages: list[Message], way: Way, **headers: Any) -> Message:
    status, answer = ask(scripted, item, messages, way, **headers)
    assert status == 200, answer
    return answer["choices"][0]["message"]  # type: ignore[no-any-return]


def opening(way: Way, text: str = "Help.") -> list[Message]:
    system = format_instructions() if way is Way.KIT else "Be good."
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def calls_of(message: Message, way: Way) -> list[str]:
    """The calls of a reply as text; raises when it is not in the format."""
    if way is Way.NATIVE:
        functions = [call["function"] for call in message.get("tool_calls") or ()]
        listed = [(function["name"], json.loads(function["arguments"])) for function in functions]
        return [f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})" for name, arguments in listed]
    if way is Way.KIT:
        parsed = parse_reply(message["content"])
        assert parsed.kind is not ReplyKind.ILL_FORMED, parsed.error
        return [call_text(call) for call in parsed.calls]
    if not message["content"].startswith("["):
        return []
    listed_calls = ast.parse(message["content"], mode="eval").body
    assert isinstance(listed_calls, ast.List)
    return [ast.unparse(call) for call in listed_calls.elts]


def answer_of(message: Message, way: Way) -> str:
    return parse_reply(message["content"]).answer if way is Way.KIT else message["content"]


def play(scripted: ScriptedEndpoint, way: Way, count: bool) -> tuple[list[list[list[str]]], list[Message]]:
    """The calls of all turns, reply by reply, and the conversation. count: say in a header how many replies there were."""
    messages, turns, step = opening(way), [], 0
    for _ in GOLD:
        made: list[list[str]] = []
        while not made or made[-1]:
            said = reply(scripted, TASK.id, messages, way, **({"step": step} if count else {}))
            step += 1
            messages.append(said)
            made.append(calls_of(said, way))
            if way is Way.NATIVE:
                called = said.get("tool_calls") or ()
                messages += [{"role": "tool", "tool_call_id": call["id"], "content": "{}"} for call in called]
            elif made[-1]:
                messages.append({"role": "user", "content": "Tool results: {}"})
        turns.append(made[:-1])
        messages.append({"role": "user", "content": "And now?"})
    return turns, messages


def as_written(turns: list[list[str]]) -> list[list[str]]:
    """Calls in one spelling, whatever quotes a way of speaking writes."""
    return [[ast.unparse(ast.parse(call, mode="eval").body) for call in turn] for turn in turns]


@pytest.fixture(params=list(Way))
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


@pytest.mark.parametrize("count", [True, False], ids=["counted", "read"])
@pytest.mark.parametrize("policy", ["gold", "stepwise"])
def test_the_ground_truth_turn_by_turn(way: Way, policy: str, count: bool) -> None:
    with ScriptedEndpoint([TASK], policy) as scripted:
        turns, messages = play(scripted, way, count)
    flat = [[call for made in turn for call in made] for turn in turns]
    assert as_written(flat) == as_written(GOLD)
    longest = max(len(made) for turn in turns for made in turn)
    assert longest == (1 if policy == "stepwise" else max(map(len, GOLD))) and max(map(len, GOLD)) > 1
    ids = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    assert len(ids) == len(set(ids)) == (sum(map(len, GOLD)) if way is Way.NATIVE else 0)


@pytest.mark.parametrize("count", [True, False], ids=["counted", "read"])
def test_errors_leave_out_the_last_turn_with_calls(way: Way, count: bool) -> None:
    with ScriptedEndpoint([TASK], "errors", error_share=1.0) as scripted:
        assert scripted.is_wrong(TASK) and scripted.is_wrong(TASK.id)
        turns, _ = play(scripted, way, count)
    flat = [[call for made in turn for call in made] for turn in turns]
    assert flat[LAST] == [] != GOLD[LAST]
    assert as_written(flat[:LAST]) == as_written(GOLD[:LAST])


def test_silent(way: Way) -> None:
    with ScriptedEndpoint([TASK], "silent") as scripted:
        said = reply(scripted, TASK.id, opening(way), way)
    assert calls_of(said, way) == [] and answer_of(said, way) == "Done."


def test_malformed(way: Way) -> None:
    with ScriptedEndpoint([TASK], "malformed") as scripted:
        said = reply(scripted, TASK.id, opening(way), way)
    if way is Way.NATIVE:
        assert said["tool_calls"][0]["function"]["name"] == TASK.tools[0]["name"]
        with pytest.raises(ValueError, match="Expecting"):
            calls_of(said, way)
    else:
        assert parse_reply(said["content"]).kind is ReplyKind.ILL_FORMED


def test_endless(way: Way) -> None:
    with ScriptedEndpoint([TASK], "endless") as scripted:
        for step in (0, 1, 500):
            assert calls_of(reply(scripted, TASK.id, opening(way), way, step=step), way) == ["no_such_tool()"]


def test_dump_answers_with_the_conversation(way: Way) -> None:
    messages = [*opening(way), {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "Who am I?"}]
    messages[0]["content"] += "\nThe memory: blue whale"
    with ScriptedEndpoint([TASK], "dump") as scripted:
        said = reply(scripted, TASK.id, messages, way)
    assert calls_of(said, way) == []
    answer = answer_of(said, way)
    assert all(part in answer for part in ("blue whale", "Hm.", "Who am I?")) and "<answer>" not in answer


MEMORIES = {
    "rec_sum": (["memory_append", "memory_update"], "memory_append(text="),
    "vector": (["core_memory_add", "archival_memory_add", "core_memory_retrieve_all"], "core_memory_add(text="),
    "kv": (["core_memory_add", "archival_memory_add", "core_memory_list_keys"], "core_memory_add(key='note_"),
    "none": (["cd"], ""),
}


@pytest.mark.parametrize("backend", MEMORIES)
def test_dump_stores_what_the_user_says(backend: str, way: Way) -> None:
    names, stored = MEMORIES[backend]
    item = f"memory_{backend}_prereq_0-student-0"
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    messages = opening(way, "I own a blue whale.")
    if way is not Way.NATIVE:
        messages[0]["content"] += json.dumps(tools)

    def said() -> Message:
        body = {"model": "scripted", "messages": messages} | ({"tools": tools} if way is Way.NATIVE else {})
        status, answer = post(scripted.base_url, body, {"X-Envtune-Item": item})
        assert status == 200
        return answer["choices"][0]["message"]  # type: ignore[no-any-return]

    with ScriptedEndpoint(policy="dump", scripts={item: {}}) as scripted:
        first = said()
        calls = calls_of(first, way)
        if not stored:
            assert calls == [] and answer_of(first, way) == "Done."
            return
        assert len(calls) == 1 and calls[0].startswith(stored) and "I own a blue whale." in calls[0]
        messages += [first, {"role": "user", "content": "Tool results: {}"}]
        second = said()
        assert calls_of(second, way) == [] and answer_of(second, way) == "Done."
        messages += [second, {"role": "user", "content": "z" * 2500}]
        (again,) = calls_of(said(), way)
    assert again.startswith(stored.replace("core", "archival").partition("note_")[0])
    assert again.count("z") == (2500 if backend == "rec_sum" else 2000)


def test_scripts_of_another_suite(way: Way) -> None:
    with ScriptedEndpoint(scripts=SCRIPTS) as scripted:
        said = [reply(scripted, "item", opening(way), way, step=step) for step in range(4)]
        users = [
            reply(scripted, "item", opening(Way.PLAIN), Way.PLAIN, step=n, role="user")["content"] for n in range(3)
        ]
        without = reply(scripted, "item", [*opening(way), {"role": "assistant", "content": "Hello."}], way)
    assert as_written([calls_of(said[0], way)]) == [["look(at='it')", "take()"]]
    assert [answer_of(message, way) for message in said[1:]] == ["Taken. Anything else?"] * 3
    assert users == ["Take it.", "No. STOP", "No. STOP"]
    assert answer_of(without, way) == "Taken. Anything else?", "the second reply of the conversation"


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_policy_is_the_agents_alone(policy: str) -> None:
    with ScriptedEndpoint(policy=policy, scripts=SCRIPTS, error_share=1.0) as scripted:
        said = reply(scripted, "item", opening(Way.PLAIN), Way.PLAIN, step=1, role="user")
        agents = reply(scripted, "item", opening(Way.PLAIN), Way.PLAIN, step=0)["content"]
    assert said["content"] == "No. STOP"
    assert agents.startswith(
        {
            "gold": "[look(at='it'), take()]", "stepwise": "[look(at='it')]", "errors": "I do not know.",
            "silent": "Done.", "malformed": "Sure! <tool_call>", "endless": "[no_such_tool()]", "dump": "Be good.",
        }[policy]
    )  # fmt: skip


def test_the_share_of_errors_is_of_the_items() -> None:
    scripted = ScriptedEndpoint(scripts={str(number): {} for number in range(1000)}, policy="errors", error_share=0.3)
    wrong = {item for item in map(str, range(1000)) if scripted.is_wrong(item)}
    assert 240 < len(wrong) < 360
    with scripted:
        for item in map(str, range(20)):
            said = reply(scripted, item, opening(Way.PLAIN), Way.PLAIN)["content"]
            assert said == ("I do not know." if item in wrong else "Done.")


def test_faults_depend_on_the_item_not_on_the_order() -> None:
    items = [str(number) for number in range(100)]

    def met(order: list[str], seed: int = 0) -> dict[str, list[int | None]]:
        scripted = ScriptedEndpoint(scripts={}, failing=0.3, failing_seed=seed)
        found: dict[str, list[int | None]] = {item: [] for item in items}
        for item in order:
            found[item].append(scripted.fault(item))
        scripted.__exit__(None, None, None)
        return found

    forth = met(items * 3)
    assert forth == met(sorted(items * 3)) != met(items * 3, seed=1)
    kinds = [kind for found in forth.values() for kind in found if kind is not None]
    assert 60 < len(kinds) < 120 and set(kinds) == {0, 1, 2, 3}


def test_each_fault() -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        answers: list[Any] = []
        for kind in range(4):
            scripted.fault = lambda item, kind=kind: kind  # type: ignore[method-assign, misc]
            try:
                answers.append(ask(scripted, TASK.id, opening(Way.NATIVE)))
            except (http.client.HTTPException, ConnectionError) as error:
                answers.append(error)
    assert [answer[0] for answer in answers[:3]] == [500, 429, 200]
    assert answers[2][1]["choices"] == []
    assert isinstance(answers[3], (http.client.HTTPException, ConnectionError))


def test_all_requests_fail() -> None:
    with ScriptedEndpoint([TASK], failing=1.0) as scripted:
        for _ in range(8):
            try:
                status, answer = ask(scripted, TASK.id, opening(Way.NATIVE))
            except (http.client.HTTPException, ConnectionError):
                continue
            assert status in (429, 500) or answer["choices"] == []
        assert scripted.requests == [TASK.id] * 8


def test_tokens_and_what_they_cost() -> None:
    said = spoken(Step(text="x" * 41), Way.NATIVE)
    assert said.tokens == 11
    with ScriptedEndpoint([TASK], latency_s=0.05, latency_per_token_s=0.01) as scripted:
        first = scripted.replies(TASK.id)[0]
        assert first.tokens == -(-sum(len(name) + len(arguments) for name, arguments in first.calls) // 4)
        began = time.monotonic()
        _, answer = ask(scripted, TASK.id, opening(Way.NATIVE, "y" * 40))
        taken = time.monotonic() - began
    assert answer["usage"] == {
        "prompt_tokens": 12, "completion_tokens": first.tokens, "total_tokens": 12 + first.tokens,
    }  # fmt: skip
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert scripted.latency(first) == pytest.approx(0.05 + 0.01 * first.tokens)
    assert scripted.latency(first) <= taken < scripted.latency(first) + 2


def test_replies_are_those_of_a_whole_conversation(way: Way) -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        _, messages = play(scripted, way, count=True)
        planned = scripted.replies(TASK.id, way)
    played = [message["content"] for message in messages if message["role"] == "assistant"]
    assert [said.content for said in planned] == played


def test_many_at_once() -> None:
    """200 requests of a second each take little more than a second."""
    with ScriptedEndpoint([TASK], latency_s=1.0) as scripted, ThreadPoolExecutor(200) as pool:
        began = time.monotonic()
        found = list(pool.map(lambda _: ask(scripted, TASK.id, opening(Way.NATIVE))[0], range(200)))
        taken = time.monotonic() - began
    assert found == [200] * 200 and 1.0 <= taken < 10


def test_a_conversation_past_the_context() -> None:
    with ScriptedEndpoint([TASK], context_tokens=50) as scripted:
        assert ask(scripted, TASK.id, opening(Way.NATIVE))[0] == 200
        status, answer = ask(scripted, TASK.id, opening(Way.NATIVE, "y" * 200))
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    assert "maximum context length is 50 tokens" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({}, {}, 400),
        ([], {}, 400),
        ({"model": "scripted", "messages": None}, {}, 400),
        ({"model": "scripted", "messages": []}, {"X-Envtune-Step": "first"}, 400),
        ({"model": "scripted", "messages": []}, {"X-Envtune-Item": "other"}, 404),
        ({"model": "scripted", "messages": []}, {"X-Envtune-Role": "judge"}, 404),
        ({"model": "other", "messages": []}, {}, 404),
        ({"model": "scripted", "messages": []}, {}, 200),
    ],
)
def test_requests_that_are_none(body: Any, headers: dict[str, str], status: int) -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        assert post(scripted.base_url, body, {"X-Envtune-Item": TASK.id, **headers})[0] == status
        assert len(scripted.requests) == (status == 200)


def test_another_path() -> None:
    with ScriptedEndpoint([TASK]) as scripted:
        assert post(scripted.base_url, {}, {}, path="/v1/completions")[0] == 404
