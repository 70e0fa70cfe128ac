"""The worker's side of the line protocol: what every benchmark from another package has to offer, and the loop around it.

    .venv-eval/bin/python -m envtune.evaluation.upstream.bfcl        (started by client.py, never by hand)

in   {"op": "open", "options": {...}}                     first line: which benchmark, which data
out  {"ready": true, "versions": {...}, "items": [...]}   or {"error": "one sentence"}, and the process ends
in   {"op": "run", "job": {...}}                          see `Job`; many may be under way at once
out  {"job": 7, "result": {...}}                          see `Result`; or {"job": 7, "error": "...", "who": "suite"}: no verdict,
                                                          whose fault: the suite's or the user simulator's ("user")
in   {"op": "scripts"}                                    what the scripted endpoint says of each item
out  {"scripts": {...}}

Whatever upstream prints goes to stderr, which the client keeps in a log file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

SELF = "the model under test"  # what summaries call a user simulator that is the model itself
DUMP_CHARACTERS = 2_000  # of a last message in which a checker looks for the answer anywhere: a longer one is suspect


@dataclass(frozen=True)
class Item:
    """One item of a benchmark.

    id: upstream's; stratum: the category that is averaged over; cluster: items with the same one are not independent
    (memory: scenario and backend; web search: the question); sha256: of all that defines the item; after: ids of items
    that must have been run before; scored: False for one that only prepares others (a memory prerequisite).
    """

    id: str
    stratum: str
    cluster: str
    sha256: str
    after: tuple[str, ...] = ()
    scored: bool = True


@dataclass(frozen=True)
class Job:
    """One item to be played once.

    number: unlike any other job's of this worker's life; base_url: of the gateway, for this job's requests to the model
    under test, ends in /v1; user_base_url, user_model: the same for the user simulator, None without one; seed: of
    whatever upstream draws; folder: where files may be kept that later items need (of one run, also across a resume).
    """

    number: int
    item: str
    model: str
    base_url: str
    user_model: str | None
    user_base_url: str | None
    seed: int
    folder: Path


@dataclass
class Result:
    """What upstream's scoring says.

    passed: its verdict; score: partial credit in [0, 1] where upstream has one; error_type: upstream's own name of what
    failed, None when passed; details: whatever else a record should have, as JSON values.
    """

    passed: bool
    score: float | None = None
    error_type: str | None = None
    error_message: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Benchmark(Protocol):
    """What a worker offers. `run` is called from several threads at once."""

    def versions(self) -> Mapping[str, str]:
        """What decides a verdict besides the items: package -> version."""
        ...

    def items(self) -> list[Item]:
        """All items, in upstream's order."""
        ...

    def run(self, job: Job) -> Result:
        """Play the item and score it. Upstream's own failures of inference are results (failed, in upstream's words);
        an exception out of here means that there is no verdict."""
        ...

    def scripts(self) -> dict[str, Any]:
        """Item id -> {"agent": [...], "user": [...]}: what a scripted model says at each of its requests, in order.

        A step is {"calls": [{"name", "arguments"}, ...]} or {"text": "..."}; after the last one it repeats for ever.
        """
        ...


class Unavailable(Exception):
    """The benchmark cannot be run here; the message says why and what to do."""


class UserFault(Exception):
    """The model that plays the user said what the benchmark cannot take: no verdict on the model under test."""


def serve(make: Callable[[Mapping[str, Any]], Benchmark]) -> None:
    """Answer lines from stdin until it closes. `make` gets the options and gives the benchmark."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def answer(value: Mapping[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(value, ensure_ascii=False) + "\n")
            answers.flush()

    opening = json.loads(sys.stdin.readline() or "null")
    if opening is None:
        return
    try:
        benchmark = make(opening["options"])
        listed = [asdict(item) for item in benchmark.items()]
        answer({"ready": True, "versions": dict(benchmark.versions()), "items": listed})
    except Unavailable as problem:
        answer({"error": str(problem)})
        return
    except Exception as error:  # noqa: BLE001 - upstream's import or data: the client says it in one sentence
        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {error}"})
        return

    def work(job: Job) -> None:
        try:
            answer({"job": job.number, "result": asdict(benchmark.run(job))})
        except BaseException as error:  # noqa: BLE001 - no verdict; the client decides what that means
            traceback.print_exc()
            who = "user" if isinstance(error, UserFault) else "suite"
            answer({"job": job.number, "error": f"{type(error).__name__}: {error}"[:500], "who": who})

    for line in sys.stdin:
        said = json.loads(line)
        if said["op"] == "scripts":
            answer({"scripts": benchmark.scripts()})
        else:
            job = Job(**{**said["job"], "folder": Path(said["job"]["folder"])})
            threading.Thread(target=work, args=(job,), daemon=True).start()
