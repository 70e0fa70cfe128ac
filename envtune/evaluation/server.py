"""vLLM's own OpenAI server as a child process: started, watched, given other checkpoints, always stopped.

    with VllmServer(model, settings, log) as server:
        server.load(checkpoint)          # in place where that works, else by a new start
        ... server.base_url, server.model_name ...

The same command runs on CPU and GPU; the profile's settings differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from envtune.errors import EnvtuneError

_EXTENSION = "envtune.evaluation.vllm_worker.CheckpointWorker"


@dataclass(frozen=True)
class ServerSettings:
    """How vLLM is started.

    options: command-line options of `vllm serve` without the dashes; True stands for a bare flag, False and None leave
    it out. environment: variables added to this process's. start_s: how long a start may take.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 900.0


class VllmServer:
    """A context manager. Nothing is started before the first `load`.

    log: file that the server's output is appended to.
    """

    model_name = "policy"

    def __init__(self, settings: ServerSettings, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._loaded: Path | None = None

    def __enter__(self) -> VllmServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Address of the running server, with its /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def load(self, model: str) -> str:
        """Serve `model`, a folder or a hub id; gives "started" or "reloaded", or "" when it was served already.

        A folder is loaded into the running server when its architecture, tokenizer and chat template are the same, and
        the weights served are then compared with the folder's. Where any of it fails, the server is started anew.
        """
        folder = Path(model) if Path(model).is_dir() else None
        running = self._process is not None and self._process.poll() is None
        if running and folder is not None and folder == self._loaded:
            return ""
        if running and folder and self._loaded and _same_tokens(folder, self._loaded) and self._reload(folder):
            self._loaded = folder
            return "reloaded"
        self.stop()
        self._start(model)
        self._loaded = folder
        return "started"

    def check(self) -> None:
        """Raise EnvtuneError, with the log's last error, when the server has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise EnvtuneError(f"vLLM's server ended by itself: {_last_error(self._log)}")

    def stop(self) -> None:
        """End the server and all its processes. Nothing happens when none runs."""
        process, self._process = self._process, None
        self._loaded = None
        if process is None:
            return
        for sign, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
                if not _group_lives(process.pid, 5):
                    return

    # ---- start

    def _start(self, model: str) -> None:
        self._port = _free_port()
        options = {
            "model": model, "served-model-name": self.model_name, "host": "127.0.0.1", "port": self._port,
            "worker-extension-cls": _EXTENSION,
            "generation-config": "vllm",  # sampling is what the request says, whatever file lies beside the weights
            **self._settings.options,
        }  # fmt: skip
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *_arguments(options)]
        # The development endpoints are those that load weights and clear the cache; only this machine reaches them.
        environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        environment |= dict(self._settings.environment)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "ab") as log:
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_up(model)
        except BaseException:
            self.stop()
            raise

    def _wait_until_up(self, model: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._settings.start_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise EnvtuneError(f"vLLM's server ended while it loaded {model}: {_last_error(self._log)}")
            with contextlib.suppress(OSError):
                self._request("/health", None, 5)
                return
            time.sleep(0.5)
        raise EnvtuneError(
            f"vLLM's server for {model} was not up after {self._settings.start_s:.0f} s; see {self._log}"
        )

    # ---- other weights

    def _reload(self, folder: Path) -> bool:
        """Load `folder` into the running server; whether the server now serves exactly these weights."""
        if int(self._settings.options.get("tensor-parallel-size") or 1) != 1:
            return False  # each rank holds a part, some parts twice: the check below would not hold
        try:
            call = {"method": "envtune_load", "args": [str(folder), str(self._loaded)]}
            (sums,) = self._request("/collective_rpc", call, 1800)["results"]
            # Keys and values computed with the old weights must not be used again.
            return sums["served"] == sums["checkpoint"] and bool(
                self._request("/reset_prefix_cache", {}, 60)["success"]
            )
        except (OSError, KeyError, ValueError):  # a vLLM without these endpoints, or one that could not load
            return False

    def _request(self, path: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
        """GET (no body) or POST to the server. Raises OSError when it cannot be reached or refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}", data, {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
        with opener.open(request, timeout=timeout_s) as response:
            content = response.read()
        return json.loads(content) if content else {}


def _arguments(options: Mapping[str, Any]) -> list[str]:
    listed: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        listed.append(f"--{name}")
        if value is not True:
            listed.append(value if isinstance(value, str) else json.dumps(value))
    return listed


def _same_tokens(a: Path, b: Path) -> bool:
    """Whether two folders turn a conversation into the same tokens: equal vocabularies, rules and chat templates."""
    return _tokenizer(a) == _tokenizer(b) and chat_template(a) == chat_template(b)


def _tokenizer(folder: Path) -> Any:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {key: value for key, value in tokenizer.items() if key not in ("padding", "truncation")}


def chat_template(folder: Path) -> str | None:
    """The chat template of a model folder: of chat_template.jinja, else of tokenizer_config.json; None without one."""
    if (folder / "chat_template.jinja").exists():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    path = folder / "tokenizer_config.json"
    template = json.loads(path.read_text(encoding="utf-8")).get("chat_template") if path.exists() else None
    return template if template is None else str(template)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _group_lives(group: int, patience_s: float) -> bool:
    """Whether a process group still has processes after at most `patience_s`."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def _last_error(log: Path) -> str:
    """The last line of a log that names an error, for the one sentence that a user reads."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if "Error" in line]
    return f"{(errors or lines or ['no output'])[-1].strip()[-300:]} (all of it: {log})"
