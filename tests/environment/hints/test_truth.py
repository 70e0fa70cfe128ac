"""Cases where a hint could say what is not so: about another failure, of another file, or harmful.

Each is a call in a domain's example scenario, and the hint that is right there (or what must not be proposed).
"""

from __future__ import annotations

from typing import Any

import pytest
from helpers.hint_examples import task_of

from envtune.environment import ApiState, Episode, ReplyKind, ToolCall, render_reply
from envtune.environment.hints import Given, Situation, hint_set, offer_in
from envtune.environment.hints.file_system import FILE_SYSTEM
from envtune.environment.hints.hint import Domain, example
from envtune.environment.hints.math import MATH
from envtune.environment.hints.message import MESSAGE
from envtune.environment.hints.ticket import TICKET
from envtune.environment.hints.trading import TRADING
from envtune.environment.hints.travel import TRAVEL
from envtune.environment.hints.twitter import TWITTER
from envtune.environment.hints.vehicle import VEHICLE
from envtune.tasks import find_task

FULL = hint_set("full")
BOTH = ("paper", "current")


def said(
    domain: Domain, tool: str, arguments: dict[str, Any], *before: str, release: str = "paper", **state: Any
) -> Given | None:
    """The hint on a call in the scenario, after other calls."""
    task = task_of(domain, example(tool, **state), release)
    api, offer, call = ApiState(task), offer_in(task, 0), ToolCall(tool, arguments)
    api.run(before)
    known = api.snapshot(tool)
    result = api.call(call)
    return FULL.give(Situation(call, result.text, known, offer), result.error)


