"""`envtune validate`: does every ground truth still play through our environment with full progress and no error?

BFCL's own checker passes ground truths that fail alike on both sides, so it is no health check; this is one. Each
task is played by the gold policy under the training rules, and its calls are then given to the official checker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envtune.bfcl import CATEGORIES
from envtune.environment import Episode
from envtune.environment.gold_policy import play_gold
from envtune.rewards import progress_reward
from envtune.scoring import official_verdict
from envtune.tasks import Task, defects_of, load_tasks

# The one class of known defects that the ground truth itself shows: it cannot be played as the task stands. Tasks of
# the other classes can, whatever else is wrong with them.
_UNPLAYABLE = "withheld_tool"


@dataclass(frozen=True)
class TaskCheck:
    """A ground truth played through the environment. problem: "" when all is well; known: what the list of known
    defects says of it, None when it says that the ground truth can be played."""

    task: Task
    problem: str
    known: str | None


@dataclass(frozen=True)
class CategoryReport:
    """The checks of one category of one release."""

    release: str
    category: str
    checks: tuple[TaskCheck, ...]

    @property
    def playable(self) -> int:
        """Tasks whose ground truth plays without a problem."""
        return sum(not check.problem for check in self.checks)

    @property
    def unexpected(self) -> list[TaskCheck]:
        """Problems that are not known defects, and known defects that have gone."""
        return [check for check in self.checks if bool(check.problem) != bool(check.known)]


def check_task(task: Task) -> TaskCheck:
    """Play one ground truth and say what is wrong with the outcome."""
    episode = Episode(task)
    play_gold(episode)
    trajectory = episode.trajectory
    errors = [result for reply in trajectory.replies for result in reply.results if result.error]
    problem = ""
    if errors:
        problem = f"{errors[0].call} gives {errors[0].text}"
    elif progress_reward(trajectory) != 1.0:
        problem = f"turn scores {trajectory.turn_scores}"
    elif not official_verdict(task, trajectory.calls)["valid"]:
        problem = "not valid for the official checker"
    listed = (defect.wrong for defect in defects_of(task) if defect.kind.name == _UNPLAYABLE)
    return TaskCheck(task, problem, next(listed, None))


def validate(release: str) -> Iterator[CategoryReport]:
    """One report a category, as soon as it is done."""
    tasks = load_tasks(release)
    for category in CATEGORIES:
        yield CategoryReport(release, category, tuple(check_task(t) for t in tasks if t.category == category))
