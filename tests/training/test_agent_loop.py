"""Semantics of one episode as a verl agent loop.

Everything is the real part (verl's base class and configuration, transformers' tokenizer, BFCL's tasks) except the
engine, which is scripted at its boundary: `server_manager.generate`.

1. Ids are only appended: each prompt is the last one, the reply as sampled, and what the environment answered.
2. Mask 1 and the engine's log-probabilities on sampled tokens, 0 on all others; the response ends with a reply.
3. All turns together stay within the response budget and the engine's context, whatever is sampled.
4. A cut reply counts as the reply it is; the episode goes on where tokens are left.
5. A bad rollout is data: `aborted` has an all-zero mask and a score; an engine that raises is verl's business.
To change one of these is a decision about the rollout's semantics, not the mending of a test.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from helpers.scripted_engine import Player, ScriptedEngine, verl_defaults
from hypothesis import given, settings
from hypothesis import strategies as st

from envtune.environment import Episode, StopReason, Trajectory, render_reply
from envtune.environment.gold_policy import gold_replies
from envtune.errors import EnvtuneError
from envtune.training.dataset import EpisodeSpec, get_task, make_row
from envtune.training.time_split import EPISODE_PARTS
from envtune.training.tokens import ChatTokens

TASK_ID = "multi_turn_base_0"
ANSWER = render_reply("I am done.", answer="It is done.")
INFO_KEYS = {"acc", "progress", "binary", "format", "turns", "turns_played", "replies", "tool_calls", "tool_errors"} | {
    "format_rate", "hints", "truncated_replies", "over_budget", "aborted", "stop_reason", "error_type", "task_id"
}  # fmt: skip


def make_spec(task_id: str = TASK_ID, **changes: Any) -> EpisodeSpec:
    task = get_task("paper", task_id, 8, 0)
    spec = EpisodeSpec("paper", task_id, task.content_hash, 8, 0, "standard", "progress", 5, "stage1")
    return dataclasses.replace(spec, **changes)


def gold(spec: EpisodeSpec) -> list[str]:
    """Replies that score 1 in every turn."""
    return list(gold_replies(spec.task()))


@pytest.fixture(scope="session")
def verl_config() -> dict[str, Any]:
    return verl_defaults()


@pytest.fixture
def player(verl_config: Any, tokenizers: Any) -> Player:
    return Player(verl_config, tokenizers("smollm2"))


def runs(mask: Iterable[int]) -> list[tuple[int, int]]:
    """(value, length) of each run of equal values."""
    found: list[tuple[int, int]] = []
    for value in mask:
        found[-1:] = [(value, found[-1][1] + 1)] if found and found[-1][0] == value else [*found[-1:], (value, 1)]
    return found


def check_alignment(output: Any, engine: ScriptedEngine) -> None:
    """Rules 1 and 2, for any episode that was not aborted."""
    ids, mask, log_probs = output.response_ids, output.response_mask, output.response_logprobs
    assert len(ids) == len(mask) == len(log_probs)
    assert mask[-1] == 1
    place = 0
    for number, (call, sampled) in enumerate(zip(engine.calls, engine.sampled, strict=True), start=1):
        place = len(call["prompt_ids"]) - len(output.prompt_ids)
        assert call["prompt_ids"] == output.prompt_ids + ids[:place]
        end = place + len(sampled)
        assert ids[place:end] == sampled and mask[place:end] == [1] * len(sampled)
        assert log_probs[place:end] == [-(number + offset / 1000) for offset in range(1, len(sampled) + 1)]
    assert end == len(ids)
    assert sum(mask) == sum(map(len, engine.sampled))
    assert all(log_prob == 0.0 for log_prob, own in zip(log_probs, mask, strict=True) if not own)


def test_the_gold_episode(player: Player) -> None:
    spec = make_spec()
    replies = gold(spec)
    engine = ScriptedEngine(player.tokenizer, replies)
    output = player.play(engine, spec)

    check_alignment(output, engine)
    assert output.reward_score == 1.0
    assert [player.tokenizer.decode(ids) for ids in engine.sampled] == [f"{reply}<|im_end|>" for reply in replies]
    assert [value for value, _ in runs(output.response_mask)] == [1, 0] * (len(replies) - 1) + [1]
    assert len({call["request_id"] for call in engine.calls}) == 1, "one sticky session of the engine"
    info = output.extra_fields["reward_extra_info"]
    assert set(info) == INFO_KEYS
    calls = sum(len(turn) for turn in spec.task().ground_truth)
    assert info == {
        "acc": 1.0,
        "progress": 1.0,
        "binary": 1.0,
        "format": 2.0,
        "format_rate": 1.0,
        "turns": 4.0,
        "turns_played": 4.0,
        "replies": float(len(replies)),
        "tool_calls": float(calls),
        "tool_errors": 0.0,
        "hints": 0.0,
        "truncated_replies": 0.0,
        "over_budget": 0.0,
        "aborted": 0.0,
        "stop_reason": "completed",
        "error_type": "",
        "task_id": TASK_ID,
    }
    assert output.extra_fields["turn_scores"] == [1.0] * 4
    versions = output.extra_fields["min_global_steps"], output.extra_fields["max_global_steps"]
    assert versions == (7, 7 + (len(replies) - 1) // 2)
    assert output.num_turns == 2 * len(replies)
    assert output.metrics.num_preempted == len(replies)
    assert output.metrics.generate_sequences > 0 and output.metrics.tool_calls > 0


@pytest.mark.parametrize("family", ["qwen2.5", "llama3.1", "smollm2"])
def test_the_whole_response_equals_the_conversation_rendered_at_once(
    verl_config: Any, tokenizers: Any, family: str
) -> None:
    tokenizer = tokenizers(family)
    spec = make_spec("multi_turn_miss_func_0")
    replies = ["not in the format", *gold(spec)]
    output = Player(verl_config, tokenizer).play(ScriptedEngine(tokenizer, replies), spec)

    episode = Episode(spec.task())
    messages = episode.start()
    for reply in replies:
        messages += [{"role": "assistant", "content": reply}, *episode.step(reply).messages]
    assert episode.done
    rendered = list(tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"])
    ids = output.prompt_ids + output.response_ids
    assert ids == rendered[: len(ids)]
    assert tokenizer.decode(rendered[len(ids) :]) in ("", "\n"), "no engine samples what follows the last reply"


def test_a_reply_in_another_tokenisation_is_kept_as_sampled(player: Player) -> None:
    tokenizer, chat = player.tokenizer, ChatTokens(player.tokenizer)
    spec = make_spec()
    replies = gold(spec)
    in_bytes = [i for t in tokenizer.tokenize(replies[0]) for i in tokenizer.convert_tokens_to_ids(list(t))]
    assert in_bytes != tokenizer.encode(replies[0], add_special_tokens=False)
    engine = ScriptedEngine(tokenizer, [[*in_bytes, chat.end_id], *replies[1:]])
    output = player.play(engine, spec)
    check_alignment(output, engine)
    assert output.response_ids[: len(in_bytes)] == in_bytes
    assert output.reward_score == 1.0


def test_the_response_budget_holds_over_all_turns(player: Player) -> None:
    spec = make_spec()
    replies = gold(spec)
    full = len(player.play(ScriptedEngine(player.tokenizer, replies), spec).response_ids)
    for length in (full, full - 1, full // 2, 5, 1):
        engine = ScriptedEngine(player.tokenizer, replies)
        output = player.play(engine, spec, response_length=length)
        check_alignment(output, engine)
        info = output.extra_fields["reward_extra_info"]
        assert len(output.response_ids) <= length
        assert (info["over_budget"] == 1.0) == (info["progress"] < 1.0) == (length < full - 1)
        assert info["stop_reason"] in ("completed", "over_budget")
        for call in engine.calls:
            assert call["max_tokens"] == length - (len(call["prompt_ids"]) - len(output.prompt_ids))


def test_an_answer_that_leaves_no_room_for_a_reply_is_not_appended(player: Player) -> None:
    spec = make_spec()
    whole = ScriptedEngine(player.tokenizer, gold(spec))
    output = player.play(whole, spec)
    to_second_reply = len(whole.calls[1]["prompt_ids"]) - len(output.prompt_ids)
    for spare, replies in ((0, 1), (1, 2)):
        engine = ScriptedEngine(player.tokenizer, gold(spec))
        output = player.play(engine, spec, response_length=to_second_reply + spare)
        check_alignment(output, engine)
        assert len(engine.calls) == replies
        assert output.extra_fields["reward_extra_info"]["over_budget"] == 1.0


def test_the_engine_s_context_holds_too(player: Player) -> None:
    spec = make_spec()
    replies = gold(spec)
    first = player.play(ScriptedEngine(player.tokenizer, replies), spec)
    context = len(first.prompt_ids) + len(first.response_ids) // 2
    engine = ScriptedEngine(player.tokenizer, replies, max_model_len=context)
    output = player.play(engine, spec, max_model_len=context)
    check_alignment(output, engine)
    assert len(output.prompt_ids) + len(output.response_ids) <= context
    assert output.extra_fields["reward_extra_info"]["over_budget"] == 1.0


def test_the_long_context_policy(player: Player) -> None:
    """The ground truth reads the data of a stock: over the paper's budget when whole, within it when shortened."""
    spec = make_spec("multi_turn_long_context_103")
    assert "get_stock_info" in str(spec.task().ground_truth)
    scores = {}
    for limit in (None, 8_000):
        row = dataclasses.replace(spec, max_result_characters=limit)
        engine = ScriptedEngine(player.tokenizer, gold(spec))
        output = player.play(engine, row, response_length=24_576, max_model_len=32_768)
        check_alignment(output, engine)
        info = output.extra_fields["reward_extra_info"]
        scores[limit] = (info["over_budget"], info["progress"] == 1.0)
    assert scores == {None: (1.0, False), 8_000: (0.0, True)}


