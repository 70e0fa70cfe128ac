"""Hint sets: by name, by id, with hints taken away; what goes into records; and the tables' own consistency."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.bfcl import RELEASES, load_api_classes
from envtune.environment import Episode, ToolCall, Trajectory, render_reply
from envtune.environment.executor import ApiState
from envtune.environment.hints import DOMAINS, HintKind, all_hints, hint_set
from envtune.environment.hints.trading import COMPANIES, SECTORS
from envtune.environment.hints.travel import AIRPORTS, CITIES, CURRENCIES
from envtune.environment.hints.vehicle import CITIES as ZIP_CITIES
from envtune.environment.hints.vehicle import OPTIONS
from envtune.errors import EnvtuneError
from envtune.tasks import find_task, load_tasks

IDS = [hint.id for hint in all_hints()]


def first_message(feedback: str, *calls: ToolCall) -> str:
    episode = Episode(find_task("multi_turn_base_0"), feedback)
    episode.start()
    return episode.step(render_reply("t", calls=calls)).messages[0]["content"]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("none", "none"), ("standard", "none"), ("full", "full"), ("augmented", "full"), ("authors", "authors"),
        (" full ", "full"), ("full,-none", "full"), ("full, -*", "none"), ("ticket.closed", "ticket.closed"),
        ("ticket.closed,ticket.fields", "ticket.closed,ticket.fields"), ("full,-travel.*", "full,-travel.*"),
        ("-fs.cd.root", "-fs.cd.root"),
    ],
)  # fmt: skip
def test_a_set_has_one_name(name: str, canonical: str) -> None:
    found = hint_set(name)
    assert found.name == canonical
    assert [hint.id for hint in hint_set(found.name).hints] == [hint.id for hint in found.hints]
    assert hint_set(found.name).digest == found.digest


@pytest.mark.parametrize("name", ["", ",", "loud", "full,nothing.here", "-nothing", "ticket", "FULL"])
def test_what_is_no_set_is_one_clear_error(name: str) -> None:
    with pytest.raises(EnvtuneError, match="feedback") as error:
        hint_set(name)
    assert "\n" not in str(error.value)


def test_an_unknown_hint_is_told_with_the_closest() -> None:
    with pytest.raises(EnvtuneError, match=r"ticket\.closed"):
        hint_set("ticket.close")


@given(st.text(max_size=40))
def test_any_text_is_a_set_or_that_error(name: str) -> None:
    try:
        assert hint_set(hint_set(name).name).name == hint_set(name).name
    except EnvtuneError as error:
        assert "feedback" in str(error)


def test_every_hint_can_be_switched_off_alone() -> None:
    call = ToolCall("cd", {"folder": "nowhere"})
    assert "Hint: " in first_message("full", call)
    assert "Hint: " not in first_message("none", call)
    assert "Call ls" in first_message("fs.name.nowhere", call)
    assert "Call ls" not in first_message("full,-fs.name.nowhere", call)
    for id in IDS[:48:12]:
        assert id not in [hint.id for hint in hint_set(f"authors,-{id}").hints]


def test_the_sets_name_and_the_hints_ids_are_in_the_trajectory() -> None:
    episode = Episode(find_task("multi_turn_base_0"), "full,-travel.*")
    episode.start()
    episode.step(render_reply("t", calls=[ToolCall("cd", {"folder": "nowhere"}), ToolCall("pwd", {})]))
    episode.step("I call ls.")
    stored = Trajectory.from_dict(episode.trajectory.as_dict())
    assert stored == episode.trajectory and stored.feedback == "full,-travel.*"
    assert [reply.hint_ids for reply in stored.replies] == [("fs.name.nowhere", ""), ("reply.think.missing",)]
    old = episode.trajectory.as_dict()
    for turn in old["turns"]:
        for reply in turn["replies"]:
            del reply["hint_ids"]  # as trajectories were stored before hints had ids
    assert Trajectory.from_dict(old).replies[0].hints == stored.replies[0].hints


def test_ids_are_unique_and_say_their_domain() -> None:
    assert len(IDS) == len(set(IDS))
    for domain in DOMAINS:
        assert {hint.id.split(".")[0] for hint in domain.hints} == {domain.name}


def test_the_authors_48_have_equivalents() -> None:
    ours = {number for hint in hint_set("full").hints for number in hint.authors}
    assert ours == set(range(1, 49))
    assert sorted(number for hint in hint_set("authors").hints for number in hint.authors) == list(range(1, 49))


def test_texts_name_only_values_that_there_are() -> None:
    for hint in all_hints():
        assert all(name == "call" or name.isidentifier() for names in hint.fields for name in names), hint.id
        assert not re.search(r"[{}]", re.sub(r"\{\w+\}|\{\{|\}\}", "", hint.text)), hint.id
        assert hint.kind is HintKind.DEPENDENCY or not hint.next or hint.id  # both kinds may lead to a call
        assert len(hint.text) < 260, hint.id


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_tables_know_of_the_api_is_what_it_does(release: str) -> None:
    def answers(owner: str, *calls: str) -> list[str]:
        task = next(task for task in load_tasks(release) if owner in task.involved_classes and not task.long_context)
        return [result.text for result in ApiState(task).run(calls)]

    (airports,) = answers("TravelAPI", "list_all_airports()")
    assert set(re.findall(r"[A-Z]{3}", airports)) == AIRPORTS
    cities = answers("TravelAPI", *(f"get_nearest_airport_by_city(location={city!r})" for city in CITIES))
    assert not [text for text in cities if "Unknown" in text] and len(set(cities)) == len(AIRPORTS)
    rates = answers("TravelAPI", *(f"compute_exchange_rate('USD', {code!r}, 1.0)" for code in CURRENCIES[1:]))
    assert not [text for text in rates if "Error" in text]
    zips = answers("VehicleControlAPI", *(f"get_zipcode_based_on_city(city={city!r})" for city in ZIP_CITIES))
    assert not [text for text in zips if "00000" in text]
    status = answers("VehicleControlAPI", *(f"displayCarStatus(option={option!r})" for option in OPTIONS))
    assert not [text for text in status if "error" in text]
    symbols = answers("TradingBot", *(f"get_symbol_by_name(name={name!r})" for name in COMPANIES))
    assert not [text for text in symbols if "not found" in text]
    stocks = answers("TradingBot", *(f"get_available_stocks(sector={sector!r})" for sector in SECTORS))
    assert not [text for text in stocks if "[]" in text]
    tools = {tool for methods in load_api_classes(release).methods.values() for tool in methods}
    both = {tool for name in RELEASES for methods in load_api_classes(name).methods.values() for tool in methods}
    for hint in all_hints():
        named: set[Any] = set(hint.tools or ()) | {call.tool for call in hint.next}
        assert named - {""} <= both, hint.id
        assert hint.tools is None or hint.tools == {""} or hint.tools & both
    assert tools <= both
