"""The agent loop as verl's worker runs it, with an engine that is scripted at its boundary, `server_manager.generate`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envtune.training.dataset import EpisodeSpec, make_row
from envtune.training.tokens import ChatTokens


class ScriptedEngine:
    """Gives the scripted replies (text in canonical tokenisation, or ids), then the last one again and again.

    Like verl's vLLM server: no more than `max_tokens` ids, and a finished reply ends on the closing token.
    """

    def __init__(self, tokenizer: Any, replies: Sequence[str | list[int]], max_model_len: int = 10**6) -> None:
        self.tokenizer = tokenizer
        self.replies = list(replies)
        self.max_model_len = max_model_len
        self.calls: list[dict[str, Any]] = []
        self.sampled: list[list[int]] = []

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        from verl.workers.rollout.replica import TokenOutput

        assert 1 <= sampling_params["max_tokens"] <= self.max_model_len - len(prompt_ids)
        assert sampling_params["temperature"] == 1.0
        reply = self.replies[min(len(self.calls), len(self.replies) - 1)]
        if isinstance(reply, str):
            reply = [*self.tokenizer.encode(reply, add_special_tokens=False), ChatTokens(self.tokenizer).end_id]
        ids = reply[: sampling_params["max_tokens"]]
        version = 7 + len(self.calls) // 2
        self.calls.append({"request_id": request_id, "prompt_ids": prompt_ids, **sampling_params})
        self.sampled.append(ids)
        log_probs = [-(len(self.calls) + place / 1000) for place in range(1, len(ids) + 1)]
        await asyncio.sleep(0)
        return TokenOutput(
            token_ids=ids,
            log_probs=log_probs,
            stop_reason="completed",
            num_preempted=1,
            extra_fields={"min_global_steps": version, "max_global_steps": version},
        )


def verl_defaults() -> dict[str, Any]:
    """What an agent loop reads of verl's own default configuration, with room for a whole episode."""
    import verl
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        overrides = ["data.max_prompt_length=16000", "data.max_response_length=6000"]
        config = compose("ppo_trainer", [*overrides, "actor_rollout_ref.rollout.name=vllm"])
    rollout, data = (
        OmegaConf.to_container(part, resolve=True) for part in (config.actor_rollout_ref.rollout, config.data)
    )
    return {"actor_rollout_ref": {"rollout": rollout}, "data": data}


class Player:
    """Plays rows as verl's worker does: an instance from the registered YAML entry for each episode."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def play(
        self, engine: Any, spec: EpisodeSpec, row: dict[str, Any] | None = None, entry: str = "", **rollout: Any
    ) -> Any:
        """The output of one episode."""
        return asyncio.run(self.episode(engine, spec, row, entry, **rollout))

    async def episode(
        self, engine: Any, spec: EpisodeSpec, row: dict[str, Any] | None = None, entry: str = "", **rollout: Any
    ) -> Any:
        row = row or make_row(0, spec)
        added_by_verl = {"raw_prompt": row["prompt"], "uid": "u", "index": 0, "global_steps": 3}
        return await self.loop(engine, entry, **rollout).run(
            {"temperature": 1.0, "logprobs": True}, session_id=0, **row, **added_by_verl
        )

    def loop(self, engine: Any, entry: str = "", **rollout: Any) -> Any:
        """An agent loop, made as verl's worker makes one. Call it inside a running event loop.

        entry: more of the YAML entry (", key: value"); rollout: changes to the rollout's configuration.
        """
        import hydra
        from omegaconf import OmegaConf
        from verl.experimental.agent_loop.agent_loop import DictConfigWrap
        from verl.utils.dataset.rl_dataset import RLHFDataset

        config = OmegaConf.create(self.config)
        config.actor_rollout_ref.rollout.update(rollout)
        target = f"{{name: envtune, _target_: envtune.training.agent_loop.EnvtuneAgentLoop{entry}}}"
        return hydra.utils.instantiate(
            config=OmegaConf.create(target),
            trainer_config=DictConfigWrap(config),
            server_manager=engine,
            tokenizer=self.tokenizer,
            processor=None,
            hf_model_type="llama",
            dataset_cls=RLHFDataset,
            data_config=DictConfigWrap(config.data),
        )