def test_a_cut_reply_is_answered_and_closed_by_the_template(player: Player) -> None:
    spec, chat = make_spec(), ChatTokens(player.tokenizer)
    long_reply = render_reply("I think " * 60, answer="x")
    engine = ScriptedEngine(player.tokenizer, [long_reply, ANSWER])
    output = player.play(engine, spec, entry=", max_reply_tokens: 40")
    check_alignment(output, engine)
    assert [call["max_tokens"] for call in engine.calls] == [40] * len(engine.calls)
    info = output.extra_fields["reward_extra_info"]
    assert info["truncated_replies"] == 1.0 and info["over_budget"] == 0.0
    assert info["replies"] == 5.0 and info["format_rate"] == 4 / 5, "the cut reply counts, as ill-formed"
    assert output.response_ids[40] == chat.end_id and output.response_mask[39:41] == [1, 0]
    answer = player.tokenizer.decode(output.response_ids[40 : len(engine.calls[1]["prompt_ids"])])
    assert answer.startswith("<|im_end|>\n<|im_start|>user\nYour reply is not in the required format.")


def test_a_reply_that_fills_its_cap_exactly_is_not_cut(player: Player) -> None:
    length = len(player.tokenizer.encode(ANSWER)) + 1
    engine = ScriptedEngine(player.tokenizer, [ANSWER])
    output = player.play(engine, make_spec(), entry=f", max_reply_tokens: {length}")
    assert output.extra_fields["reward_extra_info"]["truncated_replies"] == 0.0
    assert output.extra_fields["reward_extra_info"]["format_rate"] == 1.0


