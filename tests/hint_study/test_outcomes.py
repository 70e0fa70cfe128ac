"""What is counted after a failure: given or withheld, the next step in the same turn, the proposed call."""

from __future__ import annotations

from envtune.environment import Episode, ToolCall, Trajectory, render_reply
from envtune.hint_study import hint_outcomes
from envtune.tasks import Task, find_task

TASK = find_task("multi_turn_base_0")
ANSWER = render_reply("t", answer="a")
LS, BAD = ToolCall("ls", {}), ToolCall("cd", {"folder": "nowhere"})


def calls(*made: ToolCall) -> str:
    return render_reply("t", calls=list(made))


def played(feedback: str, *replies: str) -> tuple[Task, Trajectory]:
    episode = Episode(TASK, feedback)
    episode.start()
    for reply in replies:
        episode.step(reply)
    return TASK, episode.trajectory


def test_the_next_step_in_the_same_turn() -> None:
    found = hint_outcomes(
        [
            played("full", calls(BAD), calls(LS), ANSWER, ANSWER, ANSWER, ANSWER),  # succeeds
            played("full", calls(BAD), calls(BAD), ANSWER, calls(BAD)),  # fails; answered; no next step
            played("none", calls(BAD), calls(LS, BAD), calls(LS)),  # withheld: fails, then succeeds
        ]
    )
    assert list(found) == ["fs.name.nowhere"]
    row = found["fs.name.nowhere"]
    given = row.given
    assert (given.times, given.next_step, given.succeeded, given.answered) == (4, 3, 1, 1)
    withheld = row.withheld
    assert (withheld.times, withheld.next_step, withheld.succeeded, withheld.answered) == (2, 2, 1, 0)
    assert given.share == 1 / 3 and withheld.share == 0.5
    assert (row.proposed, row.worked) == (6, 6)


def test_replies_that_are_not_in_the_format_and_silent_failures_count_too() -> None:
    login = ToolCall("authenticate_twitter", {"username": "nobody", "password": "x"})
    found = hint_outcomes([played("full", "I call ls.", calls(login), calls(LS), ANSWER)])
    assert {id: (row.given.times, row.given.succeeded) for id, row in found.items()} == {
        "reply.think.missing": (1, 0), "twitter.login.wrong": (1, 1),
    }  # fmt: skip


def test_a_failure_that_no_hint_of_the_set_was_for_is_withheld() -> None:
    found = hint_outcomes([played("full,-fs.*", calls(BAD), calls(LS), ANSWER)])
    assert [(id, row.given.times, row.withheld.times) for id, row in found.items()] == [("call.value", 1, 0)]
    found = hint_outcomes([played("authors", calls(BAD), calls(LS), ANSWER)])
    assert [(id, row.given.times) for id, row in found.items()] == [("authors.02", 1)]


def test_tools_that_were_not_on_offer_do_not_run_again() -> None:
    task = find_task("multi_turn_miss_func_0")  # `sort` is held out at first
    episode = Episode(task, "full")
    episode.start()
    episode.step(calls(ToolCall("sort", {"file_name": "final_report.pdf"})))
    episode.step(calls(LS))
    found = hint_outcomes([(task, episode.trajectory)])
    assert set(found) <= {"call.tool.unknown", "call.tool.similar"}
    assert sum(row.given.succeeded for row in found.values()) == 1
