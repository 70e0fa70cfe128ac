"""bfcl-eval's handler for chat completions, for one job; its executor, kept from running text of a model's; and the
files in which it keeps memories.

To be imported only after the environment variables are set that upstream reads at import (see bfcl.py).
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils as executor
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler

from envtune.evaluation.calls import REFUSED, is_parameter_name
from envtune.evaluation.upstream.serve import Job
from envtune.files import atomic_write

MODEL = "envtune"  # in upstream's registry; its scorer takes "_" for "/", so there is none in it
UPSTREAMS_TEMPERATURE = 0.001  # what its command line asks for; the gateway sets the one of the run

_SECONDS = 86_400.0  # the gateway decides when a request has failed
_OF_THE_MODEL = (openai.BadRequestError, openai.UnprocessableEntityError)  # what was sent cannot be answered
_ERROR = "Error during inference: "  # how upstream's results say so, and its scorer only asks whether it is text


def register() -> None:
    """Make the model known to upstream's scorer, which asks whether its tools may have dots in their names."""
    MODEL_CONFIG_MAPPING[MODEL] = ModelConfig(
        model_name=MODEL,
        display_name=MODEL,
        url="",
        org="",
        license="",
        model_handler=OpenAICompletionsHandler,
        input_price=None,
        output_price=None,
        is_fc_model=True,
        underscore_to_dot=True,
    )


def connections() -> httpx.Client:
    """What handlers send their requests through. No proxies: the gateway is on this machine."""
    return openai.DefaultHttpxClient(trust_env=False, timeout=_SECONDS)


class Handler(OpenAICompletionsHandler):
    """Upstream's handler with one job's address.

    http: the connections, shared by all jobs; tools: the names that may be executed; owner: the class that has them.
    """

    def __init__(self, job: Job, http: httpx.Client, tools: frozenset[str], owner: type | None) -> None:
        self._base_url, self._http = job.base_url, http
        self._tools = tools
        self._taken = _names_within_reach(owner)
        super().__init__(job.model, UPSTREAMS_TEMPERATURE, MODEL, True)
        self.model_name_underline_replaced = f"envtune_job_{job.number}"

    def _build_client_kwargs(self) -> dict[str, Any]:
        """No retries, and nothing from the environment's variables."""
        return {"api_key": "none", "base_url": self._base_url, "max_retries": 0, "http_client": self._http}

    def generate_with_backoff(self, **kwargs: Any) -> tuple[Any, float]:
        """Upstream's, less its endless retries."""
        start = time.monotonic()
        return self.client.chat.completions.create(**kwargs), time.monotonic() - start

    def decode_execute(self, result: Any, has_tool_call_tag: bool) -> list[str]:
        """Upstream's call strings, which its executor evaluates, each written anew from the call's JSON. Whatever
        upstream cannot decode raises as there."""
        decoded = super().decode_execute(result, has_tool_call_tag)
        calls = [result] if isinstance(result, dict) else result
        if not decoded:
            return decoded
        return [self._call(name, given) for call in calls for name, given in call.items()]

    def _call(self, name: str, given: Any) -> str:
        arguments = json.loads(given) if isinstance(given, str) else given
        if name not in self._tools:
            return self._unknown(name)
        if not all(map(is_parameter_name, arguments)) or not _is_finite(arguments):
            return REFUSED
        return f"{name}({','.join(f'{key}={value!r}' for key, value in arguments.items())})"

    def _unknown(self, name: str) -> str:
        """A call that fails as upstream's does, "name '...' is not defined", where nothing within reach is called so."""
        first = name.split(".")[0]
        return f"{first}()" if is_parameter_name(first) and first not in self._taken else REFUSED


def _names_within_reach(owner: type | None) -> frozenset[str]:
    """What a name could mean where upstream evaluates a call."""
    local = executor.execute_multi_turn_func_call.__code__.co_varnames
    return frozenset({*dir(builtins), *list(vars(executor)), *local, *(dir(owner) if owner else ())})


def _is_finite(arguments: Mapping[str, Any]) -> bool:
    """Whether Python's repr of parsed JSON is a literal: only infinity and NaN are not."""
    try:
        json.dumps(arguments, allow_nan=False)
    except ValueError:
        return False
    return True


def backend(name: str) -> type:
    """The class of a tool set; importing that of memory_vector loads its model."""
    return getattr(importlib.import_module(CLASS_FILE_PATH_MAPPING[name]), name)


