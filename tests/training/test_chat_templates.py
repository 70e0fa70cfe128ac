"""Token-in token-out, for the chat templates of Qwen2.5, Llama-3.1 and SmolLM2.

1. After every step, the ids equal those of the whole conversation rendered at once (canonical replies).
2. A reply in another tokenisation is kept as sampled, and what follows it does not change.
3. The template's turn separator is never lost, also not after a reply that another token (or nothing) ended.
4. Text of the environment cannot produce a special token.
To change one of these is a decision about the rollout's semantics, not the mending of a test.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from envtune.environment.reply import ToolCall, render_reply
from envtune.errors import EnvtuneError
from envtune.training.tokens import ChatTokens

FAMILIES = ("qwen2.5", "llama3.1", "smollm2")
SEPARATORS = {"qwen2.5": "<|im_end|>\n", "llama3.1": "<|eot_id|>", "smollm2": "<|im_end|>\n"}
OPENING = [
    {"role": "system", "content": 'You may call tools.\n\nTools: [{"name": "ls"}]\n'},
    {"role": "user", "content": "Show me what is in 'docs', please."},
]
REPLIES = [
    render_reply("I look first.", calls=[ToolCall("ls", {"folder": "docs"})]),
    "no tags at all",
    render_reply("Done: é, 漢字, 🙂.", answer="There are 2 files , a.txt and b.txt ."),
    render_reply("", answer=""),
]
ANSWERS = [
    [{"role": "user", "content": '[{"result": ["a.txt", "b.txt"]}]\nGo on, or answer.'}],
    [{"role": "user", "content": "\n\nThe reply must start with <think>.  \n"}],
    [{"role": "user", "content": "Turn is over."}, {"role": "user", "content": "Now copy a.txt to c.txt"}],
    [{"role": "user", "content": ""}],
]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def tokenizer(family: str, tokenizers: Any) -> Any:
    return tokenizers(family)


def at_once(tokenizer: Any, messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> list[int]:
    """The whole conversation through transformers' own path."""
    rendered = tokenizer.apply_chat_template(
        list(messages), tokenize=True, add_generation_prompt=add_generation_prompt, return_dict=True
    )
    return list(rendered["input_ids"])


