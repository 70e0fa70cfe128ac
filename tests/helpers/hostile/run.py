"""Running entries of the corpus, and saying what is wrong with the answers.

python -m helpers.hostile.run ROUNDS (in tests/) runs all but the longest entries so often and prints, as JSON, the resident memory
after each round, in bytes.
"""

from __future__ import annotations

import ast
import functools
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envtune.environment import ApiState, CallResult, Episode, Step, ToolCall, Trajectory
from envtune.environment.executor import ERROR_PREFIX
from envtune.environment.gold import gold_turns, state_differences
from envtune.tasks import Task, load_tasks
from helpers.hostile import INSTANCE, Hostile, Kind, corpus
from helpers.hostile.watch import Watch

SECONDS = 1.0  # of the processor, for one answer
WAITED = 10.0  # seconds of the clock: as much as a busy machine may make of it
MAX_TEXT = 1_100_000  # characters of one result: the executor's limit, and a sentence around it
MAX_MESSAGE = 5_000_000  # characters of the message that answers a reply
MEMORY = 1 << 30  # bytes that payloads may add to the process's address space
SHORT = 12  # payloads: entries with more are left out when memory is measured, since they take most of the time
MODES = (("training", "augmented"), ("bfcl", "standard"))


def task_for(entry: Hostile, release: str) -> Task:
    """The first task with the classes that the entry is about."""
    return _task(entry.classes, entry.category, release)


@functools.cache
def _task(classes: tuple[str, ...], category: str, release: str) -> Task:
    tasks = (task for task in load_tasks(release) if task.category == category)
    return next(task for task in tasks if set(classes) <= set(task.involved_classes))


def problems(
    entry: Hostile, release: str, watch: Watch, rules: str = "training", feedback: str = "augmented"
) -> list[str]:
    """Run the entry on a fresh episode: what was wrong, a line each; nothing for an entry that was answered as data."""
    task = task_for(entry, release)
    gold = gold_turns(task)
    if entry.kind is Kind.REPLY:
        return _replies(entry, Episode(task, feedback, 20 if rules == "bfcl" else 5, rules), watch)
    api, found = ApiState(task), []
    for number, payload in enumerate(entry.payload):
        results, wrong = _timed(watch, functools.partial(_execute, api, task, payload))
        found += [f"call {number}: {line}" for line in wrong]
        for result in results or ():
            found += [f"call {number}: {line}" for line in wrong_with(result)]
            if entry.refused and not result.raised:
                found.append(f"call {number}: ran, and gave {result.text[:80]!r}")
    _, wrong = _timed(watch, lambda: state_differences(api, gold[-1]))
    return found + [f"the state's comparison: {line}" for line in wrong]


def _execute(api: ApiState, task: Task, payload: str | ToolCall) -> list[CallResult]:
    if isinstance(payload, ToolCall):
        return [api.call(payload)]
    return api.run([payload.replace(INSTANCE, f"model_{task.id}_{task.involved_classes[0]}_instance")])


def _replies(entry: Hostile, episode: Episode, watch: Watch) -> list[str]:
    found = []
    episode.start()
    for number, reply in enumerate(entry.payload):
        if episode.done:
            break
        step, wrong = _timed(watch, functools.partial(episode.step, str(reply)))
        found += [f"reply {number}: {line}" for line in wrong]
        if step is not None:
            found += [f"reply {number}: {line}" for line in _wrong_with_step(step)]
            ran = entry.refused and episode.rules == "training" and not all(result.raised for result in step.results)
            found += [f"reply {number}: a tool that is not on offer ran"] * ran
    text, wrong = _timed(watch, lambda: json.dumps(episode.trajectory.as_dict()))
    found += [f"the trajectory as JSON: {line}" for line in wrong]
    if text is not None and Trajectory.from_dict(json.loads(text)) != episode.trajectory:
        found.append("the trajectory is another one after a round trip through JSON")
    return found


def _timed(watch: Watch, action: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What the action gave (None when an exception came out), and what was wrong with how it went."""
    found: list[str] = []
    value = None
    with watch.armed() as seen:
        start, clock = time.thread_time(), time.perf_counter()
        try:
            value = action()
        except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001 - the test's subject; a time limit goes on
            found.append(f"{type(error).__name__} came out: {str(error)[:80]}")
        seconds, waited = time.thread_time() - start, time.perf_counter() - clock
    found += [f"forbidden: {event}" for event in seen]
    if seconds >= SECONDS or waited >= WAITED:
        found.append(f"took {seconds:.2f} s of the processor, {waited:.2f} s in all")
    return value, found


def wrong_with(result: CallResult) -> list[str]:
    """What keeps a result from being ordinary data."""
    found = []
    if not (isinstance(result.call, str) and isinstance(result.text, str)):
        return [f"not text: {type(result.call).__name__}, {type(result.text).__name__}"]
    if len(result.text) > MAX_TEXT or len(result.call) > MAX_TEXT:
        found.append(f"a call of {len(result.call)} and a result of {len(result.text)} characters")
    if result.raised and not (result.error and result.text.startswith(ERROR_PREFIX)):
        found.append(f"raised, but says {result.text[:80]!r}")
    if result.text == ERROR_PREFIX and not _too_complex(result.call):
        found.append("an error without words: out of memory?")
    if CallResult(**json.loads(json.dumps(asdict(result)))) != result:
        found.append("another result after a round trip through JSON")
    return found


def _too_complex(call: str) -> bool:
    """Whether Python's parser gives up on the text with a MemoryError, which has no words either, as upstream."""
    try:
        ast.parse(call, mode="eval")
    except MemoryError:
        return True
    except (SyntaxError, ValueError, RecursionError):
        pass
    return False


def _wrong_with_step(step: Step) -> list[str]:
    found = [line for result in step.results for line in wrong_with(result)]
    for message in step.messages:
        content = message["content"]
        if len(content.encode("utf-8")) and len(content) > MAX_MESSAGE:  # encode: no lone surrogates in it
            found.append(f"a message of {len(content)} characters")
    return found


@contextmanager
def limited_memory() -> Iterator[None]:
    """A payload that takes gigabytes gets a MemoryError instead of the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _main(rounds: int) -> None:
    watch = Watch()
    after = []
    with limited_memory():
        for _ in range(rounds):
            for entry in corpus():
                if len(entry.payload) <= SHORT:
                    problems(entry, "current", watch)
            after.append(resident_bytes())
    sys.stdout.write(json.dumps(after))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