CASES = [
    # the cause is the type, not the value
    (VEHICLE, "estimate_distance", {"cityA": 83214, "cityB": 74532}, (), "vehicle.distance.type"),
    (TRAVEL, "get_credit_card_balance", {"access_token": "852763", "card_id": 11}, (), "travel.card.type"),
    (TRAVEL, "cancel_booking", {"access_token": 852763, "booking_id": "5"}, (), "travel.token.type"),
    (MESSAGE, "message_login", {"user_id": ["USR001"]}, (), "message.login.type"),
    (TWITTER, "unfollow_user", {"username_to_unfollow": ["bob"]}, ("authenticate_twitter('ann', 'pw')",),
     "twitter.unfollow.type"),
    (TRADING, "add_to_watchlist", {"stock": None}, (), "trading.watchlist.type"),
    (FILE_SYSTEM, "tail", {"file_name": "notes.txt", "lines": 1.0}, (), "call.type"),
    (TICKET, "get_ticket", {"ticket_id": 9.0}, (), "ticket.id.unknown.logged_out"),
    # the parameter's name, not its value
    (FILE_SYSTEM, "cat", {"file-name": "notes.txt"}, (), "call.parameter.name"),
    (FILE_SYSTEM, "cat", {"file_name": "notes.txt", "not a name": 1}, (), "call.parameter.name"),
    # what a call or a stored text contains is not what failed
    (FILE_SYSTEM, "cd", {"folder": "already the root"}, (), "fs.name.nowhere"),
    (FILE_SYSTEM, "cat", {"file_name": "Is a directory"}, (), "fs.name.nowhere"),
    (FILE_SYSTEM, "rmdir", {"dir_name": "not empty"}, ("touch('not empty')",), "fs.rmdir.file"),
    (FILE_SYSTEM, "mv", {"source": "File exists", "destination": "notes.txt"}, ("touch('File exists')",),
     "fs.destination.file"),
    (MESSAGE, "send_message", {"receiver_id": "No user is currently logged in", "message": "m"},
     ("message_login('USR001')",), "message.receiver.unknown"),
    (MESSAGE, "delete_message", {"receiver_id": "USR999"}, ("message_login('USR001')",), "message.receiver.unknown"),
    (TRADING, "place_order", {"order_type": "Buy", "symbol": "not authenticated", "price": 1.0, "amount": 1}, (),
     "trading.symbol.unknown"),
    (VEHICLE, "lockDoors", {"unlock": False, "door": ["x' is not defined"]}, (), "vehicle.doors"),
    (VEHICLE, "lockDoors", {"unlock": False, "door": ["got an unexpected keyword argument"]}, (), "vehicle.doors"),
    (VEHICLE, "lockDoors", {"unlock": False, "door": ["limit of this environment: a call"]}, (), "vehicle.doors"),
    (TRADING, "get_transaction_history", {"start_date": "invalid syntax"}, (), "trading.dates"),
    (TRAVEL, "get_flight_cost",
     {"travel_from": "SFO", "travel_to": "LAX", "travel_date": "1" * 1001, "travel_class": "economy"}, (),
     "call.limit.text"),
    # a stored value is the cause, and the arguments are right
    (MESSAGE, "search_messages", {"keyword": "m"}, ("message_login('USR001')", "send_message('USR002', None)"),
     "message.search.record"),
    (TWITTER, "search_tweets", {"keyword": "m"}, ("authenticate_twitter('ann', 'pw')", "post_tweet(content=5)"),
     "twitter.record"),
    (TICKET, "get_user_tickets", {"status": "open"}, ("ticket_login('ann', 'p')", "edit_ticket(1, {'status': 5})"),
     "ticket.record"),
    (FILE_SYSTEM, "du", {}, ("echo('\\ud800', 'notes.txt')",), "fs.content"),
    # where the very name is elsewhere, a similar one is not what was meant; nor is a file of that name somewhere else
    (FILE_SYSTEM, "cat", {"file_name": "a.txt"}, ("touch('b.txt')",), "fs.name.below"),
    (FILE_SYSTEM, "rm", {"file_name": "/notes.txt"}, ("mkdir('x')", "cd('x')", "touch('notes.txt')"),
     "fs.name.path.unknown"),
    (FILE_SYSTEM, "mkdir", {"dir_name": "notes.txt"}, (), "fs.make.taken"),
    (FILE_SYSTEM, "cd", {"folder": "../.."}, (), "fs.cd.top"),
    # nothing that the user did not ask for
    (VEHICLE, "setCruiseControl", {"speed": 0, "activate": False, "distanceToNextVehicle": 1}, (), "vehicle.cruise.off"),
    (TRAVEL, "retrieve_invoice", {"access_token": "852763", "insurance_id": "6"}, (), "travel.booking.missing"),
    (VEHICLE, "estimate_distance", {"cityA": "Berlin", "cityB": "74532"}, (), "vehicle.distance.code"),
    (MATH, "logarithm", {"value": 8, "base": 1, "precision": True}, (), "math.log"),
]  # fmt: skip


@pytest.mark.parametrize("release", BOTH)
@pytest.mark.parametrize(("domain", "tool", "arguments", "before", "id"), CASES)
def test_the_hint_is_about_what_failed(domain, tool, arguments, before, id, release) -> None:  # type: ignore[no-untyped-def]
    given = said(domain, tool, arguments, *before, release=release)
    assert given is not None and given.id == id, given and (given.id, given.text)


def test_book_flight_s_texts_are_not_taken_for_its_error() -> None:
    flight = {"access_token": "852763", "card_id": "11", "travel_date": "2026-01-02", "travel_to": "LAX",
              "travel_class": "economy"}  # fmt: skip
    for text in ("Token expired", "Invalid access token", "Card not registered", "Booking not found"):
        given = said(TRAVEL, "book_flight", {**flight, "travel_from": text}, release="current")
        assert given is not None and given.id == "travel.airport.code"


@pytest.mark.parametrize("release", BOTH)
def test_a_success_that_looks_like_a_failure_has_no_hint(release: str) -> None:
    before = ("ticket_login('ann', 'p')", "create_ticket(title='Error: user not authenticated')")
    assert said(TICKET, "get_user_tickets", {}, *before, release=release) is None


def test_a_wrong_token_that_uses_up_the_right_one() -> None:
    arguments = {"access_token": "1", "budget_limit": 3.0}
    for release, id in (("paper", "travel.token.used_up"), ("current", "travel.token.wrong")):
        given = said(TRAVEL, "set_budget_limit", arguments, release=release, token_expires_in=1)
        assert given is not None and given.id == id


