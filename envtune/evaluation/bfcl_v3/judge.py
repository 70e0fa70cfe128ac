"""The judge of record: bfcl-eval's own `multi_turn_checker`, in a process of its own.

The checker comes unchanged from the pinned wheel of the task's release. It evaluates call strings, so it gets only
those that `calls.py` wrote; and it runs elsewhere, so that nothing it does reaches this process. The rules of BFCL's
runner around it are applied here: an entry whose number of turns is not the ground truth's is invalid
(`multi_turn:force_terminated`), and so is one that broke off (`multi_turn:inference_error`; here: the conversation
outgrew the model's context).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from envtune.bfcl import get_release
from envtune.bfcl.classes import CLASS_FILES
from envtune.environment import StopReason, Trajectory
from envtune.errors import EnvtuneError
from envtune.evaluation.calls import Turns, judged_turns
from envtune.tasks import Task

_WORKER = Path(__file__).with_name("judge_worker.py")


@dataclass(frozen=True)
class Verdict:
    """valid: BFCL's verdict; error_type: BFCL's own name of what failed; notes: calls that were replaced, and why."""

    valid: bool
    error_type: str | None
    error_message: str | None
    notes: tuple[str, ...] = ()


class JudgeError(Exception):
    """The checker gave no verdict (its process died or took too long): the item counts as not run, not as wrong."""


class Judge:
    """A context manager around the checker's process for one release; safe to use from several threads.

    seconds: the longest that one entry may take (some milliseconds is usual).
    """

    def __init__(self, release: str, seconds: int = 60) -> None:
        self.release = release
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. The judge can be used again; it then starts a new one."""
        with self._lock:
            self._stop()

    def verdict(self, task: Task, trajectory: Trajectory) -> Verdict:
        """BFCL's verdict on a trajectory of `task`. Raises JudgeError when there is none."""
        turns, replaced = judged_turns(task, trajectory)
        notes = [note if number == 1 else f"{note} ({number} times)" for note, number in Counter(replaced).items()]
        if trajectory.stop_reason is StopReason.OVER_BUDGET:
            message = f"the conversation outgrew the model's context in turn {len(turns)}"
            return Verdict(False, "multi_turn:inference_error", message, tuple(notes))
        judged = self.verdict_on_calls(task, turns)
        return Verdict(judged.valid, judged.error_type, judged.error_message, tuple(notes))

    def verdict_on_calls(self, task: Task, turns: Turns) -> Verdict:
        """The verdict on call strings that are known to be safe: those of `calls.py`, or a ground truth."""
        if task.release != self.release:
            raise EnvtuneError(f"{task.id} is of release {task.release!r}; this judge is for {self.release!r}")
        wanted = len(task.ground_truth)
        if len(turns) != wanted:
            message = f"{len(turns)} turns were played, the ground truth has {wanted}"
            return Verdict(False, "multi_turn:force_terminated", message)
        answer = self._ask(
            {
                "entry": {
                    "id": task.id,
                    "initial_config": task.initial_config,
                    "involved_classes": list(task.involved_classes),
                },
                "turns": turns,
                "ground_truth": [list(turn) for turn in task.ground_truth],
                "seconds": self._seconds,
            }
        )
        if "verdict" in answer:
            verdict = answer["verdict"]
            return Verdict(verdict["valid"], verdict["error_type"], verdict["error_message"])
        if answer["fault"] == "calls":  # the calls led the checker into an exception: upstream would stop here
            return Verdict(False, "judge:exception", answer["error"])
        raise JudgeError(answer["error"])

    def _ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
            if not line:
                self._stop()
                raise JudgeError("the judge's process ended")
            return dict(json.loads(line))

    def _start(self) -> subprocess.Popen[str]:
        folder = get_release(self.release).folder().parent
        self._process = process = subprocess.Popen(
            [sys.executable, "-I", str(_WORKER), str(folder), *CLASS_FILES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert process.stdout is not None
        if not process.stdout.readline():
            self._stop()
            raise EnvtuneError(f"bfcl-eval's checker in {folder} does not start; see the message above it")
        return process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has gone already
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
