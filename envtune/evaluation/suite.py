"""What a suite is: items, what decides the meaning of their records, and how one item is played.

The runner does the rest, the same for all of them: many items at once, resume, retries of what could not be run,
records, counts. A suite that is new to the kit is one class with these five names, and a line in `suites.py`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from envtune.evaluation.endpoint import ChatEndpoint
from envtune.evaluation.records import Record
from envtune.evaluation.upstream.serve import Item


@dataclass(frozen=True)
class UserModel:
    """The model that plays the user, where a suite has one. label: what summaries call it; decoding: what its requests
    must have."""

    base_url: str
    model: str
    label: str
    decoding: Mapping[str, Any] = field(default_factory=dict)
    api_key: str = "none"

    @staticmethod
    def at(base_url: str, model: str, decoding: Mapping[str, Any] | None = None) -> UserModel:
        """The model of that name at an endpoint, with the key in ENVTUNE_USER_API_KEY."""
        return UserModel(base_url, model, model, dict(decoding or {}), os.environ.get("ENVTUNE_USER_API_KEY") or "none")


def endpoint_key() -> str:
    """The key of the endpoint under test: ENVTUNE_API_KEY, else OPENAI_API_KEY, else "none"."""
    return os.environ.get("ENVTUNE_API_KEY") or os.environ.get("OPENAI_API_KEY") or "none"


@dataclass(frozen=True)
class Target:
    """What is evaluated, and how it is asked.

    base_url: of the endpoint, with its /v1; model: the name to ask for; label: what tables call it; reply_format: "kit" or
    "fc"; decoding: request parameters (temperature, max_tokens, seed, ...); checkpoint_sha256: of its weights, where
    known; concurrency: items at once; tries, pause_s, request_timeout_s: see `ChatEndpoint`.
    """

    base_url: str
    model: str
    label: str
    reply_format: str
    decoding: Mapping[str, Any]
    checkpoint_sha256: str | None = None
    user: UserModel | None = None
    concurrency: int = 16
    api_key: str = "none"
    request_timeout_s: float = 600.0
    tries: int = 6
    pause_s: float = 0.5

    @property
    def seed(self) -> int:
        """Of whatever a suite draws itself."""
        return int(self.decoding.get("seed") or 0)

    def endpoint(self) -> ChatEndpoint:
        """A client of the model under test."""
        return self._client(self.base_url, self.model, self.decoding, self.api_key)

    def user_endpoint(self) -> ChatEndpoint | None:
        """A client of the model that plays the user, whose decoding each request brings along; None without one."""
        return None if self.user is None else self._client(self.user.base_url, self.user.model, {}, self.user.api_key)

    def _client(self, base_url: str, model: str, decoding: Mapping[str, Any], api_key: str) -> ChatEndpoint:
        return ChatEndpoint(
            base_url,
            model,
            decoding,
            api_key=api_key,
            timeout_s=self.request_timeout_s,
            tries=self.tries,
            pause_s=self.pause_s,
        )


@dataclass(frozen=True)
class Played:
    """An item that was played and judged: its record, and the line of trajectories.jsonl."""

    record: Record
    conversation: Mapping[str, Any]


class NotRun(Exception):
    """An item could not be run, which says nothing about the model. who: endpoint | judge | suite | user | prerequisite."""

    def __init__(self, who: str, message: str) -> None:
        super().__init__(message)
        self.who = who


Play = Callable[[Item], Awaitable[Played]]


class Suite(Protocol):
    """One suite, with the items that are to be run."""

    name: str
    items: Sequence[Item]

    def identity(self, reply_format: str) -> dict[str, Any]:
        """Everything on the suite's side that decides what a record means: {"suite", "protocol": {"name", "format",
        "description", ...}, "items", "items_sha256", ...}."""
        ...

    def playing(self, target: Target, files: Path) -> AbstractAsyncContextManager[Play]:
        """What it takes to play items, for the length of a with block; gives the function that plays one. It raises
        NotRun, or EnvtuneError when the run must stop. files: a folder for what items leave for later ones."""
        ...

    def figures(self, records: Sequence[Record]) -> dict[str, Any]:
        """What the summary says beyond the counts of every suite."""
        ...

    def missing(self, prepared: Mapping[str, Record], files: Path) -> Sequence[str]:
        """Of the prerequisites that have a record those whose outcome is not in `files` (any more)."""
        ...


def item_counts(items: Sequence[Item]) -> dict[str, int]:
    """Stratum -> number of its scored items."""
    scored = [item for item in items if item.scored]
    return {stratum: sum(i.stratum == stratum for i in scored) for stratum in dict.fromkeys(i.stratum for i in scored)}
