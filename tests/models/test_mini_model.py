"""The small model of reproduce/mini.yaml: its data, that training is deterministic and learns, and that the folder loads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from envtune.environment import ReplyKind, parse_reply, render_reply
from envtune.environment.reply import ToolCall
from envtune.models.checkpoint import WEIGHTS
from envtune.models.mini import MiniModel, pool, write_mini_model
from envtune.models.mini_conversations import BREAKERS, mini_conversations
from envtune.tasks import Task

WORDS = ("amber", "quilt", "Folder", "ex", "tion", "read")
SMALL = MiniModel(hidden=64, layers=1, brief_steps=6, steps=2, batch=2, threads=1)


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


def test_calls_name_tools_and_parameters_on_offer_and_brief_ones_call_them_all() -> None:
    for conversation in mini_conversations(60, seed=2, words=WORDS, brief=True):
        docs = {doc["name"]: doc for doc in map(json.loads, conversation[0]["content"].splitlines())}
        calls = parse_reply(conversation[2]["content"]).calls
        assert [call.name for call in calls] == list(docs)
        for call in calls:
            assert set(call.arguments) == set(docs[call.name]["parameters"]["required"])


def test_same_arguments_same_conversations() -> None:
    assert mini_conversations(5, 1, WORDS) == mini_conversations(5, 1, WORDS)
    assert mini_conversations(5, 1, WORDS) != mini_conversations(5, 2, WORDS)


def test_nothing_of_bfcl_is_in_the_data(tasks: tuple[Task, ...], model_dir: Path) -> None:
    words = pool(AutoTokenizer.from_pretrained(model_dir))
    conversations = mini_conversations(200, seed=0, words=words)
    text = "\n".join(message["content"] for conversation in conversations for message in conversation)
    requests = {m["content"] for task in tasks for turn in task.question for m in turn}
    solutions = {call for task in tasks for turn in task.ground_truth for call in turn}
    descriptions = {tool["description"] for task in tasks for tool in task.tools}
    assert not [found for found in requests | solutions | descriptions if found.strip() and found in text]


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
