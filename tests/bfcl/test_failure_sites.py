"""Where BFCL's tools report failure: the list is complete, and a result is attributed to the place that made it."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.bfcl import failure_sites as module
from envtune.bfcl import get_release, load_api_classes
from envtune.bfcl.classes import CLASS_FILES
from envtune.bfcl.failure_sites import BEYOND_TASKS, RAISED, UNREACHABLE, SiteKind, failure_sites, site_of
from envtune.environment import ApiState, ToolCall
from envtune.environment.executor import ERROR_PREFIX
from envtune.hint_study.witnesses import calls_to, witnesses
from envtune.tasks import Task, find_task

# (ERROR, RAISE, STATUS, OTHER). The first three of "paper" are those of a count by hand.
COUNTS = MappingProxyType({
    "paper": {
        "GorillaFileSystem": (33, 2, 0, 0), "TravelAPI": (27, 3, 4, 1), "VehicleControlAPI": (16, 0, 1, 2),
        "MathAPI": (30, 0, 0, 0), "MessageAPI": (10, 0, 1, 0), "TwitterAPI": (11, 0, 3, 1), "TicketAPI": (10, 0, 2, 0),
        "TradingBot": (23, 0, 0, 6),
    },
    "current": {
        "GorillaFileSystem": (35, 2, 0, 0), "TravelAPI": (35, 3, 4, 1), "VehicleControlAPI": (16, 0, 1, 2),
        "MathAPI": (30, 0, 0, 0), "MessageAPI": (10, 0, 1, 0), "TwitterAPI": (11, 0, 3, 1), "TicketAPI": (10, 0, 2, 0),
        "TradingBot": (20, 0, 0, 6),
    },
})  # fmt: skip
# The one site that no result shows: a stock that is unknown is left out of the watchlist.
NOT_IN_THE_RESULT = frozenset({"TradingBot.add_to_watchlist.1"})


@functools.cache
def _tools(release: str) -> tuple[str, ...]:
    return tuple(tool for methods in load_api_classes(release).methods.values() for tool in methods)


def test_counts_are_those_of_a_count_by_hand(release: str) -> None:
    found = Counter((site.class_name, site.kind) for site in failure_sites(release))
    assert {name: tuple(found[name, kind] for kind in SiteKind) for name in CLASS_FILES} == COUNTS[release]
    if release == "paper":
        assert [sum(row[n] for row in COUNTS[release].values()) for n in range(3)] == [160, 5, 11]


def test_no_dict_with_an_error_and_no_raise_is_missed(release: str) -> None:
    folder = get_release(release).folder() / "eval_checker/multi_turn_eval/func_source_code"
    dicts = raises = 0
    for stem in CLASS_FILES.values():
        for node in ast.walk(ast.parse((folder / f"{stem}.py").read_text("utf-8"))):
            raises += isinstance(node, ast.Raise)
            dicts += isinstance(node, ast.Dict) and any(
                k is not None and ast.unparse(k) == "'error'" for k in node.keys
            )
    kinds = Counter(site.kind for site in failure_sites(release))
    raised_dicts = sum(site.pattern.pattern.startswith("Error") for site in failure_sites(release)) - kinds["raise"]
    assert kinds["error"] == dicts
    assert kinds["raise"] + raised_dicts == raises


def test_ids_are_unique_and_tools_exist(release: str) -> None:
    sites = failure_sites(release)
    assert len({site.id for site in sites}) == len(sites)
    for site in sites:
        assert site.tools
        assert site.tools <= set(load_api_classes(release).methods[site.class_name])
    assert RAISED == ERROR_PREFIX


def test_helpers_know_the_tools_that_use_them(release: str) -> None:
    by_id = {site.id: site for site in failure_sites(release)}
    cds = {"cd", "du"} if release == "paper" else {"cd", "du", "find"}
    adds = {"cp", "mv", "touch", "echo"} if release == "paper" else {"cp", "mv", "touch"}
    assert by_id["GorillaFileSystem._navigate_to_directory.1"].tools == cds
    assert by_id["GorillaFileSystem._add_file.1"].tools == adds
    assert by_id["GorillaFileSystem._add_directory.1"].tools == {"cp", "mv", "mkdir"}


def test_every_site_is_witnessed_or_said_to_be_out_of_reach(release: str) -> None:
    everything = {site.id for site in failure_sites(release)}
    witnessed = set(witnesses(release))
    assert not witnessed & set(UNREACHABLE[release])
    assert witnessed | set(UNREACHABLE[release]) == everything
    needs_a_scenario = {site for site, calls in witnesses(release).items() if calls[0].startswith("?")}
    assert needs_a_scenario == set(BEYOND_TASKS[release])


def test_results_are_attributed_to_their_site(release: str) -> None:
    wrong = {}
    for expected in witnesses(release).keys() - NOT_IN_THE_RESULT:
        state, call, _ = calls_to(release, expected)
        tool, text = call.split("(")[0], state.run([call])[0].text
        site = site_of(release, tool, text)
        if site is None or site.id != expected or tool not in site.tools or not site.pattern.fullmatch(text):
            wrong[expected] = (tool, text, site and site.id)
    assert not wrong


@pytest.mark.parametrize("call", ["displayCarStatus('x')", "estimate_distance('1', '2')"])
def test_results_with_more_keys_in_long_context(release: str, call: str) -> None:
    (result,) = ApiState(find_task("multi_turn_long_context_50", release)).run([call])
    site = site_of(release, call.split("(")[0], result.text)
    assert site is not None
    assert site.number == 1
    assert len(result.text) > 200


def test_no_task_starts_where_the_table_says_none_does(tasks: tuple[Task, ...]) -> None:
    for task in tasks:
        if "TravelAPI" in task.involved_classes:
            scenario = task.initial_config["TravelAPI"]
            assert scenario["token_expires_in"] >= 2
            assert all("balance" in card for card in scenario["credit_card_list"].values())
        assert task.initial_config.get("VehicleControlAPI", {}).get("fuelLevel", 0) >= 0


def test_ground_truths_meet_only_failures_that_no_error_tells(release: str, tasks: tuple[Task, ...]) -> None:
    met = set()
    for task in tasks[:200]:
        for result in ApiState(task).run(call for turn in task.ground_truth for call in turn):
            site = site_of(release, result.call.split("(")[0], result.text)
            met |= {site} if site is not None else set()
    assert met
    assert {site.kind for site in met} <= {SiteKind.STATUS, SiteKind.OTHER}


@given(st.sampled_from(["paper", "current"]), st.data(), st.text())
def test_any_text_is_taken(release: str, data: st.DataObject, text: str) -> None:
    tool = data.draw(st.sampled_from(_tools(release)))
    start = data.draw(st.sampled_from(["", '{"error": "', f"{RAISED}", "[", f'{{"error": "{tool}: ']))
    site = site_of(release, tool, start + text + data.draw(st.sampled_from(["", '"}', "'."])))
    assert site is None or tool in site.tools


@given(st.text(max_size=300))
def test_a_name_may_be_any_text(name: str) -> None:
    for release, tool in (("paper", "cat"), ("current", "cat"), ("current", "find")):
        result = ApiState(find_task("multi_turn_base_0", release)).call(
            ToolCall(tool, {"path" if tool == "find" else "file_name": name})
        )
        site = site_of(release, tool, result.text)
        assert (site is not None) == result.error
        assert site is None or site.method == tool


@pytest.mark.timeout(60)
def test_long_texts_take_linear_time(release: str) -> None:
    for site in failure_sites(release):
        first, *pieces = re.split(r"\{[^{}]*\}", site.text)
        for piece in {"a", '"', "'", first or "a", *pieces} - {""}:
            repeated = piece * (200_000 // len(piece))
            for tool in site.tools:
                for start in (
                    '{"error": "',
                    '{"booking_status": false, "error": "',
                    RAISED,
                    "{",
                    site.text.split("'")[0],
                ):
                    assert site_of(release, tool, f"{start}{first}{repeated}") is None


def test_unknown_tools_have_no_sites(release: str) -> None:
    assert site_of(release, "no_such_tool", '{"error": "x"}') is None
    assert site_of(release, "ls", '{"error": "x"}') is None
    assert site_of(release, "add_to_watchlist", "") is None


@pytest.mark.parametrize("name", ["TwitterAPI.retweet", "TwitterAPI.no_such_method"])
def test_a_silent_failure_that_the_source_no_longer_has_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    table = {**module._READ, name: ("{'retweet_status': 'Retweeted before'}", "nothing was done")}
    monkeypatch.setattr(module, "_READ", table)
    with pytest.raises(LookupError, match=name):
        failure_sites.__wrapped__("paper")
