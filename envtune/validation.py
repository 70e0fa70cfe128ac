"""`envtune validate`: does every ground truth still play through our environment with full progress and no error?

BFCL's own checker passes ground truths that fail alike on both sides, so it is no health check; this is one. Each
task is played by the gold policy under the training rules, and its calls are then given to the official checker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from envtune.bfcl import CATEGORIES
from envtune.environment import Episode, Trajectory
from envtune.environment.gold_policy import gold_replies
from envtune.rewards import progress_reward
from envtune.scoring import official_verdict
from envtune.tasks import Task, load_tasks

# Named defects of the benchmark, both releases: a ground truth that cannot be played as the task stands.
KNOWN_DEFECTS: Mapping[str, str] = MappingProxyType(
    {"multi_turn_miss_func_49": "its ground truth calls tail in a turn where tail is still held out"}
)


@dataclass(frozen=True)
class TaskCheck:
    """A ground truth played through the environment. problem: "" when all is well; known: a named defect."""

    task: Task
    problem: str
    known: bool


@dataclass(frozen=True)
class CategoryReport:
    """The checks of one category of one release."""

    release: str
    category: str
    checks: tuple[TaskCheck, ...]

    @property
    def sound(self) -> int:
        """Tasks without a problem."""
        return sum(not check.problem for check in self.checks)

    @property
    def unexpected(self) -> list[TaskCheck]:
        """Problems that are not named defects, and named defects that have gone."""
        return [check for check in self.checks if bool(check.problem) != check.known]


def play_gold(task: Task) -> Trajectory:
    """The trajectory of the gold policy."""
    episode = Episode(task)
    episode.start()
    for reply in gold_replies(task):
        if not episode.done:
            episode.step(reply)
    return episode.trajectory


def check_task(task: Task) -> TaskCheck:
    """Play one ground truth and say what is wrong with the outcome."""
    trajectory = play_gold(task)
    errors = [result for reply in trajectory.replies for result in reply.results if result.error]
    problem = ""
    if errors:
        problem = f"{errors[0].call} gives {errors[0].text}"
    elif progress_reward(trajectory) != 1.0:
        problem = f"turn scores {trajectory.turn_scores}"
    elif not official_verdict(task, trajectory.calls)["valid"]:
        problem = "not valid for the official checker"
    return TaskCheck(task, problem, task.id in KNOWN_DEFECTS)


def validate(release: str) -> Iterator[CategoryReport]:
    """One report a category, as soon as it is done."""
    tasks = load_tasks(release)
    for category in CATEGORIES:
        yield CategoryReport(release, category, tuple(check_task(t) for t in tasks if t.category == category))
