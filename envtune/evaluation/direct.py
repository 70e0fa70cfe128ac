"""Any model, any suites: an endpoint that is there, or a checkpoint that vLLM serves for the length of the run.

    envtune evaluate --suite bfcl-v3 --base-url URL --model NAME --out DIR
    envtune evaluate --suite bfcl-v3,bfcl-memory --model PATH_OR_HUB_ID --out DIR

Baselines are run like this: the model as released, under the same protocols as what was trained.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import Checkpoint, checkpoint
from envtune.evaluation.endpoint import check_url
from envtune.evaluation.reply_formats import check_format
from envtune.evaluation.server import ServerSettings, VllmServer, chat_template
from envtune.evaluation.session import evaluate_model, load, open_suites, refuse_incomplete, stopped_cleanly
from envtune.evaluation.settings import check_settings
from envtune.evaluation.suite import Target, UserModel, endpoint_key
from envtune.evaluation.suites import Choice
from envtune.files import sha256_json


@dataclass(frozen=True)
class Request:
    """What a user asks for on the command line.

    choices: suites; model: the endpoint's name of it, or without base_url a folder or hub id to serve; out: folder for all
    records; reply_format: "kit" or "fc"; seed, repeats: of the first repeat, and how many; decoding: temperature,
    max_tokens, ...; server: options of `vllm serve`.
    """

    choices: Sequence[Choice]
    model: str
    out: Path
    base_url: str | None = None
    reply_format: str = "kit"
    seed: int = 42
    repeats: int = 1
    decoding: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 16
    user: UserModel | None = None
    server: Mapping[str, Any] = field(default_factory=dict)


def evaluate_request(request: Request) -> dict[str, list[dict[str, Any]]]:
    """Run it; suite -> summaries, one a seed.

    Raises EnvtuneError when something asked for cannot be had, the endpoint refuses, or an item could not be run (what
    was run is kept: the same command goes on from there).
    """
    if request.repeats < 1:
        raise EnvtuneError(f"--repeats is at least 1, not {request.repeats}")
    if request.concurrency < 1:
        raise EnvtuneError(f"--concurrency is at least 1, not {request.concurrency}")
    if not request.model.strip():
        raise EnvtuneError("--model is empty; name the endpoint's model, a folder or a hub id")
    decoding = {name: value for name, value in request.decoding.items() if name in ("temperature", "max_tokens")}
    check_settings(decoding, "the command line")
    check_format(request.reply_format)
    if request.base_url is not None:
        check_url(request.base_url)
    console = Console(stderr=True)
    folder = Path(request.model)
    is_folder = request.base_url is None and folder.is_dir()
    one = Checkpoint(request.model, request.model, None, None)
    if is_folder:
        one = checkpoint(folder.resolve().name, request.model, None)
    template = chat_template(folder) if is_folder else None
    about = {
        "model": one.name,
        "checkpoint": one.name,
        "chat_template_sha256": None if template is None else sha256_json(template),
    }
    seeds = list(range(request.seed, request.seed + request.repeats))
    with stopped_cleanly(), contextlib.ExitStack() as stack:
        opened = stack.enter_context(
            open_suites(request.choices, request.out / "logs", request.user is not None, console)
        )
        url, name = request.base_url, request.model
        if url is None:
            server = stack.enter_context(
                VllmServer(
                    ServerSettings({"seed": request.seed, **request.server}), request.out / "logs" / "server.log"
                )
            )
            load(server, one, console)
            url, name = server.base_url, server.model_name
        target = Target(
            base_url=url,
            model=name,
            label=one.name,
            reply_format=request.reply_format,
            decoding={"temperature": 0.0, "seed": request.seed, **request.decoding},
            checkpoint_sha256=one.sha256,
            user=request.user,
            concurrency=request.concurrency,
            api_key=endpoint_key(),
        )
        ended = evaluate_model(opened.suites, target, request.out, dict.fromkeys(opened.suites, seeds), about, console)
    refuse_incomplete(ended)
    return ended