def vector_memory(entry: Mapping[str, Any], lock: threading.Lock) -> Any:
    """The object with an entry's vector memory. All of them share one tokenizer, which two threads must not use at once,
    so computing embeddings is made to take turns; upstream's own loop would load the memory without that."""
    (name,) = entry["involved_classes"]
    memory = backend(name)()
    for store in (memory.core_memory, memory.archival_memory):

        def embed(text: Any, embed: Any = store._embed) -> Any:
            with lock:
                return embed(text)

        store._embed = embed
    memory._load_scenario(entry["initial_config"][name])
    return memory


@contextlib.contextmanager
def handler_of(job: Job, http: httpx.Client, entry: Mapping[str, Any], made: Any = None) -> Iterator[Handler]:
    """The handler for a job, with nothing left behind at the end.

    http: see `connections`; made: the object whose methods are the entry's tools, where it is not for upstream's executor to make one.
    """
    classes = entry.get("involved_classes") or [None]
    owner = type(made) if made is not None else classes[0] and backend(classes[0])
    handler = Handler(job, http, frozenset(tool["name"] for tool in entry["function"]), owner)
    prefix = f"{handler.model_name_underline_replaced}_"
    try:
        if made is not None:
            name = re.sub(r"[-./:]", "_", f"{prefix}{entry['id']}_{classes[0]}_instance")
            vars(executor)[name] = made
        yield handler
    finally:
        for name in [name for name in list(vars(executor)) if name.startswith(prefix)]:
            del vars(executor)[name]


def play(handler: Handler, entry: dict[str, Any]) -> tuple[Any, str | None]:
    """(what upstream writes as the result, None), or (its text for a failed inference, the error's name).

    Raises where the failure is not the model's: the endpoint gave out, the disk is full.
    """
    try:
        result, _ = handler.inference(entry, include_input_log=False, exclude_state_log=True)
    except _OF_THE_MODEL as error:
        return f"{_ERROR}{error}", type(error).__name__
    except (openai.APIError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - as upstream: its loop failed on what the model said
        return f"{_ERROR}{error}", type(error).__name__
    return json.loads(json.dumps(result)), None


class Snapshots:
    """The memories that the prerequisites of one scenario left: a checkpoint of each, and the one that upstream loads.

    Upstream writes both when a conversation has ended. If the process ends between that and the record of the item, the
    item is played again, and must not find its own memory; so what is loaded is always restored from the checkpoint of
    the conversation before. One that failed for a reason of the model's leaves no checkpoint but a mark, and the memory
    stays as it was, as upstream.
    """

    def __init__(self, folder: Path, scenario: str) -> None:
        self._checkpoints = folder / "prereq_checkpoints"
        self._loaded = folder / f"{scenario}_final.json"

    def restore(self, before: Sequence[str]) -> None:
        """Make the memory to be loaded that after the conversations `before`. Raises FileNotFoundError where one of
        them has left nothing at all, ValueError where its checkpoint is no JSON."""
        source = None
        for identity in before:
            if self._checkpoint(identity).is_file():
                source = self._checkpoint(identity)
            elif not self._mark(identity).is_file():
                raise FileNotFoundError(f"{self._checkpoint(identity)}: there is no memory of a conversation before")
        if source is None:
            self._loaded.unlink(missing_ok=True)
            return
        content = source.read_bytes()
        json.loads(content)
        if not self._loaded.is_file() or self._loaded.read_bytes() != content:
            with atomic_write(self._loaded, "wb") as stream:
                stream.write(content)

    def forget(self, identity: str) -> None:
        """Before a conversation is played: nothing is left of an earlier attempt."""
        self._checkpoint(identity).unlink(missing_ok=True)
        self._mark(identity).unlink(missing_ok=True)

    def keep(self, identity: str) -> None:
        """After it: its checkpoint will outlast a crash of the machine. Raises FileNotFoundError without one."""
        with self._checkpoint(identity).open("rb") as stream:
            os.fsync(stream.fileno())

    def failed(self, identity: str, why: str) -> None:
        """After one that failed for a reason of the model's."""
        with atomic_write(self._mark(identity)) as stream:
            stream.write(why + "\n")

    def _checkpoint(self, identity: str) -> Path:
        return self._checkpoints / f"{identity}.json"

    def _mark(self, identity: str) -> Path:
        return self._checkpoints / f"{identity}.failed"