def test_an_environment_that_raises_makes_an_aborted_episode(player: Player, monkeypatch: Any, caplog: Any) -> None:
    """The environment takes any reply, so its failure has to be planted."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Episode, "_end_turn", fail)
    engine = ScriptedEngine(player.tokenizer, gold(make_spec()))
    output = player.play(engine, make_spec())
    info = output.extra_fields["reward_extra_info"]
    assert (info["aborted"], info["stop_reason"], output.reward_score) == (1.0, StopReason.ABORTED.value, 0.0)
    assert output.response_ids and set(output.response_mask) == {0}
    assert "planted" in caplog.text and TASK_ID in caplog.text


@pytest.mark.parametrize("partial", [[], [5, 6, 7]])
def test_a_request_that_the_engine_gives_up_makes_an_aborted_episode(player: Player, partial: list[int]) -> None:
    from verl.workers.rollout.replica import TokenOutput

    class GivesUp:
        async def generate(self, **_: Any) -> TokenOutput:
            return TokenOutput(token_ids=partial, log_probs=None, stop_reason="aborted")

    output = player.play(GivesUp(), make_spec())
    assert output.extra_fields["reward_extra_info"]["aborted"] == 1.0
    assert set(output.response_mask) == {0} and output.extra_fields["min_global_steps"] == 3
    assert output.response_logprobs == (None if partial else [0.0])
    assert output.as_dict()["rm_scores"].tolist()[-1] == 0.0, "verl puts the reward on the last token"


def test_an_engine_that_raises_is_not_a_zero(player: Player) -> None:
    class Dead:
        async def generate(self, **_: Any) -> None:
            raise ConnectionError("no engine")

    with pytest.raises(ConnectionError):
        player.play(Dead(), make_spec())


def test_data_that_do_not_fit_the_code_are_refused(player: Player) -> None:
    spec, engine = make_spec(), ScriptedEngine(player.tokenizer, [ANSWER])
    row = make_row(0, spec)
    for changed, match in (
        ({"environment": dataclasses.replace(spec, task_hash="0" * 64).as_json()}, "not the task"),
        ({"environment": "{}"}, "cannot be read"),
        ({"prompt": [*row["prompt"][:1], {"role": "user", "content": "another"}]}, "another version"),
    ):
        with pytest.raises(EnvtuneError, match=match):
            player.play(engine, spec, {**row, **changed})
    with pytest.raises(EnvtuneError, match="max_prompt_length"):
        player.play(engine, spec, prompt_length=100)
    with pytest.raises(EnvtuneError, match="context"):
        player.play(engine, spec, max_model_len=100)
    assert not engine.calls


def test_each_reward_can_be_the_one_trained_on(player: Player) -> None:
    for reward in ("format", "progress", "binary"):
        output = player.play(ScriptedEngine(player.tokenizer, [ANSWER]), make_spec(reward=reward))
        assert output.reward_score == output.extra_fields["reward_extra_info"][reward] == 0.0
    engine = ScriptedEngine(player.tokenizer, gold(make_spec()))
    assert player.play(engine, make_spec(reward="format")).reward_score == 2.0


def test_episodes_side_by_side_do_not_touch_each_other(player: Player) -> None:
    specs = [make_spec(task_id) for task_id in (TASK_ID, "multi_turn_base_1", TASK_ID, "multi_turn_miss_param_0")]
    engines = [ScriptedEngine(player.tokenizer, gold(spec)) for spec in specs]

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*map(player.episode, engines, specs))

    outputs = asyncio.run(all_at_once())
    assert [output.reward_score for output in outputs] == [1.0] * 4
    assert outputs[0].response_ids == outputs[2].response_ids
    for output, engine in zip(outputs, engines, strict=True):
        check_alignment(output, engine)


def test_validation_carries_its_trajectory_into_verl_s_metrics_and_dump(player: Player, tmp_path: Path) -> None:
    from verl.trainer.ppo.metric_utils import process_validation_metrics
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    spec = make_spec(split="validation")
    hostile = render_reply("\u2028 \x00", answer="é")
    scripts = [gold(spec), [hostile]]
    outputs = [player.play(ScriptedEngine(player.tokenizer, script), spec) for script in scripts]
    infos = [output.extra_fields["reward_extra_info"] for output in outputs]
    trajectories = [Trajectory.from_dict(json.loads(info["trajectory"])) for info in infos]
    assert [trajectory.turn_scores for trajectory in trajectories] == [[1] * 4, [0] * 4]
    assert trajectories[1].replies[0].reply == hostile

    columns = {key: [info[key] for info in infos] for key in infos[0]}
    metrics = process_validation_metrics(["bfcl"] * 2, ["a", "b"], columns, expected_acc_counts={("bfcl", "a"): 1})
    assert metrics["bfcl"]["acc"]["mean@1"] == metrics["bfcl"]["progress"]["mean@1"] == 0.5
    assert set(metrics["bfcl"]) == (INFO_KEYS | {"acc_success_only"}) - {"stop_reason", "error_type", "task_id"}

    scores = [output.reward_score for output in outputs]
    PPOTrainer._write_generations(["p"] * 2, ["r"] * 2, [TASK_ID] * 2, scores, columns, str(tmp_path), 3)
    lines = [json.loads(line) for line in (tmp_path / "3.jsonl").read_text("utf-8").splitlines()]
    assert [Trajectory.from_dict(json.loads(line["trajectory"])) for line in lines] == trajectories


def test_verl_takes_the_output_into_its_queue_s_form(player: Player) -> None:
    """As verl's worker does before it puts samples into the transfer queue."""
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    spec = make_spec()
    scripts = [gold(spec), [ANSWER]]
    outputs = [player.play(ScriptedEngine(player.tokenizer, script), spec) for script in scripts]
    batch = list_of_dict_to_tensordict([output.as_dict() for output in outputs])
    assert [row.sum().item() for row in batch["rm_scores"].unbind()] == [1.0, 0.0]
    for name in ("responses", "response_mask", "rollout_log_probs"):
        assert [len(row) for row in batch[name].unbind()] == [len(output.response_ids) for output in outputs]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_whatever_is_sampled_the_rules_hold(verl_config: Any, tokenizers: Any, data: st.DataObject) -> None:
    tokenizer = tokenizers("qwen2.5")
    token = st.integers(0, len(tokenizer) - 1)
    replies = data.draw(
        st.lists(
            st.one_of(
                st.lists(token, min_size=1, max_size=30), st.text(max_size=20), st.sampled_from(gold(make_spec()))
            ),
            min_size=1,
            max_size=8,
        )
    )
    length = data.draw(st.integers(1, 4000))
    cap = data.draw(st.one_of(st.just(""), st.integers(1, 200).map(lambda n: f", max_reply_tokens: {n}")))
    engine = ScriptedEngine(tokenizer, replies)
    output = Player(verl_config, tokenizer).play(engine, make_spec(), entry=cap, response_length=length)
    check_alignment(output, engine)
    info = output.extra_fields["reward_extra_info"]
    assert len(output.response_ids) <= length
    assert info["aborted"] == 0.0 and 0.0 <= output.reward_score <= 1.0
    assert info["stop_reason"] == ("over_budget" if info["over_budget"] else "completed")


