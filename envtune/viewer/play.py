"""`envtune play`: one episode on the terminal, reply by reply, with the state against the ground truth's at each turn's
end.

    envtune play multi_turn_base_0 --feedback augmented --policy gold
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from envtune.environment import Episode, ReplyKind, StopReason, TurnEnd
from envtune.tasks import Task, defects_of
from envtune.viewer.human import Person
from envtune.viewer.policies import Policy, endpoint_policy, gold_policy
from envtune.viewer.replay import episode_view, reply_view, request_view
from envtune.viewer.text import Shown, visible

MAX_CHARACTERS = 1000
STEPS = {"training": 5, "bfcl": 20}  # as each set of rules is used elsewhere in the kit
_ENDS = {
    TurnEnd.ANSWER: "answered",
    TurnEnd.STEP_LIMIT: "forced to end: too many steps",
    TurnEnd.IMPOSSIBLE_CALL: "forced to end: a call in a turn that cannot be done",
    TurnEnd.ILL_FORMED: "ended by an ill-formed reply",
    TurnEnd.NOT_REACHED: "not finished",
}
_KINDS = {ReplyKind.TOOL_CALL: "calls", ReplyKind.ANSWER: "answer", ReplyKind.ILL_FORMED: "ill-formed"}
_STOPS = {
    StopReason.COMPLETED: "every turn was played",
    StopReason.OVER_BUDGET: "the conversation does not fit into the model's context",
    StopReason.FORCE_QUIT: "too many steps in one turn end the whole entry",
    StopReason.ABORTED: "stopped before its end",
}


def play(
    episode: Episode,
    policy: str = "gold",
    *,
    model: str | None = None,
    api_key: str = "none",
    decoding: dict[str, Any] | None = None,
    prompt: bool = False,
    full: bool = False,
) -> None:
    """Play a new episode and show it on stdout.

    policy: "gold", "human" or an endpoint's address (model, api_key, decoding: for that); prompt: show the whole
    system prompt; full: shorten nothing. Raises EnvtuneError when the endpoint gives out.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a terminal that has not every character still shows the rest
    screen = _Screen(Console(highlight=False), episode.task, None if full else MAX_CHARACTERS)
    messages = episode.start()
    with _policy(policy, episode, screen.console, model, api_key, decoding or {}) as reply_to:
        screen.opening(episode, messages[0]["content"] if prompt else None)
        screen.request(episode)
        while not episode.done:
            reply = reply_to(messages)
            if isinstance(reply, StopReason):
                episode.finish(reply)
                break
            step = episode.step(reply)
            messages += [{"role": "assistant", "content": reply}, *step.messages]
            screen.reply(episode, step.turn_score is not None)
    screen.closing(episode)


@contextlib.contextmanager
def _policy(
    name: str, episode: Episode, console: Console, model: str | None, api_key: str, decoding: dict[str, Any]
) -> Iterator[Policy]:
    if name == "gold":
        yield gold_policy(episode.task)
    elif name == "human":
        yield Person(episode, console)
    else:
        with endpoint_policy(name, model, episode.task, api_key, decoding) as policy:
            yield policy


