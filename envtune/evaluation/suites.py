"""The suites by name: what each is, what it can be told, and how it is opened.

bfcl-v3            in distribution: BFCL V3 multi-turn, either release
bfcl-memory        out of distribution, as in the paper: BFCL V4 memory
bfcl-web-search    the same: BFCL V4 web search, through a cassette
acebench-agent     the same: ACEBench's agent tasks
bfcl-single-turn   beyond the paper: BFCL's single-turn and live categories
tau2               beyond the paper: tau2-bench
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.bfcl_v3.protocol import SUITE as BFCL_V3
from envtune.evaluation.bfcl_v3.suite import BfclV3
from envtune.evaluation.suite import Suite
from envtune.evaluation.upstream.client import UnavailableSuite, Worker, start_worker
from envtune.evaluation.upstream.suite import Benchmark, UpstreamSuite
from envtune.tasks import SPLITS, Task, load_tasks

_AGENTIC = (
    "bfcl-eval's own loop (20 steps a turn, as it counts) and checker, whose substring search reads the last message only, "
    "without reasoning"
)
_UPSTREAM: Mapping[str, Benchmark] = MappingProxyType(
    {
        one.name: one
        for one in (
            Benchmark(
                name="bfcl-memory",
                module="bfcl",
                strata=("memory_kv", "memory_vector", "memory_rec_sum"),
                options=("max_steps",),
                protocol="bfcl-memory-1",
                description=(
                    "BFCL V4 memory; prerequisite conversations of a scenario played in order by the model under test; "
                    f"embeddings all-MiniLM-L6-v2 from a package; {_AGENTIC}"
                ),
            ),
            Benchmark(
                name="bfcl-web-search",
                module="bfcl",
                strata=("web_search_base", "web_search_no_snippet"),
                options=("cassette", "mode"),
                protocol="bfcl-web-search-1",
                description=f"BFCL V4 web search; both strata ask the same 100 questions; {_AGENTIC}",
            ),
            Benchmark(
                name="acebench-agent",
                module="acebench",
                strata=("agent_multi_turn", "agent_multi_step"),
                options=("data", "language", "max_dialog_turns"),
                protocol="acebench-agent-1",
                description=(
                    "ACEBench agent by evalscope: its prompts, its simulated user, end-state accuracy; turn_7 passes "
                    "without any action"
                ),
                user_of=("agent_multi_turn",),
            ),
            Benchmark(
                name="bfcl-single-turn",
                module="bfcl",
                strata=(),
                protocol="bfcl-single-turn-1",
                description="BFCL's single-turn and live categories; bfcl-eval's own handler and checkers",
            ),
            Benchmark(
                name="tau2",
                module="tau2",
                strata=("airline", "retail", "telecom"),
                options=("max_steps",),
                protocol="tau2-1",
                description="tau2-bench by its own orchestrator and evaluator; one trial",
                user_of=("airline", "retail", "telecom"),
            ),
        )
    }
)
SUITES = (BFCL_V3, *_UPSTREAM)
_COMMON = ("items", "limit", "strata", "optional", "checkpoints", "repeats")
CHECKPOINTS = ("all", "ends")


@dataclass(frozen=True)
class Choice:
    """A suite to run, and of it what.

    items: ids, None for all; strata: only these; limit: the first so many of each stratum; release, split: of bfcl-v3
    ("paper" | "current"; a split of envtune.tasks, or "full" for all 800); tasks: of bfcl-v3, instead of release and
    split; options: the suite's own (cassette, mode, data, language, max_steps); optional: a run goes on without it where
    it cannot be had; checkpoints: of a profile's run "all", or the "ends": the starting model and the last result, which
    is what a table out of distribution compares; repeats: runs of it, each with a seed of its own, None for the profile's.
    """

    suite: str
    items: tuple[str, ...] | None = None
    strata: tuple[str, ...] | None = None
    limit: int | None = None
    release: str = "paper"
    split: str = "test"
    tasks: tuple[Task, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False
    checkpoints: str = "all"
    repeats: int | None = None

    def __post_init__(self) -> None:
        """Raises EnvtuneError, with what there is, on a name that there is not."""
        if self.suite not in SUITES:
            raise EnvtuneError(f"there is no suite {self.suite!r}; choose of: {', '.join(SUITES)}")
        own = () if self.suite == BFCL_V3 else _UPSTREAM[self.suite].options
        if unknown := sorted(set(self.options) - set(own)):
            raise EnvtuneError(f"{self.suite} has no option {unknown[0]!r}; it has: {', '.join(own) or 'none'}")
        if self.checkpoints not in CHECKPOINTS:
            raise EnvtuneError(f"{self.suite}: checkpoints are {' or '.join(CHECKPOINTS)}, not {self.checkpoints!r}")
        if not isinstance(self.optional, bool):
            raise EnvtuneError(f"{self.suite}: optional is true or false, not {self.optional!r}")
        for name, value in (("a limit", self.limit), ("repeats", self.repeats)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise EnvtuneError(f"{self.suite}: {name} is a whole number from 1 up, not {value!r}")

    @property
    def needs_user(self) -> bool:
        """Whether a model must play the user."""
        benchmark = _UPSTREAM.get(self.suite)
        return benchmark is not None and benchmark.needs_user(self.strata)


def read_choices(settings: Mapping[str, Any], where: str) -> list[Choice]:
    """A profile's `suites`: suite -> {items, strata, limit, optional, checkpoints, repeats, and the suite's own options}, or
    false for one that the profile which it extends has and it has not.

    Raises EnvtuneError, beginning with `where`, on an entry that cannot be.
    """
    choices = []
    for name, said in settings.items():
        if said is False:
            continue
        if not isinstance(said or {}, Mapping):
            raise EnvtuneError(f"{where}: {name} takes settings by name, or false, not {said!r}")
        values = dict(said or {})
        common: dict[str, Any] = {key: values.pop(key) for key in _COMMON if key in values}
        for key in ("items", "strata"):
            if common.get(key) is not None:
                if isinstance(common[key], str) or not isinstance(common[key], (list, tuple)) or not common[key]:
                    raise EnvtuneError(f"{where}: {key} of {name} is a list, not {common[key]!r}")
                common[key] = tuple(map(str, common[key]))
        try:
            choices.append(Choice(str(name), options=values, **common))
        except EnvtuneError as error:
            raise EnvtuneError(f"{where}: {error}") from error
    return choices


@contextlib.contextmanager
def open_suite(choice: Choice, log: Path, user: bool = False) -> Iterator[Suite]:
    """The chosen suite, ready to be run any number of times. log: file for what another package's process prints; user:
    whether there is a model to play the user.

    Raises UnavailableSuite when it cannot be had here, EnvtuneError when the choice names what the suite does not have.
    """
    if choice.suite == BFCL_V3:
        yield BfclV3(_chosen_tasks(choice))
        return
    benchmark = _UPSTREAM[choice.suite]
    if choice.needs_user and not user:
        raise UnavailableSuite(
            f"{choice.suite} needs a model that plays the user: name its endpoint with --user-base-url and --user-model"
        )
    with _worker(choice, log, user) as worker:
        yield UpstreamSuite(benchmark, worker, choice.options, _select(worker.items, choice))


def suite_scripts(choice: Choice, log: Path) -> dict[str, Any]:
    """What a model and a user say to pass each item of a suite from another package, for the scripted endpoint: item ->
    {"agent", "user"}. Raises as `open_suite`."""
    with _worker(choice, log, user=True) as worker:
        return worker.scripts()


@contextlib.contextmanager
def _worker(choice: Choice, log: Path, user: bool) -> Iterator[Worker]:
    benchmark = _UPSTREAM[choice.suite]
    options = {**choice.options, "suite": choice.suite, "strata": list(choice.strata or benchmark.strata), "user": user}
    if benchmark.strata and (unknown := sorted(set(choice.strata or ()) - set(benchmark.strata))):
        raise EnvtuneError(f"{choice.suite} has no stratum {unknown[0]!r}; it has: {', '.join(benchmark.strata)}")
    with start_worker(benchmark.module, options, log) as worker:
        yield worker


def _chosen_tasks(choice: Choice) -> list[Task]:
    if choice.tasks is not None:
        tasks = list(choice.tasks)
    elif choice.split != "full" and choice.split not in SPLITS:
        raise EnvtuneError(f"there is no split {choice.split!r}; choose of: full, {', '.join(SPLITS)}")
    else:
        tasks = load_tasks(choice.release, None if choice.split == "full" else choice.split)
    if choice.strata and (unknown := sorted(set(choice.strata) - set(CATEGORIES))):
        raise EnvtuneError(f"{choice.suite} has no stratum {unknown[0]!r}; it has: {', '.join(CATEGORIES)}")
    by_id = {task.id: task for task in tasks}
    return [by_id[item] for item in _selected(((t.id, t.category) for t in tasks), choice)]


def _select(items: Sequence[Any], choice: Choice) -> list[Any]:
    """The chosen items, and the prerequisites of those."""
    chosen = set(_selected(((item.id, item.stratum) for item in items if item.scored), choice))
    kept = []
    for item in reversed(items):
        if item.id in chosen:
            kept.append(item)
            chosen |= set(item.after)
    return kept[::-1]


def _selected(items: Any, choice: Choice) -> list[str]:
    """Of (id, stratum) the ids that the choice takes. Raises EnvtuneError on an id that there is not."""
    listed = [(item, stratum) for item, stratum in items if not choice.strata or stratum in choice.strata]
    if choice.items is not None:
        if strangers := sorted(set(choice.items) - {item for item, _ in listed}):
            raise EnvtuneError(f"{choice.suite} has no item {strangers[0]!r} here")
        listed = [(item, stratum) for item, stratum in listed if item in choice.items]
    taken: dict[str, int] = {}
    chosen = []
    for item, stratum in listed:
        taken[stratum] = taken.get(stratum, 0) + 1
        if choice.limit is None or taken[stratum] <= choice.limit:
            chosen.append(item)
    if not chosen:
        raise EnvtuneError(f"{choice.suite}: nothing is left of it with these items, strata and limit")
    return chosen
