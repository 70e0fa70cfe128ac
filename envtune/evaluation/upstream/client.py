"""Our side of a worker: a process in `.venv-eval` that runs another package's benchmark (serve.py has the protocol).

with start_worker("bfcl", {"suite": "bfcl-memory"}, log) as worker:
    worker.items, worker.versions
    result = await worker.run({...})
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.evaluation.upstream.serve import Item
from envtune.files import cache_dir
from envtune.profile import ROOT

RESTARTS = 8  # of one run: an item that ends the process each time must not go on for ever


class NoVerdict(Exception):
    """The worker gave no verdict on an item: its process ended, or what it runs raised. who: suite | user (the model that
    plays the user)."""

    def __init__(self, message: str, who: str = "suite") -> None:
        super().__init__(message)
        self.who = who


class UnavailableSuite(EnvtuneError):
    """The suite cannot be run on this machine (its environment or data is missing); others can."""


class Worker:
    """A running worker. items, versions: as it said when it started; `run` may be called many times at once.

    A process that has ended is started anew by the next `run`, up to RESTARTS times after each `begin`.
    command: that starts it; options: for its `make`; log: file for what upstream prints.
    """

    def __init__(self, command: Sequence[str], options: Mapping[str, Any], log: Path) -> None:
        self.log = log
        self._command, self._options = list(command), dict(options)
        self._starting = threading.Lock()
        self._restarts = 0
        self._closed = False
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process, opened = self._start()
        self.items = tuple(Item(**{**item, "after": tuple(item["after"])}) for item in opened["items"])
        self.versions = dict(opened["versions"])
        self._opened = opened

    def scripts(self) -> dict[str, Any]:
        """What the scripted endpoint says of each item; only before the first `run`."""
        return dict(self._process.ask({"op": "scripts"})["scripts"])

    def begin(self) -> None:
        """A run begins: it may start the process anew RESTARTS times."""
        self._restarts = 0

    async def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The `serve.Result` of one job, as a dictionary. Raises NoVerdict."""
        if self._process.has_ended:
            await asyncio.to_thread(self._start_anew)
        said = await self._process.answer_to(job)
        if "result" not in said:
            raise NoVerdict(str(said["error"]), str(said.get("who", "suite")))
        return dict(said["result"])

    def close(self) -> None:
        """End the process and what it started."""
        with self._starting:
            self._closed = True
            self._process.close()

    def _start(self) -> tuple[_Process, dict[str, Any]]:
        """A process and what it says of itself. Raises UnavailableSuite."""
        process = _Process(self._command, self.log, _environment(self._options))
        try:
            return process, process.ask({"op": "open", "options": self._options})
        except BaseException:
            process.close()
            raise

    def _start_anew(self) -> None:
        """Replace a process that has ended. Raises NoVerdict where that is of no use, and EnvtuneError where the new one
        has other items or versions."""
        with self._starting:
            if not self._process.has_ended:
                return
            if self._closed or self._restarts == RESTARTS:
                raise NoVerdict(
                    f"the suite's process has ended {self._restarts + 1} times; its output is in {self.log}"
                )
            self._restarts += 1
            self._process.close()
            try:
                process, opened = self._start()
            except UnavailableSuite as error:
                raise NoVerdict(str(error)) from error
            self._process = process
        if opened != self._opened:
            raise EnvtuneError("the suite's packages or data have changed while it ran; start a new evaluation of it")


class _Process:
    """One process of a worker. Whoever waits for an answer gets one, also when it ends."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        with open(log, "ab") as errors:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def ask(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a line, before the first job. Raises UnavailableSuite."""
        self._write(said)
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise UnavailableSuite(f"the suite's process ended before it was ready; its output is in {self._log}")
        answer = dict(json.loads(line))
        if "error" in answer:
            raise UnavailableSuite(str(answer["error"]))
        return answer

    def answer_to(self, job: Mapping[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Send a job; the future gets what the process answers."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self.has_ended:
                answer.set_result(self._no_answer())
                return answer
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, daemon=True)
                self._reader.start()
            self._waiting[int(job["number"])] = answer
            self._write({"op": "run", "job": dict(job)})
        return answer

    def close(self) -> None:
        """End the process and what it started."""
        with contextlib.suppress(OSError):
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        try:
            self._popen.wait(timeout=2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, 9)
            self._popen.wait()

    def _no_answer(self) -> dict[str, Any]:
        return {"error": f"the suite's process ended; its output is in {self._log}"}

    def _write(self, said: Mapping[str, Any]) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the reading side says that the process has ended
            self._popen.stdin.write(json.dumps(said) + "\n")
            self._popen.stdin.flush()

    def _read(self) -> None:
        """Hand answers to whoever waits for them; a process that ends leaves nobody waiting."""
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            said = json.loads(line)
            self._give(said["job"], said)
        self._popen.wait()
        with self._lock:
            numbers = list(self._waiting)
        for number in numbers:
            self._give(number, self._no_answer())

    def _give(self, number: int, said: dict[str, Any]) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting is not None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now
                waiting.get_loop().call_soon_threadsafe(_set, waiting, said)


def _set(waiting: asyncio.Future[dict[str, Any]], said: dict[str, Any]) -> None:
    if not waiting.done():
        waiting.set_result(said)


@contextlib.contextmanager
def start_worker(module: str, options: Mapping[str, Any], log: Path) -> Iterator[Worker]:
    """A worker for the length of a with block. Raises UnavailableSuite when its environment or data is missing."""
    worker = Worker([_python(), "-m", f"envtune.evaluation.upstream.{module}"], options, log)
    try:
        yield worker
    finally:
        worker.close()


def _python() -> str:
    """The interpreter of the evaluation environment; `ENVTUNE_EVAL_PYTHON` names another one."""
    path = Path(os.environ.get("ENVTUNE_EVAL_PYTHON") or ROOT / ".venv-eval" / "bin" / "python")
    if not path.exists():
        raise UnavailableSuite("this suite needs an environment of its own: run `make setup-eval` first")
    return str(path)


def _environment(options: Mapping[str, Any]) -> dict[str, str]:
    """Ours without what belongs to this process's Python, and without keys that the worker has no use for: the gateway has
    those of the endpoints, and only live web tools search."""
    left_out = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    left_out |= {"ENVTUNE_API_KEY", "ENVTUNE_USER_API_KEY", "OPENAI_API_KEY"}
    if options.get("mode") not in ("live", "record"):
        left_out.add("SERPAPI_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "ENVTUNE_CACHE": str(cache_dir())}
