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


class NoVerdict(Exception):
    """The worker gave no verdict on an item: its process ended, or what it runs raised."""


class UnavailableSuite(EnvtuneError):
    """The suite cannot be run on this machine (its environment or data is missing); others can."""


class Worker:
    """A running worker. items, versions: as it said when it started; `run` may be called many times at once.

    command: that starts it; options: for its `make`; log: file for what upstream prints.
    """

    def __init__(self, command: Sequence[str], options: Mapping[str, Any], log: Path) -> None:
        self.items: tuple[Item, ...] = ()
        self.versions: dict[str, str] = {}
        self.log = log
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as errors:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        try:
            opened = self._ask({"op": "open", "options": dict(options)})
        except BaseException:
            self.close()
            raise
        self.items = tuple(Item(**{**item, "after": tuple(item["after"])}) for item in opened["items"])
        self.versions = dict(opened["versions"])

    def scripts(self) -> dict[str, Any]:
        """What the scripted endpoint says of each item; only before the first `run`."""
        return dict(self._ask({"op": "scripts"})["scripts"])

    async def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The `serve.Result` of one job, as a dictionary. Raises NoVerdict."""
        first, self._loop = self._loop is None, asyncio.get_running_loop()
        if first:
            threading.Thread(target=self._read, daemon=True).start()
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        with self._lock:
            if self._process.poll() is not None:
                raise NoVerdict(f"the suite's process has ended; its output is in {self.log}")
            self._waiting[int(job["number"])] = answer
            self._write({"op": "run", "job": dict(job)})
        said = await answer
        if "result" not in said:
            raise NoVerdict(str(said["error"]))
        return dict(said["result"])

    def close(self) -> None:
        """End the process and what it started."""
        process = self._process
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()

    def _ask(self, said: Mapping[str, Any]) -> dict[str, Any]:
        self._write(said)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UnavailableSuite(f"the suite's process ended before it was ready; its output is in {self.log}")
        answer = dict(json.loads(line))
        if "error" in answer:
            raise UnavailableSuite(str(answer["error"]))
        return answer

    def _write(self, said: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the reading side says that the process has ended
            self._process.stdin.write(json.dumps(said) + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        """Hand answers to whoever waits for them; a process that ends leaves nobody waiting."""
        assert self._process.stdout is not None and self._loop is not None
        for line in self._process.stdout:
            said = json.loads(line)
            self._loop.call_soon_threadsafe(self._give, said["job"], said)
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._give_up)

    def _give(self, number: int, said: dict[str, Any]) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(said)

    def _give_up(self) -> None:
        with self._lock:
            numbers = list(self._waiting)
        for number in numbers:
            self._give(number, {"error": f"the suite's process ended; its output is in {self.log}"})


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


def _environment() -> dict[str, str]:
    """Ours without what belongs to this process's Python, and without keys of the endpoint: the gateway has those."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "OPENAI_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "ENVTUNE_CACHE": str(cache_dir())}