def control_tokens(tokenizer: Any) -> dict[int, str]:
    return {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def sample(tokenizer: Any, chat: ChatTokens, reply: str) -> list[int]:
    """The reply's ids in canonical tokenisation, ended as an engine ends it: on the closing token."""
    return [*tokenizer.encode(reply, add_special_tokens=False), chat.end_id]


def test_ids_after_every_step_equal_the_conversation_rendered_at_once(tokenizer: Any) -> None:
    chat = ChatTokens(tokenizer)
    messages, ids = list(OPENING), chat.opening(OPENING)
    assert ids == at_once(tokenizer, messages, add_generation_prompt=True)
    for reply, answer in zip(REPLIES, ANSWERS, strict=True):
        reply_ids = sample(tokenizer, chat, reply)
        ids += reply_ids
        messages.append({"role": "assistant", "content": reply})
        assert at_once(tokenizer, messages, add_generation_prompt=False)[: len(ids)] == ids
        assert chat.is_closed(reply_ids) and chat.text(reply_ids) == reply
        ids += chat.following(reply_ids, answer)
        messages += answer
        assert ids == at_once(tokenizer, messages, add_generation_prompt=True)


def test_a_default_system_prompt_or_date_header_is_rendered_once(tokenizer: Any, family: str) -> None:
    chat = ChatTokens(tokenizer)
    header = {"qwen2.5": "You are Qwen", "llama3.1": "Cutting Knowledge Date", "smollm2": "named SmolLM"}[family]
    no_system = tokenizer.decode(chat.opening(OPENING[1:]))
    following = tokenizer.decode(chat.following([chat.end_id], ANSWERS[0]))
    assert no_system.count(header) == 1 and header not in following
    assert (header in tokenizer.decode(chat.opening(OPENING))) == (family == "llama3.1")


def test_a_reply_in_another_tokenisation_is_kept_as_sampled(tokenizer: Any) -> None:
    chat = ChatTokens(tokenizer)
    canonical = sample(tokenizer, chat, REPLIES[0])
    place, token = next((i, t) for i, t in enumerate(canonical) if len(tokenizer.convert_ids_to_tokens(t)) > 2)
    pieces = tokenizer.convert_tokens_to_ids(list(tokenizer.convert_ids_to_tokens(token)))
    sampled = canonical[:place] + pieces + canonical[place + 1 :]
    assert sampled != canonical and chat.text(sampled) == REPLIES[0]
    assert chat.following(sampled, ANSWERS[0]) == chat.following(canonical, ANSWERS[0])
    ids = chat.opening(OPENING) + sampled + chat.following(sampled, ANSWERS[0])
    messages = [*OPENING, {"role": "assistant", "content": REPLIES[0]}, *ANSWERS[0]]
    assert ids != at_once(tokenizer, messages, True)
    assert tokenizer.decode(ids) == tokenizer.decode(at_once(tokenizer, messages, True))


def test_the_turn_separator_is_never_lost(tokenizer: Any, family: str) -> None:
    chat = ChatTokens(tokenizer)
    open_reply = tokenizer.encode("<think>cut", add_special_tokens=False)
    other_stop = tokenizer.convert_tokens_to_ids("<|end_of_text|>" if family == "llama3.1" else "<|endoftext|>")
    after_close = chat.following([*open_reply, chat.end_id], ANSWERS[0])
    for reply_ids in (open_reply, [*open_reply, other_stop], []):
        after = chat.following(reply_ids, ANSWERS[0])
        assert after == [chat.end_id, *after_close]
        assert tokenizer.decode(after).startswith(SEPARATORS[family] + tokenizer.decode(after_close).lstrip("\n"))
        assert not chat.is_closed(reply_ids)
    assert chat.text([*open_reply, other_stop]) == chat.text(open_reply) == "<think>cut"
    middle = [chat.end_id, *open_reply]
    assert SEPARATORS[family].strip() in chat.text(middle), "a special token inside a reply stays visible"


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_conversation_equals_its_rendering(tokenizers: Any, family: str, data: st.DataObject) -> None:
    tokenizer = tokenizers(family)
    chat = ChatTokens(tokenizer)
    special = st.sampled_from(
        [*control_tokens(tokenizer).values(), "<|im_<|im_end|>end|>", "<tool_call>", "\n", "\r\n", " "]
    )
    text = st.lists(st.one_of(special, st.text(max_size=12)), max_size=6).map("".join)
    messages, ids = list(OPENING), chat.opening(OPENING)
    for _ in range(data.draw(st.integers(1, 3))):
        reply = chat.defuse(data.draw(text))
        # Llama's template strips a reply, the others render it into one text with the header before it; a reply that
        # starts or ends in white space has no canonical tokenisation of its own.
        assume(reply == reply.strip() and reply == tokenizer.decode(tokenizer.encode(reply, add_special_tokens=False)))
        reply_ids = sample(tokenizer, chat, reply)
        answer = [{"role": "user", "content": data.draw(text)}]
        ids += reply_ids + chat.following(reply_ids, answer)
        messages += [
            {"role": "assistant", "content": reply},
            {"role": "user", "content": chat.defuse(answer[0]["content"])},
        ]
    assert ids == at_once(tokenizer, messages, add_generation_prompt=True)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_text_of_the_environment_cannot_make_a_special_token(tokenizers: Any, family: str, data: st.DataObject) -> None:
    tokenizer = tokenizers(family)
    chat = ChatTokens(tokenizer)
    special = control_tokens(tokenizer)
    pieces = st.sampled_from([*special.values(), "<|", "|>", "<", "im_", "eot_id", " "])
    hostile = data.draw(st.lists(st.one_of(pieces, st.text(max_size=4)), max_size=12).map("".join))
    harmless = [i for i in chat.following([], [{"role": "user", "content": ""}]) if i in special]
    assert [i for i in chat.following([], [{"role": "user", "content": hostile}]) if i in special] == harmless


def test_a_template_that_does_not_close_messages_is_refused(tokenizers: Any) -> None:
    tokenizer = copy.deepcopy(tokenizers("qwen2.5"))
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    with pytest.raises(EnvtuneError, match="special token"):
        ChatTokens(tokenizer)


def test_why_verl_s_own_builder_is_not_used(tokenizers: Any) -> None:
    """verl 0.9.1 is right for Qwen2.5 and Llama-3.1 and drops SmolLM2's newline. When this fails, use verl's."""
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    agrees = {}
    for family, model_type in {"qwen2.5": "qwen2", "llama3.1": "llama", "smollm2": "llama"}.items():
        tokenizer = tokenizers(family)
        chat = ChatTokens(tokenizer)
        before = chat.opening(OPENING) + sample(tokenizer, chat, REPLIES[0])
        previous = [*OPENING, {"role": "assistant", "content": REPLIES[0]}]
        builder = create_continuous_token_builder(tokenizer, hf_model_type=model_type)
        merged = builder.merge_context_tokens(previous, previous + ANSWERS[0], before)
        agrees[family] = merged.token_ids == before + chat.following(before, ANSWERS[0])
    assert agrees == {"qwen2.5": True, "llama3.1": True, "smollm2": False}