HARMFUL = [
    (FILE_SYSTEM, "rm", {"file_name": "Notes.txt"}, "notes.txt"),  # would remove another file
    (FILE_SYSTEM, "mv", {"source": "Notes.txt", "destination": "x"}, "notes.txt"),
    (VEHICLE, "startEngine", {"ignitionMode": "stop"}, "START"),
    (TRADING, "make_transaction", {"account_id": 5, "xact_type": "withdraw", "amount": 1.0}, "deposit"),
    (VEHICLE, "lockDoors", {"unlock": True, "door": ["driver", "trunk"]}, "passenger"),
    (FILE_SYSTEM, "mkdir", {"dir_name": "../x/y"}, ".."),
]


@pytest.mark.parametrize(("domain", "tool", "arguments", "harm"), HARMFUL)
def test_what_would_do_something_else_is_not_proposed(domain, tool, arguments, harm) -> None:  # type: ignore[no-untyped-def]
    ready = {"doorStatus": {"driver": "locked"} | dict.fromkeys(("passenger", "rear_left", "rear_right"), "locked"),
             "brakePedalStatus": "pressed", "brakePedalForce": 1000.0} if domain is VEHICLE else {}  # fmt: skip
    given = said(domain, tool, arguments, **ready)
    assert given is not None
    assert given.call is None or harm not in str(given.call.arguments.values()), given.call


@pytest.mark.parametrize(
    ("reply", "id"),
    [
        ("<think>t</think>I moved the file (report.pdf) as asked.", "reply.answer.untagged"),
        ("<think>t</think>Then cat(file_name='x').", "reply.call.untagged"),
        ("<think>The user said: 'go', True, [1, ]</think><tool_call>[{\"name\": \"ls\", \"arguments\": {}]</tool_call>",
         "reply.json.brackets"),
        ('<think>t</think><tool_call>[{"name": "echo", "arguments": {"content": "x, \'y\'\n"}}]</tool_call>', "reply.json"),
        ("<think>I will <answer> later</think><tool_call>[1", "reply.unclosed"),
        ('<think>t</think><tool_call>[{"name": "ls", "arguments": {}}]</answer>', "reply.closing"),
        ('<think>t</think><tool_call>[{"name": "ls", "arguments": {}}]]</tool_call>', "reply.json.brackets"),
        ("<think>t</think><tool_call></tool_call>", "reply.json.empty"),
        ('<think>t</think><tool_call>["ls"]</tool_call>', "reply.keys"),
    ],
)  # fmt: skip
def test_the_hint_on_a_reply_is_about_what_is_wrong_with_it(reply: str, id: str) -> None:
    episode = Episode(find_task("multi_turn_base_0"), "full")
    episode.start()
    episode.step(reply)
    record = episode.trajectory.replies[-1]
    assert record.kind is ReplyKind.ILL_FORMED and record.hint_ids == (id,), (record.error, record.hints)


def test_a_hint_that_the_model_is_not_given_is_not_in_the_record() -> None:
    task = find_task("multi_turn_base_0")
    bad = render_reply("t", calls=[ToolCall("cd", {"folder": "nowhere"})])
    episode = Episode(task, "full", max_steps_per_turn=1)
    said = [message["content"] for message in episode.start()]
    while not episode.done:
        said += [message["content"] for message in episode.step("I call ls." if episode.turn == 1 else bad).messages]
    given = [hint for reply in episode.trajectory.replies for hint in reply.hints if hint]
    assert sum(text.count("Hint: ") for text in said) == len(given) == len(task.ground_truth) - 2
    quit_ = Episode(task, "full", max_steps_per_turn=1, rules="bfcl")
    quit_.start()
    steps = [quit_.step(bad), quit_.step(bad)]
    assert [reply.hints for reply in quit_.trajectory.replies][-1] == ("",) and not steps[-1].messages
