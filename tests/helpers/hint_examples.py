"""The examples that every hint carries, as situations: a task of its domain's scenario, the calls, the hint given."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from envtune.environment.calls import call_text, tool_call
from envtune.environment.executor import ERROR_PREFIX, ApiState, CallResult
from envtune.environment.hints import AUTHORS, DOMAINS, Domain, Given, Hint, HintSet, Situation, hint_set, offer_in
from envtune.environment.hints.calls import CALLS
from envtune.environment.hints.hint import Example, Offer
from envtune.environment.reply import ToolCall
from envtune.tasks import Task, load_tasks

NEVER = 99  # a turn that no example reaches
CALL_DOMAINS = (*DOMAINS, CALLS)


@functools.cache
def docs(release: str, class_name: str) -> tuple[Mapping[str, Any], ...]:
    """The docs of one class's tools."""
    task = next(task for task in load_tasks(release) if class_name in task.involved_classes)
    from envtune.bfcl import load_api_classes

    names = load_api_classes(release).methods[class_name]
    return tuple(doc for doc in task.tools if doc["name"] in names)


def task_of(domain: Domain, example: Example, release: str) -> Task:
    """A task with the example's initial state, and nothing to do."""
    return Task(
        id="multi_turn_base_0",
        category="base",
        release=release,
        question=((),),
        initial_config={domain.class_name: {**domain.scenario, **example.state}},
        involved_classes=(domain.class_name,),
        ground_truth=((),),
        held_out={NEVER: example.held_out},
        tools=docs(release, domain.class_name),
    )


def examples(domains: tuple[Domain, ...]) -> Iterator[tuple[Domain, Hint, Example, str]]:
    """Every example in each release that it is for."""
    for domain in domains:
        for hint in domain.hints:
            for example in hint.examples:
                for release in (example.release,) if example.release else ("paper", "current"):
                    yield domain, hint, example, release


class Played:
    """An example, played up to and including its failing call: `situation` and `result` are that one's."""

    def __init__(self, domain: Domain, example: Example, release: str) -> None:
        self.task = task_of(domain, example, release)
        self.api = ApiState(self.task)
        self.offer: Offer = offer_in(self.task, 0)
        for text in example.calls[:-1]:
            self.run(text)
        self.situation, self.result = self.run(example.calls[-1])

    def run(self, text: str) -> tuple[Situation, CallResult]:
        """Run a call string, and give what a hint on it is a function of."""
        call = tool_call(text, self.offer.parameters)
        state = self.api.snapshot(call.name)
        if call.name in self.offer.hidden:
            result = CallResult(text, f"{ERROR_PREFIX}name '{call.name}' is not defined", raised=True, error=True)
        else:
            (result,) = self.api.run([text])
        return Situation(call, result.text, state, self.offer), result

    def call(self, call: ToolCall) -> tuple[Situation, CallResult]:
        """Run a JSON call."""
        return self.run(call_text(call))

    def hint(self, hints: HintSet) -> Given | None:
        """What the set says of the failing call."""
        return hints.give(self.situation, self.result.error)


def set_for(hint: Hint) -> HintSet:
    """The set that an example's hint is tried in."""
    return hint_set("authors" if hint.id.startswith("authors.") else "full")


__all__ = ["AUTHORS", "CALL_DOMAINS", "Played", "examples", "set_for", "task_of"]