# -- what is reported of an episode beside its reward


def test_seconds_and_tokens_of_an_episode(player: Player) -> None:
    engine = ScriptedEngine(player.tokenizer, gold(make_spec()))
    output = player.play(engine, make_spec())
    assert set(output.extra_fields["seconds"]) == set(EPISODE_PARTS)
    assert all(seconds > 0 for seconds in output.extra_fields["seconds"].values())
    assert output.extra_fields["sampled_tokens"] == sum(map(len, engine.sampled))


def test_what_was_sampled_counts_also_where_nothing_is_learnt(player: Player) -> None:
    class GivesUp(ScriptedEngine):
        async def generate(self, *args: Any, **kwargs: Any) -> Any:
            output = await super().generate(*args, **kwargs)
            output.stop_reason = "aborted"
            return output

    output = player.play(GivesUp(player.tokenizer, [ANSWER]), make_spec())
    assert sum(output.response_mask) == 0 < output.extra_fields["sampled_tokens"]


# -- seeds


def seeds_of(player: Player, entry: str = ", seeded: true", **row: Any) -> list[int | None]:
    spec = make_spec()
    engine = ScriptedEngine(player.tokenizer, gold(spec))
    player.play(engine, spec, {**make_row(0, spec), **row} if row else None, entry, seed=5)
    return [call.get("seed") for call in engine.calls]


