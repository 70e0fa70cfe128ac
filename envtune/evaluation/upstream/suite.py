"""A benchmark of another package as a suite: a worker plays and judges each item, behind the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.evaluation.gateway import Gateway, Talk
from envtune.evaluation.records import Record, by_stratum
from envtune.evaluation.suite import NotRun, Play, Played, Target, item_counts
from envtune.evaluation.upstream.client import NoVerdict, Worker
from envtune.evaluation.upstream.serve import Item
from envtune.files import sha256_file, sha256_json

# Longer than any conversation that moves: an item that stands still this long is given up, and tried again.
DEADLINE_S = 4 * 3600.0
_REPLAY = (
    " Tool results are replayed from a recording: a regression fixture, not a score, since another model asks other questions "
    "of the web."
)

_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "kit": "asked in the kit's reply format (requests with tools put into it, replies put back)",
        "fc": "asked by native function calling",
    }
)


@dataclass(frozen=True)
class Benchmark:
    """What is fixed of a suite from another package.

    module: the worker's, in envtune/evaluation/upstream/; strata: all, () where only the worker knows; options: what a
    user may set; protocol: its name, which a change of how it is run must change; user_of: the strata in which a model
    plays the user.
    """

    name: str
    module: str
    strata: tuple[str, ...]
    protocol: str
    description: str
    options: tuple[str, ...] = ()
    user_of: tuple[str, ...] = ()

    def needs_user(self, strata: Sequence[str] | None) -> bool:
        """Whether a model must play the user in any of these strata (None: all)."""
        return bool(set(self.user_of) & set(self.strata if strata is None else strata))


class UpstreamSuite:
    """One benchmark with a running worker, and the items to run. See `envtune.evaluation.suite.Suite`."""

    def __init__(self, benchmark: Benchmark, worker: Worker, options: Mapping[str, Any], items: Sequence[Item]) -> None:
        self.name = benchmark.name
        self.items = tuple(items)
        self._benchmark, self._worker, self._options = benchmark, worker, dict(options)

    def identity(self, reply_format: str) -> dict[str, Any]:
        """See `Suite`. Paths among the options are left out; of a recording that is replayed its hash is kept."""
        benchmark, description = self._benchmark, self._benchmark.description
        name, recorded = benchmark.protocol, {}
        if (mode := self._options.get("mode")) is not None:
            name = f"{name}-{mode}"
            description += _REPLAY if mode == "replay" else " Tool results are of the live web, on the day of the run."
            cassette = self._options.get("cassette")
            if mode == "replay" and cassette is not None and Path(cassette).is_file():
                recorded = {"cassette_sha256": sha256_file(cassette)}
        strata = item_counts(self.items)
        options = {key: value for key, value in self._options.items() if key not in ("cassette", "data")}
        protocol = {
            "name": f"{name}-{reply_format}",
            "format": reply_format,
            "description": f"{description}; {_FORMATS[reply_format]}",
            "user_simulator": benchmark.needs_user(list(strata)),
        }
        return {
            "suite": self.name,
            "protocol": protocol,
            "packages": dict(self._worker.versions),
            "options": {**options, **recorded},
            "items": strata,
            "items_sha256": sha256_json([[item.id, item.sha256] for item in self.items if item.scored]),
        }

    @contextlib.asynccontextmanager
    async def playing(self, target: Target, files: Path) -> AsyncIterator[Play]:
        """See `Suite`."""
        files.mkdir(parents=True, exist_ok=True)
        self._worker.begin()
        async with contextlib.AsyncExitStack() as stack:
            agent = await stack.enter_async_context(target.endpoint())
            if (user := target.user_endpoint()) is not None:
                await stack.enter_async_context(user)
            decoding = {"seed": target.seed, **(target.user.decoding if target.user else {})}
            gateway = await stack.enter_async_context(Gateway(agent, target.reply_format, user, decoding))

            async def one(item: Item) -> Played:
                number, talk = gateway.open(item.id)
                began = time.monotonic()
                try:
                    result = await self._result(item, number, talk, target, files)
                finally:
                    gateway.close(number)
                return _played(item, talk, result, time.monotonic() - began)

            yield one

    async def _result(self, item: Item, number: int, talk: Talk, target: Target, files: Path) -> Mapping[str, Any]:
        """The worker's result. Raises NotRun where there is none that says anything about the model."""
        job = {
            "number": number,
            "item": item.id,
            "model": "model",  # upstream only passes it on, and the gateway asks for the real one
            "base_url": talk.base_url,
            "user_model": None if target.user is None else "user",
            "user_base_url": None if target.user is None else talk.user_base_url,
            "seed": target.seed,
            "folder": str(files.resolve()),
        }
        result, reason, who = None, "", "suite"
        try:
            result = await asyncio.wait_for(self._worker.run(job), DEADLINE_S)
        except NoVerdict as error:
            reason, who = str(error), error.who
        except TimeoutError:
            reason = f"no end after {DEADLINE_S / 3600:.0f} hours"
        if talk.fatal is not None:
            raise talk.fatal
        if talk.failure is not None:
            raise NotRun("endpoint", talk.failure)
        if result is None and talk.over_budget:
            message = "the conversation outgrew the model's context"
            return {
                "passed": False,
                "score": None,
                "error_type": "over_budget",
                "error_message": message,
                "details": {},
            }
        if result is None:
            raise NotRun(who, reason)
        return result

    def figures(self, records: Sequence[Record]) -> dict[str, Any]:
        """{"answers": {"median_characters", "dumps"} of suites that search the last message, "cassette": {"hits", "misses"},
        "without_known_defects": the counts of the items that are not known to be defective}, each where it applies."""
        figures: dict[str, Any] = {}
        lengths = [r.details["answer_characters"] for r in records if "answer_characters" in r.details]
        if lengths:
            dumps = sum(bool(record.details.get("dump")) for record in records)
            figures["answers"] = {"median_characters": statistics.median(lengths), "dumps": dumps}
        counts = [record.details["cassette"] for record in records if "cassette" in record.details]
        if counts:
            figures["cassette"] = {key: sum(count[key] for count in counts) for key in ("hits", "misses")}
        sound = [record for record in records if not record.details.get("known_defects")]
        if len(sound) < len(records):
            figures["without_known_defects"] = by_stratum(sound)
        return figures

    def missing(self, prepared: Mapping[str, Record], files: Path) -> Sequence[str]:
        """See `Suite`: without the folder all that was prepared is gone."""
        return () if files.is_dir() else tuple(prepared)


def _played(item: Item, talk: Talk, result: Mapping[str, Any], seconds: float) -> Played:
    details = dict(result["details"])
    if talk.over_budget:
        details["over_budget"] = True
    record = Record(
        id=item.id,
        stratum=item.stratum,
        cluster=item.cluster,
        outcome="passed" if result["passed"] else "failed",
        item_sha256=item.sha256,
        passed=bool(result["passed"]),
        score=result["score"],
        error_type=result["error_type"],
        error_message=None if result["error_message"] is None else str(result["error_message"])[:1000],
        seconds=round(seconds, 3),
        tokens_in=talk.tokens_in,
        tokens_out=talk.tokens_out,
        requests=talk.requests,
        truncated=talk.truncated,
        details=details,
    )
    return Played(record, {"id": item.id, "exchanges": talk.exchanges, "result": dict(result)})
