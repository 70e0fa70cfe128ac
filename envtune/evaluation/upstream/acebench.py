"""ACEBench's agent tasks, played and scored by evalscope's port of ACEBench (a worker, see serve.py).

options: data (folder, or null: acebench_data.py), language ("en" or "zh"), max_dialog_turns (messages and executions
of a dialog; null: upstream's 40), strata, user (whether there is a user
simulator, which agent_multi_turn needs).

Not upstream's: a reply that its loop cannot take is a failed item of the type "rollout_error" and keeps no state,
as in evalscope, but an endpoint that gives out is no verdict, where evalscope's own run would score a zero. Nor is there
one where the user simulator's reply cannot be taken or is empty.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any

from envtune.errors import EnvtuneError
from envtune.evaluation.upstream.acebench_data import COMMIT, SHA256, STRATA, acebench_files, acebench_records
from envtune.evaluation.upstream.serve import Item, Job, Result, Unavailable, UserFault, serve
from envtune.files import sha256_json

if TYPE_CHECKING:
    from evalscope.api.dataset import Sample
    from evalscope.api.model import Model

NO_REPLY = "user:"  # an empty one, as the rollout keeps it
FINISH = "finish conversation"
DONE = "That is done."
REPLY_SECONDS = 3600.0  # the gateway decides when an endpoint has given out
# As evalscope's own adapter asks its user simulator (ACEBench: gpt-4o at this temperature).
USER_SAMPLING = (("temperature", 0.001), ("top_p", 1), ("max_tokens", 1000))
TOO_LONG = "context_length_exceeded"


class AceBenchAgent:
    """The benchmark over records of acebench_data.acebench_records (a serve.Benchmark)."""

    def __init__(
        self, records: Sequence[Mapping[str, Any]], language: str, max_dialog_turns: int | None = None
    ) -> None:
        from evalscope.api.registry import get_benchmark
        from evalscope.config import TaskConfig

        for name in (None, "evalscope"):  # it sets the root logger to tell of every request
            logging.getLogger(name).setLevel(logging.ERROR)
        arguments = {"subset_list": list(STRATA), "extra_params": {"language": language, "user_model": "a job's own"}}
        self._adapter: Any = get_benchmark("acebench", TaskConfig(dataset_args={"acebench": arguments}))
        if max_dialog_turns is not None:
            self._adapter.max_dialog_turns = max_dialog_turns
        self._language = language
        self._samples: dict[str, Sample] = {}
        self._hashes = {}
        for record in records:
            self._samples[record["id"]] = self._adapter.record_to_sample(dict(record))
            self._hashes[record["id"]] = sha256_json({"language": language, "record": record})

    def versions(self) -> dict[str, str]:
        """evalscope's, and the data's."""
        limit = {"max_dialog_turns": str(self._adapter.max_dialog_turns)}
        return {"evalscope": version("evalscope"), "acebench": f"{COMMIT[:7]}-{self._language}", **limit}

    def items(self) -> list[Item]:
        """In the order of the data; each is independent of the others."""
        return [
            Item(id=key, stratum=str(sample.subset_key), cluster=key, sha256=self._hashes[key])
            for key, sample in self._samples.items()
        ]

    def run(self, job: Job) -> Result:
        """Play one task. Raises what the model's client raises, UserFault and what this machine lacks (room on the disk,
        memory): then there is no verdict."""
        from evalscope.api.agent import EventType
        from evalscope.api.evaluator import TaskState
        from evalscope.benchmarks.acebench.rollout import run_rollout
        from evalscope.models.utils.openai import EmptyCompletionError
        from openai import OpenAIError

        sample = copy.deepcopy(self._samples[job.item])  # scoring reads the rollout from its metadata
        metadata: dict[str, Any] = dict(sample.metadata or {})
        details: dict[str, Any] = {}
        broken: Exception | None = None
        with _model(job.model, job.base_url) as agent, _user(job, str(sample.subset_key)) as user:
            try:
                rollout = run_rollout(agent, metadata, max_steps=self._adapter.max_dialog_turns, user_model=user)
            except (OpenAIError, OSError, MemoryError):
                raise
            except Exception as error:  # a reply that upstream's loop cannot take, whatever that raises
                if _of_the_user(error.__traceback__):
                    raise UserFault(f"{type(error).__name__}: {error}") from error
                if isinstance(error, EmptyCompletionError):
                    raise
                broken = error
                kinds: list[Any] = []
                reasons: list[Any] = []
            else:
                if any(message.text.strip() == NO_REPLY for message in rollout.messages):
                    raise UserFault("the user simulator gave an empty reply")
                metadata.update(process=rollout.process, end_state=rollout.end_state)
                kinds = [event.type for event in rollout.trace.events]
                reasons = [event.payload.get("stop_reason") for event in rollout.trace.events]
        sample.metadata = metadata
        score = self._adapter.match_score("", "", "", TaskState(model=job.model, sample=sample))
        passed, process = score.value["acc"] == 1.0, float(score.value["process_acc"])
        details |= {"process_accuracy": process, "end_state": passed, "finished": EventType.SUBMIT in kinds}
        if defects := known_defects(sample):
            details["known_defects"] = defects
        if passed:
            return Result(passed=True, score=process, details=details)
        kind = str(score.metadata["error_type"]) or "wrong_end_state"
        message = str(score.explanation)
        if broken is not None:
            kind, message = "rollout_error", f"{type(broken).__name__}: {broken}"
        elif "model_length" in reasons:
            kind = TOO_LONG  # upstream took the endpoint's refusal for a reply, again and again
        return Result(passed=False, score=process, error_type=kind, error_message=message[:500], details=details)

    def scripts(self) -> dict[str, Any]:
        """The milestones (the first list where there are several), then the end. They do not all reach the end state."""
        scripts = {}
        for key, sample in self._samples.items():
            metadata: Mapping[str, Any] = sample.metadata or {}
            stones = metadata["mile_stone"]
            calls = [{"text": decodable(str(stone))} for stone in (stones[0] if _alternatives(stones) else stones)]
            if sample.subset_key == "agent_multi_turn":
                user = [{"text": metadata["question"]}, {"text": FINISH}]
                scripts[key] = {"agent": [*calls, {"text": DONE}], "user": user}
            else:
                scripts[key] = {"agent": [*calls, {"text": FINISH}], "user": []}
        return scripts


def _of_the_user(traceback: TracebackType | None) -> bool:
    """Whether upstream was asking the user simulator."""
    owners = (frame.f_locals.get("self") for frame, _ in walk_tb(traceback))
    return any(type(owner).__name__ == "_UserSimulator" for owner in owners)


def known_defects(sample: Sample) -> list[str]:
    """What is wrong with a task's expected end state, found by evalscope's own check."""
    from evalscope.benchmarks.acebench.checker import check_agent_end_state
    from evalscope.benchmarks.acebench.scenarios import (
        CLASS_MODULE_MAPPING,
        load_scenario_instances,
        snapshot_states,
    )

    metadata: Mapping[str, Any] = sample.metadata or {}
    expected = metadata["ground_truth"]
    states = expected if isinstance(expected, list) else [expected]
    unknown = sorted({name for state in states for name in state if name not in CLASS_MODULE_MAPPING})
    found = [f"never compares {name}, which is no class of ACEBench" for name in unknown]
    untouched = load_scenario_instances(metadata["initial_config"], metadata["involved_classes"], metadata["language"])
    if check_agent_end_state(snapshot_states(untouched), expected)["valid"]:
        found.append("passes with no action")
    return found


def decodable(milestone: str) -> str:
    """A milestone as upstream's parser takes it: many hold an apostrophe inside single quotes."""
    from evalscope.benchmarks.acebench.parser import decode_execution_calls

    text = milestone.strip()
    try:
        decode_execution_calls(text)
    except SyntaxError:
        return re.sub(r"(?<=[=\[{(,: ])'(.*?)'(?=\s*[,)\]}:])", lambda quoted: repr(quoted[1]), text)
    return text


