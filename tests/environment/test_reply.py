"""The reply format: one definition for prompt, parser and reward, and a parser that nothing a model writes can break."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.environment import ReplyKind, ToolCall, format_instructions, parse_reply, render_reply

CALL = ToolCall("cd", {"folder": "document"})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tagless = st.text().filter(lambda text: "<" not in text)


def test_the_instructions_forms_parse() -> None:
    lines = format_instructions().splitlines()
    forms = ["\n".join(lines[i : i + 2]) for i, line in enumerate(lines) if line.startswith("<think>")]
    assert [parse_reply(form).kind for form in forms] == [ReplyKind.TOOL_CALL, ReplyKind.ANSWER]


@given(
    tagless, st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), json_values)), min_size=1, max_size=4)
)
def test_rendered_calls_parse_back(think: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    wanted = tuple(ToolCall(name, arguments) for name, arguments in calls)
    reply = parse_reply(render_reply(think, calls=wanted))
    assert (reply.kind, reply.calls, reply.think) == (ReplyKind.TOOL_CALL, wanted, think.strip())


@given(tagless, tagless)
def test_rendered_answers_parse_back(think: str, answer: str) -> None:
    reply = parse_reply(render_reply(think, answer=answer))
    assert (reply.kind, reply.answer, reply.think) == (ReplyKind.ANSWER, answer.strip(), think.strip())


@given(
    st.lists(
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<tool_call>",
                "</tool_call>",
                "<answer>",
                "</answer>",
                "[",
                "]",
                json.dumps([{"name": "ls", "arguments": {}}]),
                " ",
                "x",
            ]
        )
        | st.text()
    )
)
def test_any_text_gives_a_reply(parts: list[str]) -> None:
    reply = parse_reply("".join(parts))
    assert bool(reply.error) == (reply.kind is ReplyKind.ILL_FORMED)
    assert bool(reply.calls) == (reply.kind is ReplyKind.TOOL_CALL)


BODY = '[{"name": "ls", "arguments": {}}]'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must start with <think>"),
        (f"<tool_call>{BODY}</tool_call>", "must start with <think>"),
        ("Sure! <think>a</think><answer>b</answer>", "must start with <think>"),
        ("<think>a</think>", "exactly one of"),
        ("<think>a</think>text", "exactly one of"),
        ("<think>a</think><answer>b</answer> more", "must be closed by </answer>"),
        ("<think>a</think><answer>", "must be closed by </answer>"),
        (f"<think>a</think><tool_call>{BODY}</tool_call><answer>b</answer>", "must be closed by </tool_call>"),
        (f"<think>a</think><tool_call>{BODY}</tool_call><tool_call>{BODY}</tool_call>", "use each tag once"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "use each tag once"),
        (f"<think>a<think>b</think><tool_call>{BODY}</tool_call>", "use each tag once"),
        ("<think>a</think><tool_call>ls()</tool_call>", "not valid JSON"),
        ("<think>a</think><tool_call>[]</tool_call>", "at least one call"),
        ('<think>a</think><tool_call>{"name": "ls", "arguments": {}}</tool_call>', "must be a list"),
        ('<think>a</think><tool_call>[{"name": "ls"}]</tool_call>', 'keys "name" and "arguments"'),
        ('<think>a</think><tool_call>[{"name": "ls", "arguments": {}, "id": 1}]</tool_call>', 'keys "name" and'),
        ('<think>a</think><tool_call>[{"name": 3, "arguments": {}}]</tool_call>', "as a string"),
        ('<think>a</think><tool_call>[{"name": "ls", "arguments": "{}"}]</tool_call>', "must be an object"),
        ('<think>a</think><tool_call>[{"name": "ls", "arguments": {"a": 1, "a": 2}}]</tool_call>', "same key twice"),
        ("<think>a</think><tool_call>" + "[" * 100_000 + "</tool_call>", "nested too deeply"),
        (
            '<think>a</think><tool_call>[{"name": "ls", "arguments": {"a": ' + "9" * 5000 + "}}]</tool_call>",
            "not valid",
        ),
        (
            '<think>a</think><tool_call>[{"name": "ls", "arguments": {"a": ' + "[" * 60 + "]" * 60 + "}}]</tool_call>",
            "nested deeper",
        ),
        (f"<think>a</think><tool_call>[{', '.join(['{}'] * 65)}]</tool_call>", "more than 64 calls"),
        ("<think>" + "a" * 300_000 + "</think><answer>b</answer>", "longer than"),
    ],
)
def test_complaints_say_what_is_wrong(text: str, complaint: str) -> None:
    reply = parse_reply(text)
    assert reply.kind is ReplyKind.ILL_FORMED
    assert complaint in reply.error


def test_white_space_between_the_tags_is_fine() -> None:
    assert parse_reply(f"\n<think>\na\n</think>\n\n<tool_call>\n{BODY}\n</tool_call>\n").calls == (ToolCall("ls", {}),)


def test_tags_inside_json_strings_are_data() -> None:
    call = ToolCall("echo", {"content": "</tool_call><answer>"})
    assert parse_reply(render_reply("a", calls=[call])).calls == (call,)


def test_render_wants_exactly_one_of_both() -> None:
    for arguments in ({}, {"calls": [CALL], "answer": "b"}):
        with pytest.raises(ValueError, match="either calls or an answer"):
            render_reply("a", **arguments)