class _Screen:
    """Writes an episode to a console. `limit`: characters of one text that are shown."""

    def __init__(self, console: Console, task: Task, limit: int | None) -> None:
        self.console = console
        self._task = task
        self._limit = limit
        self._replies = 0  # shown so far, of the turn that is on

    def opening(self, episode: Episode, prompt: str | None) -> None:
        task = self._task
        tools = [str(tool["name"]) for tool in task.tools_on_offer(0)]
        self.console.print(Text(task.id, "bold"))
        self._row("task", f"{task.category}, release {task.release}, {len(task.question)} turns")
        rules = f"{episode.rules} rules, {episode.max_steps_per_turn} steps a turn, {episode.feedback} feedback"
        self._row("played by", rules)
        self._row("tools", f"{len(tools)} on offer: {', '.join(tools)}")
        for defect in defects_of(task):
            self._row("defect", visible(defect.wrong), "yellow")
        if prompt is not None:
            self._row("prompt", visible(prompt))

    def request(self, episode: Episode) -> None:
        """The request of the turn that begins."""
        turn, self._replies = episode.turn, 0
        shown = request_view(self._task, turn, self._limit)
        self.console.print()
        self.console.print(
            Rule(Text(f"turn {turn + 1} of {len(self._task.question)}", "bold"), align="left", style="dim")
        )
        if shown["revealed"]:
            self._row("new tools", ", ".join(shown["revealed"]))
        self._row("request", shown["request"], "bold")

    def reply(self, episode: Episode, ended: bool) -> None:
        """The last reply, and the end of its turn when it ended one."""
        record = episode.trajectory.replies[-1]
        shown = reply_view(record, self._limit, episode.max_result_characters)
        self._replies += 1
        self.console.print()
        self._row(f"reply {self._replies}", _KINDS[record.kind], "dim")
        if shown["error"]:
            self._row("problem", shown["error"], "red")
            self._row("as it is", shown["raw"])
        if shown["hint"]:
            self._row("hint", shown["hint"], "yellow")
        if shown["think"]:
            self._row("think", shown["think"], "italic dim")
        for call in shown["calls"]:
            self._row("call", call["call"], "cyan")
            if call["status"] == "not_run":
                self._row("", "not executed", "red")
                continue
            failed = call["status"] != "ok"
            self._row("error" if failed else "result", call["result"], "red" if failed else "")
            if call["unread"]:
                self._row("", f"(the model was not given the middle {call['unread']:,} characters)", "dim")
            if call["hint"]:
                self._row("hint", call["hint"], "yellow")
        if record.kind is ReplyKind.ANSWER:
            self._row("answer", shown["answer"], "cyan")
        if ended:
            self._end(episode)
            if not episode.done:
                self.request(episode)

    def _end(self, episode: Episode) -> None:
        """The turn that was just played: state, missing results, score."""
        view = episode_view(self._task, episode.trajectory, self._limit)
        turns = [turn for turn in view["turns"] if turn["end"] != TurnEnd.NOT_REACHED]
        turn = turns[-1]
        self.console.print()
        self._state(turn)
        scores = [one["score"] for one in turns]
        self._row("end", _ENDS[TurnEnd(turn["end"])])
        self._row("score", f"{turn['score']}; so far {sum(scores)} of {len(scores)}", "bold")

    def _state(self, turn: dict[str, Any]) -> None:
        places = len(turn["state"]) + turn["state_more"]
        if not places:
            self._row("state", "equals gold", "green")
        else:
            self._row("state", f"differs from gold in {places} place{'s' * (places > 1)}", "bold red")
        for place in turn["state"]:
            self._row("", place["path"], "bold")
            self._row("- model", _or_absent(place["model"]), "red")
            self._row("+ gold", _or_absent(place["gold"]), "green")
        if turn["state_more"]:
            self._row("", f"and {turn['state_more']} more")
        if turn["missing"]:
            self._row("missing", f"{len(turn['missing'])} of gold's results were not among the model's:", "bold red")
        for text in turn["missing"]:
            self._row("+ gold", text, "green")
        if not turn["possible"]:
            self._row("", "This request cannot be fulfilled with what is on offer: right is an answer without a call.")
        elif not turn["score"]:
            self._row("gold calls", "\n".join(_plain(call) for call in turn["gold"]))

    def closing(self, episode: Episode) -> None:
        """Totals, and the state of a turn that was left in the middle."""
        view = episode_view(self._task, episode.trajectory, self._limit)
        left = view["turns"][episode.turn] if episode.turn < len(view["turns"]) else None
        if left and left["replies"] and left["end"] == TurnEnd.NOT_REACHED:
            self.console.print()
            self._state(left)
        self.console.print()
        self.console.print(Rule(Text("end", "bold"), align="left", style="dim"))
        verdict = f"not valid: {view['error_type'].replace('_', ' ')} (turns from 0: {view['error_message']})"
        self._row("ended", _STOPS[StopReason(view["stop"])])
        self._row("turns", " ".join(str(turn["score"]) for turn in view["turns"]))
        self._row("progress", f"{view['progress']:.3g} of 1")
        self._row("format", f"{view['format']:.3g} of 2")
        self._row("official", verdict if view["error_type"] else "valid", "red" if view["error_type"] else "green")

    def _row(self, label: str, content: Shown, style: str = "") -> None:
        grid = Table.grid(padding=(0, 1), expand=False)
        grid.add_column(width=10, no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        grid.add_row(Text(label), _text(content, style))
        self.console.print(grid)


def _text(content: Shown, style: str) -> Text:
    """Text as it is: nothing in it is markup."""
    if isinstance(content, str):
        return Text(content, style)
    return Text.assemble(
        (content["head"], style),
        (f"\n[… {content['left']:,} characters left out …]\n", "dim"),
        (content["tail"], style),
    )


def _plain(content: Shown) -> str:
    return _text(content, "").plain


def _or_absent(content: Shown | None) -> Shown:
    return "(not there)" if content is None else content