def test_seeds_follow_from_the_episodes_place_and_differ_between_replies(player: Player) -> None:
    first, again = seeds_of(player), seeds_of(player)
    assert first == again and len(first) > 3
    assert len(set(first)) == len(first) and all(0 <= seed < 2**32 for seed in first if seed is not None)


def test_without_seeded_the_engine_draws_for_itself(player: Player) -> None:
    assert set(seeds_of(player, entry="")) == {None}


@pytest.mark.parametrize("changed", [{"seed": 6}, {"global_steps": 4}, {"session_id": 1}])
def test_another_run_step_or_rollout_has_other_seeds(player: Player, changed: dict[str, int]) -> None:
    spec = make_spec()
    seeds = []
    for place in (
        {"seed": 5, "global_steps": 3, "session_id": 0},
        {"seed": 5, "global_steps": 3, "session_id": 0} | changed,
    ):
        engine, row = ScriptedEngine(player.tokenizer, gold(spec)), make_row(0, spec)
        run_seed = place.pop("seed")

        async def play(engine: Any = engine, row: Any = row, place: Any = place, run_seed: int = run_seed) -> None:
            loop = player.loop(engine, ", seeded: true", seed=run_seed)
            await loop.run({"temperature": 1.0}, raw_prompt=row["prompt"], **row, **place)

        asyncio.run(play())
        seeds.append([call["seed"] for call in engine.calls])
    assert not set(seeds[0]) & set(seeds[1])