def _alternatives(stones: Any) -> bool:
    return isinstance(stones, list) and bool(stones) and all(isinstance(stone, list) for stone in stones)


@contextmanager
def _model(name: str, address: str, sampling: Sequence[tuple[str, Any]] = ()) -> Iterator[Model]:
    """evalscope's model for an endpoint, which never tries twice and is kept by nobody."""
    from evalscope.api.model import GenerateConfig, get_model
    from evalscope.constants import EvalType

    model = get_model(
        name,
        EvalType.OPENAI_API,
        base_url=address,
        api_key="none",
        config=GenerateConfig(retries=1, **dict(sampling)),
        model_args={"max_retries": 0, "timeout": REPLY_SECONDS},
        memoize=False,
    )
    try:
        yield model
    finally:
        model.api.client.close()  # type: ignore[attr-defined]


@contextmanager
def _user(job: Job, stratum: str) -> Iterator[Model | None]:
    """The user simulator of an item that has one."""
    if stratum != "agent_multi_turn":
        yield None
        return
    if job.user_base_url is None or job.user_model is None:
        raise Unavailable(f"{job.item} needs a user simulator; name one, or leave out agent_multi_turn")
    with _model(job.user_model, job.user_base_url, USER_SAMPLING) as user:
        yield user


def make(options: Mapping[str, Any]) -> AceBenchAgent:
    """The benchmark for a worker's options. Raises Unavailable."""
    strata = tuple(options.get("strata") or STRATA)
    language = str(options.get("language") or "en")
    if unknown := sorted(set(strata) - set(STRATA)):
        raise Unavailable(f"acebench-agent has no stratum {unknown[0]!r}; name some of {', '.join(STRATA)}")
    if language not in SHA256:
        raise Unavailable(f"acebench-agent has no language {language!r}; name one of {', '.join(SHA256)}")
    if "agent_multi_turn" in strata and not options.get("user"):
        raise Unavailable("agent_multi_turn needs a user simulator; name one, or leave that stratum out")
    turns = options.get("max_dialog_turns")
    if turns is not None and (not isinstance(turns, int) or isinstance(turns, bool) or turns < 1):
        raise Unavailable(f"max_dialog_turns is a whole number from 1 up, not {turns!r}")
    folder = Path(options["data"]) if options.get("data") else None
    try:
        return AceBenchAgent(acebench_records(acebench_files(folder, language), strata), language, turns)
    except EnvtuneError as problem:
        raise Unavailable(str(problem)) from problem


if __name__ == "__main__":
    serve(make)
