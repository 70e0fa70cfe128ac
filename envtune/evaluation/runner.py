"""Runs a suite: many items at once, each judged and written down as it ends.

A run that was stopped goes on with the items it had not finished. An item that the endpoint, the judge or a failed
prerequisite gave no verdict for is `not_run`: it is tried again in a later pass, and by the next call, and never counts
as wrong.

`seconds` of a summary is the time of all sessions, also of those that an error or a signal ended; a process that was
killed outright (SIGKILL) adds nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from envtune.errors import EnvtuneError
from envtune.evaluation.migrate import SCHEMA_VERSION
from envtune.evaluation.records import OUTCOMES, Record, RunFolder, summarise_records
from envtune.evaluation.suite import NotRun, Play, Played, Suite, Target
from envtune.evaluation.upstream.serve import Item
from envtune.provenance import provenance

PASSES = 2


def identity(suite: Suite, target: Target) -> dict[str, Any]:
    """Everything that decides what a record means: records made under another identity are of another run."""
    who = suite.identity(target.reply_format)
    who |= {"model": target.label, "checkpoint_sha256": target.checkpoint_sha256, "decoding": dict(target.decoding)}
    if target.user is not None and who["protocol"].get("user_simulator"):
        who["user"] = {"model": target.user.label, "decoding": dict(target.user.decoding)}
    return who


def run_suite(
    suite: Suite, target: Target, out_dir: Path, *, about: Mapping[str, Any], console: Console | None = None
) -> dict[str, Any]:
    """Play and judge the suite's items, and return the summary that is also written to `out_dir`.

    about: what else the summary is to say (profile, checkpoint, training steps, ...); console: None for no progress on
    the terminal. Raises EnvtuneError when `out_dir` holds another run, or when the endpoint refuses what is asked of it.
    """
    items = tuple(suite.items)
    if not any(item.scored for item in items):
        raise EnvtuneError(f"{suite.name}: there is no item to run")
    who = identity(suite, target)
    with RunFolder(Path(out_dir)).open(who) as folder:
        folder.forget(suite.missing(folder.prepared, folder.files))
        before = folder.read_summary()
        scored = [item for item in items if item.scored]
        if before is not None and before["complete"] and all(item.id in folder.records for item in scored):
            return before
        began = time.monotonic()
        spent = before["seconds"] if before else 0.0
        header = {"schema": SCHEMA_VERSION, "complete": False, "identity": who, "about": dict(about)}
        header |= {"provenance": provenance(), "seconds": spent}
        folder.write_summary(header)
        with _progress(console, f"{suite.name}, {about.get('checkpoint', target.label)}", scored, folder) as tick:
            try:
                asyncio.run(_run(suite, target, folder, items, tick))
            finally:
                header["seconds"] = round(spent + time.monotonic() - began, 1)
                folder.write_summary(header)
        folder.tidy([item.id for item in items])
        records = [folder.records[item.id] for item in scored]
        summary = {**header, **summarise_records(records)}
        summary |= suite.figures(records)
        folder.write_summary(summary)
        return summary


async def _run(
    suite: Suite, target: Target, folder: RunFolder, items: Sequence[Item], tick: Callable[[], None]
) -> None:
    """Run what has no record, then once more what could not be run; only the last pass writes down a `not_run`."""
    async with suite.playing(target, folder.files) as play:
        for number in range(PASSES):
            pending = _pending(items, folder)
            await _Pass(play, folder, pending, target.concurrency, tick, number == PASSES - 1).run()


def _pending(items: Sequence[Item], folder: RunFolder) -> list[Item]:
    """The scored items without a record, and the prerequisites that they wait for, in order."""
    chosen: list[Item] = []
    wanted: set[str] = set()
    for item in reversed(items):  # what an item comes after stands before it
        if (item.scored and item.id not in folder.records) or item.id in wanted:
            if item.scored or not _is_prepared(item.id, folder):
                chosen.append(item)
            wanted |= set(item.after)
    return chosen[::-1]


def _is_prepared(prerequisite: str, folder: RunFolder) -> bool:
    record = folder.prepared.get(prerequisite)
    return record is not None and record.outcome != "not_run"


class _Pass:
    """One pass over items. Each waits for those that it comes after; those ready are played in order."""

    def __init__(
        self,
        play: Play,
        folder: RunFolder,
        items: Sequence[Item],
        concurrency: int,
        tick: Callable[[], None],
        last: bool,
    ) -> None:
        self._play, self._folder, self._items, self._tick, self._last = play, folder, items, tick, last
        self._slots = asyncio.Semaphore(concurrency)
        self._writing = asyncio.Lock()
        self._ended = {item.id: asyncio.Event() for item in items}

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for item in self._items:
                    group.create_task(self._item(item))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _item(self, item: Item) -> None:
        try:
            for before in item.after:
                if before in self._ended:
                    await self._ended[before].wait()
            async with self._slots:
                played = await self._try(item)
            if played is not None:
                await self._write(played.record, played.conversation, item)
        finally:
            self._ended[item.id].set()

    async def _try(self, item: Item) -> Played | None:
        """Play an item; None when it could not be run, which is written down in the last pass."""
        try:
            if lacking := [one for one in item.after if not _is_prepared(one, self._folder)]:
                raise NotRun("prerequisite", f"{lacking[0]} could not be run")
            return await self._play(item)
        except NotRun as reason:
            if self._last:
                record = Record(
                    item.id, item.stratum, item.cluster, "not_run", item.sha256,
                    error_type=f"not_run:{reason.who}", error_message=str(reason)[:300],
                )  # fmt: skip
                await self._write(record, None, item)
            return None

    async def _write(self, record: Record, conversation: Mapping[str, Any] | None, item: Item) -> None:
        """Onto the disk, which takes milliseconds, while other items go on; one at a time."""
        async with self._writing:
            await asyncio.to_thread(self._folder.add, record, conversation, item.scored)
        self._tick()


@contextlib.contextmanager
def _progress(
    console: Console | None, label: str, scored: Sequence[Item], folder: RunFolder
) -> Iterator[Callable[[], None]]:
    """A bar with the counts by outcome; yields the function to call after each item."""
    if console is None:
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[counts]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        row = bar.add_task(f"evaluate {label}", total=len(scored), completed=len(folder.records), counts="")

        def tick() -> None:
            outcomes = [record.outcome for record in folder.records.values()]
            counts = [f"{n} {name}" for name in OUTCOMES if (n := outcomes.count(name))]
            if folder.prepared:
                counts.append(f"{len(folder.prepared)} prepared")
            bar.update(row, completed=len(outcomes), counts=", ".join(counts))

        tick()
        yield tick
