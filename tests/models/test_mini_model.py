"""The small model of reproduce/mini.yaml: its data, that training is deterministic and learns, and that the folder loads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from envtune.environment import ReplyKind, parse_reply, prompt, render_reply
from envtune.environment.reply import ToolCall
from envtune.models.checkpoint import WEIGHTS, LlamaShape
from envtune.models.copying import ROPE_THETA, copying_tensors
from envtune.models.mini import MiniModel, pool, tool_docs, write_mini_model
from envtune.models.mini_conversations import BREAKERS, mini_conversations
from envtune.tasks import Task

WORDS = ("amber", "quilt", "Folder", "ex", "tion", "read")
SMALL = MiniModel(hidden=64, layers=3, brief_steps=6, steps=2, batch=2, threads=1)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "model"
    record = write_mini_model(folder, SMALL)
    assert record["settings"] == asdict(SMALL)
    assert record["losses"][-1] < record["losses"][0]
    return folder


def test_every_way_to_spoil_a_reply_spoils_it() -> None:
    call = render_reply("Why.", calls=[ToolCall("ls", {"a": True})])
    for reply in (call, render_reply("Why.", answer="Done.")):
        assert parse_reply(reply).kind is not ReplyKind.ILL_FORMED
        for breaker in BREAKERS:
            assert parse_reply(breaker(reply)).kind is ReplyKind.ILL_FORMED


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_set_share_of_replies_is_spoilt_and_each_turn_goes_on_with_a_whole_one(share: float) -> None:
    conversations = mini_conversations(300, seed=1, words=WORDS, ill_formed=share)
    first = [parse_reply(conversation[2]["content"]).kind for conversation in conversations]
    assert sum(kind is ReplyKind.ILL_FORMED for kind in first) / len(first) == pytest.approx(share, abs=0.1)
    for conversation in conversations:
        assert [message["role"] for message in conversation[:3]] == ["system", "user", "assistant"]
        for message, reply in zip(conversation[1::2], conversation[2::2], strict=True):
            assert (message["role"], reply["role"]) == ("user", "assistant")


@pytest.mark.parametrize("brief", [True, False])
def test_calls_name_tools_and_parameters_on_offer_and_requests_have_their_words_and_values(brief: bool) -> None:
    for conversation in mini_conversations(60, seed=2, words=WORDS, docs=tool_docs(), ill_formed=0, brief=brief):
        docs = [json.loads(line) for line in conversation[0]["content"].splitlines() if line.startswith('{"name"')]
        offered = {doc["name"]: doc for doc in docs}
        request, calls = conversation[1]["content"].lower(), parse_reply(conversation[2]["content"]).calls
        assert 1 <= len(calls) <= 3
        for call in calls:
            assert set(call.arguments) == set(offered[call.name]["parameters"]["required"])
            assert any(part.lower() in request for part in call.name.split("_"))
            for value in call.arguments.values():
                assert (value if isinstance(value, str) else json.dumps(value)).lower() in request


def test_same_arguments_same_conversations() -> None:
    assert mini_conversations(5, 1, WORDS) == mini_conversations(5, 1, WORDS)
    assert mini_conversations(5, 1, WORDS) != mini_conversations(5, 2, WORDS)


def test_no_request_or_solution_of_bfcl_is_in_the_data(tasks: tuple[Task, ...], model_dir: Path) -> None:
    words = pool(AutoTokenizer.from_pretrained(model_dir))
    conversations = mini_conversations(200, seed=0, words=words, docs=tool_docs())
    text = "\n".join(message["content"] for conversation in conversations for message in conversation)
    requests = {m["content"] for task in tasks for turn in task.question for m in turn}
    solutions = {call for task in tasks for turn in task.ground_truth for call in turn}
    assert not [found for found in requests | solutions if len(found) > len("mean()") and found in text]


def test_equal_settings_give_equal_weights(model_dir: Path, tmp_path: Path) -> None:
    write_mini_model(tmp_path / "again", SMALL)
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (model_dir / WEIGHTS).read_bytes()


def test_loads_with_every_weight_used_and_a_tokenizer_of_its_size(model_dir: Path) -> None:
    model, info = AutoModelForCausalLM.from_pretrained(model_dir, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    assert len(tokenizer) == model.config.vocab_size == SMALL.vocabulary
    said = "Größe: <think>ü</think> 12"
    assert tokenizer.decode(tokenizer.encode(said)) == said


def test_a_word_is_the_same_token_everywhere_and_what_prompts_repeat_is_one(model_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    word = tokenizer.encode("watchlist")
    for text in ("my watchlist", '"get_watchlist"', '{"name":"watchlist"}', "(watchlist)"):
        ids = tokenizer.encode(text)
        assert any(ids[i : i + len(word)] == word for i in range(len(ids))), text
    fixed = prompt.system_prompt([])
    assert (
        len(tokenizer.encode(fixed)) <= 2 * len(fixed.splitlines())
        and tokenizer.decode(tokenizer.encode(fixed)) == fixed
    )


def test_weights_copy_before_anything_is_learnt() -> None:
    """What comes after a token for the second time is what came after it for the first, far above chance (1 in 2,048)."""
    settings = MiniModel()
    heads = settings.hidden // 32
    shape = LlamaShape(
        settings.vocabulary, settings.hidden, 3 * settings.hidden, settings.layers, heads, heads, 4096, ROPE_THETA, 1e-5
    )
    weights = {name: torch.from_numpy(part) for name, part in copying_tensors(shape, np.random.default_rng(0))}
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=heads, num_key_value_heads=heads, rms_norm_eps=1e-5,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.load_state_dict(weights, strict=False)
    model.tie_weights()
    once = torch.from_numpy(np.random.default_rng(1).integers(0, shape.vocabulary, 200))
    with torch.no_grad():
        said = model(input_ids=torch.cat([once, once])[None]).logits[0, 200:-1].argmax(-1)
    assert (said == once[1:]).float().mean() > 0.3
