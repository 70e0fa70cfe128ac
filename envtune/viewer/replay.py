"""A trajectory as plain JSON values to show: what was said and done, turn by turn, with the state against the ground
truth's at the end of each.

A stored trajectory has no states, so its calls are executed again, by the rules it was played under. Every text in
what comes out is fit to be shown (text.py), which makes it the one source for the terminal and for the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envtune.environment import ReplyKind, ReplyRecord, StopReason, Trajectory, TurnEnd, TurnRecord, parse_reply, prompt
from envtune.environment.executor import ERROR_PREFIX, ApiState
from envtune.environment.gold import gold_turns, missing_results
from envtune.rewards import format_reward, progress_reward
from envtune.scoring import official_verdict
from envtune.tasks import Task, defects_of
from envtune.viewer.differences import differences
from envtune.viewer.text import show, visible

MAX_DIFFERENCES = 100  # of one turn
OUTCOMES = ("passed", "failed", "over_budget", "aborted")


def episode_view(
    task: Task,
    trajectory: Trajectory,
    limit: int | None = None,
    calls: Sequence[Sequence[Sequence[str]]] | None = None,
) -> dict[str, Any]:
    """The whole episode. `limit`: characters of one text that are kept; `calls`: what the official verdict is over,
    if not the trajectory's own.

    id, category, release, feedback, rules, stop: as in the trajectory; outcome: one of OUTCOMES; error_type,
    error_message: of the official verdict ("" when valid); progress, format: the rewards; notes: what a reader must
    know; turns: see `_turn`.
    """
    verdict = official_verdict(task, trajectory.calls if calls is None else calls)
    notes: list[str] = []
    if trajectory.task_hash != task.content_hash:
        notes.append("The task was not played as the release has it (its tools were cut, or its data have changed).")
    notes += [f"A known defect of the benchmark: {visible(defect.wrong)}" for defect in defects_of(task)]
    api, results = ApiState(task), list[str]()
    turns = []
    for index, record in enumerate(trajectory.turns):
        odd = _replay(api, record, results)
        notes += [f"Turn {index + 1}: {visible(call)} does not give the stored result when executed again."
                  for call in odd]  # fmt: skip
        turns.append(_turn(task, trajectory, index, api, results, limit))
    return {
        "id": task.id,
        "category": task.category,
        "release": task.release,
        "feedback": trajectory.feedback,
        "rules": trajectory.rules,
        "stop": trajectory.stop_reason.value,
        "outcome": outcome(trajectory.stop_reason, verdict["valid"]),
        "error_type": (verdict["error_type"] or "").removeprefix("multi_turn:"),
        "error_message": visible(verdict["error_message"] or ""),
        "progress": progress_reward(trajectory),
        "format": format_reward(trajectory),
        "notes": notes,
        "turns": turns,
    }


def outcome(stop: StopReason, valid: bool) -> str:
    """One of OUTCOMES: an aborted episode says nothing of the model; one over budget is told apart from a wrong one."""
    if stop is StopReason.ABORTED:
        return "aborted"
    if valid:
        return "passed"
    return "over_budget" if stop is StopReason.OVER_BUDGET else "failed"


def _replay(api: ApiState, record: TurnRecord, results: list[str]) -> list[str]:
    """Execute a turn's calls on `api`, add the stored results to `results`, give the calls whose result is another.

    A call without a result was not executed, and one of a tool that was not on offer did nothing.
    """
    odd = []
    for reply in record.replies:
        for result in reply.results:
            results.append(result.text)
            if result.raised and result.text.startswith(f"{ERROR_PREFIX}name '"):
                continue
            if api.run([result.call])[0].text != result.text:
                odd.append(result.call)
    return odd


def _turn(
    task: Task, trajectory: Trajectory, index: int, api: ApiState, results: list[str], limit: int | None
) -> dict[str, Any]:
    """One turn.

    request, revealed: see `request_view`; possible: whether it can be done; end:
    how it ended; played: whether the model replied; score: 0 or 1; gold: the ground truth's calls; replies: see
    `reply_view`; state: places {"path", "model", "gold"} that differ at its end, None for a value that is not there;
    state_more: places left out; missing: the ground truth's results that the model has not got so far.
    """
    record, gold = trajectory.turns[index], gold_turns(task)[index]
    played = bool(record.replies) or record.end is not TurnEnd.NOT_REACHED
    places = differences(api, gold) if played else []
    return {
        **request_view(task, index, limit),
        "possible": bool(gold.results),
        "end": record.end.value,
        "played": played,
        "score": record.score,
        "gold": [show(result.call, limit) for result in gold.results],
        "replies": [reply_view(reply, limit, trajectory.max_result_characters) for reply in record.replies],
        "state": [
            {
                "path": visible(place.path),
                "model": None if place.model is None else show(place.model, limit),
                "gold": None if place.gold is None else show(place.gold, limit),
            }
            for place in places[:MAX_DIFFERENCES]
        ],
        "state_more": len(places[MAX_DIFFERENCES:]),
        "missing": [show(text, limit) for text in missing_results(results, gold)] if played else [],
    }


def request_view(task: Task, turn: int, limit: int | None) -> dict[str, Any]:
    """What a turn begins with. request: the user's words; revealed: tools that come on offer with it."""
    said = "\n".join(message["content"] for message in task.question[turn])
    return {
        "request": show(said or prompt.reveal_sentence(task.release), limit),
        "revealed": list(task.held_out.get(turn, ())),
    }


def reply_view(record: ReplyRecord, limit: int | None, readable: int | None) -> dict[str, Any]:
    """One reply. `readable`: the trajectory's max_result_characters.

    kind; think; answer; error: what was wrong with an ill-formed one; raw: such a reply as it stands; hint, hint_id: what
    it was told to write instead; calls: {"call", "result", "status": ok | error | raised | not_run, "hint", "hint_id",
    "unread": characters of the result's middle that the model was not given}.
    """
    parsed = parse_reply(record.reply)
    ill_formed = record.kind is ReplyKind.ILL_FORMED
    calls = []
    for place, call in enumerate(record.calls):
        result = record.results[place] if record.results else None
        status = "not_run" if result is None else "raised" if result.raised else "error" if result.error else "ok"
        calls.append(
            {
                "call": show(call, limit),
                "result": show(result.text, limit) if result else "",
                "status": status,
                "hint": _at(record.hints, place),
                "hint_id": _at(record.hint_ids, place),
                "unread": max(0, len(result.text) - readable) if result and readable is not None else 0,
            }
        )
    return {
        "kind": record.kind.value,
        "think": show("" if ill_formed else parsed.think, limit),
        "answer": show("" if ill_formed else parsed.answer, limit),
        "error": visible(record.error),
        "raw": show(record.reply if ill_formed else "", limit),
        "hint": _at(record.hints, 0) if ill_formed else "",
        "hint_id": _at(record.hint_ids, 0) if ill_formed else "",
        "calls": calls,
    }


def _at(texts: Sequence[str], place: int) -> str:
    return visible(texts[place]) if place < len(texts) else ""
