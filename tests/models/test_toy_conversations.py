"""The warm start's data: well-formed, self-consistent, deterministic, and with nothing of BFCL in it."""

from __future__ import annotations

import json

from envtune.environment import ReplyKind, parse_reply
from envtune.environment.prompt import system_prompt
from envtune.models.toy_conversations import NOUNS, VERBS, Conversation, toy_conversations
from envtune.tasks import Task


def _offered(conversation: Conversation) -> dict[str, dict]:
    docs = conversation[0]["content"].split("\nTools:\n")[1].splitlines()
    return {doc["name"]: doc for doc in map(json.loads, docs)}


def test_every_reply_is_well_formed_and_calls_what_is_on_offer() -> None:
    kinds = set()
    for conversation in toy_conversations(50, seed=3):
        offered = _offered(conversation)
        assert conversation[0]["content"] == system_prompt(offered.values())
        for message in conversation[1:]:
            if message["role"] == "assistant":
                reply = parse_reply(message["content"])
                kinds.add(reply.kind)
                for call in reply.calls:
                    assert set(call.arguments) == set(offered[call.name]["parameters"]["required"])
    assert kinds == {ReplyKind.TOOL_CALL, ReplyKind.ANSWER}


def test_values_come_from_the_request_names_from_the_docs_and_a_call_is_followed_by_its_result_and_an_answer() -> None:
    for conversation in toy_conversations(50, seed=4):
        assert [m["role"] for m in conversation[1:]] == ["user", "assistant"] * ((len(conversation) - 1) // 2)
        for i, message in enumerate(conversation):
            calls = parse_reply(message["content"]).calls if message["role"] == "assistant" else ()
            for call in calls:
                for value in call.arguments.values():
                    assert str(value) in conversation[i - 1]["content"]
                assert call.name.split("_")[0] not in conversation[i - 1]["content"]  # it has to be looked up
                assert f"\n{call.name}: " in conversation[i + 1]["content"]
                assert parse_reply(conversation[i + 2]["content"]).kind is ReplyKind.ANSWER


def test_same_seed_same_conversations() -> None:
    assert toy_conversations(5, seed=1) == toy_conversations(5, seed=1)
    assert toy_conversations(5, seed=1) != toy_conversations(5, seed=2)


def test_no_toy_tool_is_a_bfcl_tool(tasks: tuple[Task, ...]) -> None:
    bfcl = {tool["name"] for task in tasks for tool in task.tools}
    assert len(bfcl) > 100
    assert not bfcl & {f"{verb}_{noun}" for verb in VERBS for noun in NOUNS}


def test_no_bfcl_request_description_or_solution_is_in_the_data(tasks: tuple[Task, ...]) -> None:
    text = "\n".join(message["content"] for c in toy_conversations(300, seed=0) for message in c)
    requests = {m["content"] for task in tasks for turn in task.question for m in turn}
    descriptions = {tool["description"] for task in tasks for tool in task.tools}
    solutions = {call for task in tasks for turn in task.ground_truth for call in turn}
    names = {tool["name"] for task in tasks for tool in task.tools}
    assert len(requests) > 1000 and len(solutions) > 500
    assert not [found for found in requests | descriptions | solutions if found.strip() and found in text]
    assert not [name for name in names if f'"name": "{name}"' in text or f'"name":"{name}"' in text]
