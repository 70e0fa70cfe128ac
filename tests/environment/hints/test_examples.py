"""Every hint's own examples: it is the one given, it says what it should, and following it helps."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from helpers.hint_examples import AUTHORS, CALL_DOMAINS, Played, examples, set_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envtune.environment import ApiState, Episode, ReplyKind, ToolCall, parse_reply, reply
from envtune.environment.hints import REPLY, Domain, Hint, Situation, hint_set, offer_in
from envtune.environment.hints.hint import example
from envtune.environment.hints.replies import REPLIES
from envtune.environment.hints.trading import TRADING
from envtune.tasks import find_task, load_tasks

TASKS = [task for task in load_tasks("paper") if task.category == "miss_func"][::9]
OFFER = offer_in(TASKS[0], 0)
ROWS = [
    pytest.param(*row, id=f"{row[1].id}-{place}-{row[3]}")
    for place, row in enumerate(examples((*CALL_DOMAINS, *AUTHORS)))
]


@pytest.mark.parametrize(("domain", "hint", "shown", "release"), ROWS)
def test_it_is_given_and_following_it_does_not_fail_for_the_same_reason(domain, hint, shown, release) -> None:  # type: ignore[no-untyped-def]
    played = Played(domain, shown, release)
    said = played.hint(set_for(hint))
    assert said is not None, played.result.text
    assert said.id == hint.id, (said, played.result.text)
    if said.call is None:
        return
    situation, result = played.call(said.call)
    again = set_for(hint).give(situation, result.error)
    assert again is None or again.id != said.id, (said, result.text)
    if said.call.name == said.tool:  # a call that the hint sends the model to works
        assert not result.error, (said, result.text)


def test_every_hint_has_an_example() -> None:
    without = {hint.id for domain in (*CALL_DOMAINS, *AUTHORS, REPLIES) for hint in domain.hints if not hint.examples}
    assert without == {"call.value", "call.parameter.name", "call.limit.text"}  # see the next tests


def test_values_that_a_tool_cannot_work_with(release: str) -> None:
    """What no table foresees still gets the documented parameters."""
    broken = {**TRADING.scenario, "transaction_history": [{"type": "deposit", "amount": 1.0, "timestamp": "now"}]}
    played = Played(Domain("trading", TRADING.class_name, (), broken), example("get_transaction_history()"), release)
    given = played.hint(hint_set("full"))
    assert given is not None and given.id == "call.value" and "start_date (text in quotes)" in given.text


@pytest.mark.parametrize("hint", REPLIES.hints, ids=lambda hint: hint.id)
def test_a_reply_that_follows_its_hint_is_in_the_format(hint: Hint) -> None:
    (shown,) = hint.examples
    episode = Episode(find_task("multi_turn_base_0"), "full")
    episode.start()
    message = episode.step(shown.calls[0]).messages[0]["content"]
    record = episode.trajectory.replies[-1]
    assert record.hint_ids == (hint.id,) or (hint.id == "reply.any" and record.hint_ids == ("reply.think.missing",))
    assert f"\nHint: {record.hints[0]}\n" in message
    assert "{{" not in record.hints[0] and record.hints[0].count("{") == record.hints[0].count("}")
    assert parse_reply(shown.fixed).kind is not ReplyKind.ILL_FORMED


def test_every_complaint_about_a_reply_has_a_hint_of_its_own() -> None:
    tree = ast.parse(inspect.getsource(reply))
    raised = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_IllFormed"
    ]
    assert len(raised) >= 15
    patterns = [ast.unparse(call.args[0]) for call in raised]
    for pattern in patterns:
        said = re.sub(r"\{[^{}]*\}", "7", pattern.strip("f'\""))
        assert any(hint.result.search(said) for hint in REPLIES.hints[:-1]), pattern


@given(st.text(max_size=300), st.sampled_from(["", "<think>t</think>", "<think>t</think><tool_call>["]))
def test_any_reply_gets_at_most_one_line(text: str, start: str) -> None:
    situation = Situation(ToolCall(REPLY, {}), parse_reply(start + text).error, {}, OFFER, start + text)
    given = hint_set("full").give(situation, error=True)
    assert given is None or (given.text and "\n" not in given.text and given.call is None)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_a_model_writes_a_failure_has_one_line(data: st.DataObject) -> None:
    task = data.draw(st.sampled_from(TASKS))
    offer, api = offer_in(task, 0), ApiState(task)
    for _ in range(3):
        tool = data.draw(st.sampled_from(sorted(offer.docs)) | st.text(max_size=10))
        names = st.sampled_from([*offer.parameters.get(tool, ()), "other"]) | st.text(max_size=8)
        call = ToolCall(tool, data.draw(st.dictionaries(names, JSON, max_size=4)))
        state, result = api.snapshot(call.name), api.call(call)
        given = hint_set("full").give(Situation(call, result.text, state, offer), result.error)
        assert given is not None or not result.error
        if given is not None:
            assert given.text.isprintable() and len(given.text) < 900
            assert not offer.names_hidden(given.text)
