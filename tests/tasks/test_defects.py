"""The list of known defects: every entry's evidence derived again from BFCL's data, and a search for what is missing.

What is searched for in all 1,600 tasks, so that the list is complete: tools called before they are on offer, texts of
three words or more that are compared to the letter but given nowhere, ids that no tool shows, tasks that the policy of
readers passes, and the classes that leave a task sound. Wrong numbers and short texts were found by reading; their
evidence is checked here, that there are no more of them is not.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
import sys
from datetime import datetime
from functools import cache

import pytest
from helpers.evidence import changed_calls, is_given, readable

from envtune.bfcl import CATEGORIES, RELEASES, load_api_classes
from envtune.environment.executor import ApiState, call_text
from envtune.environment.gold import gold_turns, missing_results, state_differences
from envtune.environment.gold_policy import gold_calls
from envtune.environment.reply import ToolCall
from envtune.errors import EnvtuneError
from envtune.profile import ROOT
from envtune.scoring import official_verdict
from envtune.tasks import Defect, Task, find_task, is_sound, known_defects, load_defects, load_split, load_tasks

DEFECTS = load_defects().defects
ID_ARGUMENTS = {"ticket_id", "order_id", "booking_id", "card_id", "receiver_id", "user_id", "tweet_id"}
# Texts that the search finds and that are no defects: the user gives a template or a layout to fill in.
FILLED_IN = {15: "rows on lines of their own", 62: "a distance", 75: "tire pressures", 95: "a distance", 147: "a price"}


def listed(kind: str, release: str) -> list[Defect]:
    return [defect for defect in known_defects(release) if defect.kind.name == kind]


def ids(defects: list[Defect]) -> set[str]:
    return {defect.task_id for defect in defects}


# ---- the file


def test_schema() -> None:
    found = load_defects()
    assert re.fullmatch(r"\d+", found.version) and re.fullmatch(r"\d{4}-\d\d-\d\d", found.date)
    assert {d.kind.name for d in DEFECTS} == set(found.classes), "a class without an entry"
    assert len({(d.task_id, d.release, d.kind.name, d.wrong) for d in DEFECTS}) == len(DEFECTS), "an entry twice"
    for defect in DEFECTS:
        assert find_task(defect.task_id, defect.release).id == defect.task_id
        assert len(defect.wrong) > 40 and defect.wrong.endswith(".") and defect.evidence
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", thread) for thread in defect.threads)


def test_soundness_follows_the_classes(release: str) -> None:
    unsound = {d.task_id for d in known_defects(release) if d.kind.unsound}
    assert {task.id for task in load_tasks(release) if not is_sound(task.id, release)} == unsound
    assert "multi_turn_miss_func_49" in unsound and "multi_turn_base_0" not in unsound
    with pytest.raises(EnvtuneError, match="v3"):
        is_sound("multi_turn_base_0", "v3")
    with pytest.raises(EnvtuneError, match="v3"):
        known_defects("v3")


def test_fixed_tasks_are_not_listed_for_the_newer_release() -> None:
    for task_id in ("multi_turn_base_8", "multi_turn_base_97", "multi_turn_base_143", "multi_turn_base_186"):
        assert not is_sound(task_id, "paper") and is_sound(task_id, "current")


# ---- withheld_tool


def test_tools_called_before_they_are_on_offer(release: str) -> None:
    found = {
        (task.id, call.name)
        for task in load_tasks(release)
        for turn, calls in enumerate(gold_calls(task))
        for call in calls
        if call.name not in {tool["name"] for tool in task.tools_on_offer(turn)}
    }
    assert found == {(d.task_id, e["tool"]) for d in listed("withheld_tool", release) for e in d.evidence}
    for task_id, tool in found:  # the check asks for it: without that call the task fails
        task = find_task(task_id, release)
        turns = [[[c] for c in calls if not c.startswith(f"{tool}(")] for calls in task.ground_truth]
        assert not official_verdict(task, turns)["valid"]


# ---- contradicted, undetermined


@pytest.mark.parametrize(
    "defect",
    [d for d in DEFECTS if d.kind.name in ("contradicted", "undetermined")],
    ids=lambda d: f"{d.release}-{d.task_id.removeprefix('multi_turn_')}",
)
def test_values_that_are_compared_but_not_given(defect: Defect) -> None:
    task = find_task(defect.task_id, defect.release)
    texts = readable(task)
    for evidence in defect.evidence:
        new = evidence["given" if defect.kind.name == "contradicted" else "other"]
        changes = list(changed_calls(task, evidence, new))
        assert changes
        turn, number, _ = changes[0]
        assert not is_given(evidence["gold"], texts[turn][number]), "the right value can be read"
        if defect.kind.name == "contradicted":
            assert is_given(new, texts[turn][number]), "what is said to be asked for is not"
        for *_, turns in changes:
            assert not official_verdict(task, turns)["valid"], "the checker does not compare it"


def showing_calls(api: ApiState, argument: str, words: str) -> list[str]:
    """The calls by which a tool shows ids that are not known yet."""
    token = api.public_state().get("TravelAPI", {}).get("access_token", "")
    return {
        "ticket_id": ["get_user_tickets()", "ticket_login(username='a', password='b')", "get_user_tickets()"],
        "order_id": ["get_order_history()"],
        "booking_id": [f"get_booking_history(access_token={token!r})"],
        "card_id": ["get_all_credit_cards()"],
        "receiver_id": [f"get_user_id(user={name!r})" for name in re.findall(r"\b[A-Z]\w+", words)],
        "user_id": [],
        "tweet_id": [],
    }[argument]


def test_ids_that_no_tool_shows(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        texts = None
        for turn, calls in enumerate(gold_calls(task)):
            for number, call in enumerate(calls):
                for argument in ID_ARGUMENTS & set(call.arguments):
                    value = str(call.arguments[argument])
                    texts = texts or readable(task)
                    pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
                    if re.search(pattern, "\n".join(texts[turn][number])):
                        continue
                    api = ApiState(task)
                    for earlier in task.ground_truth[:turn]:
                        api.run(earlier)
                    words = " ".join(message["content"] for asked in task.question for message in asked)
                    shown = api.run(showing_calls(api, argument, words))
                    if not re.search(pattern, "\n".join(result.text for result in shown)):
                        found.add((task.id, value))
    known = {
        (d.task_id, e["gold"])
        for d in listed("undetermined", release)
        for e in d.evidence
        if e["argument"] in ID_ARGUMENTS
    }
    assert found == known


def test_no_other_text_is_compared_to_the_letter_but_given_nowhere(release: str) -> None:
    known = {
        (d.task_id, e["tool"]) for kind in ("contradicted", "undetermined") for d in listed(kind, release) for e in d.evidence
    }  # fmt: skip
    found, reviewed = set(), set()
    for task in load_tasks(release):
        texts = None
        for turn, calls in enumerate(gold_calls(task)):
            for number, call in enumerate(calls):
                for argument, value in call.arguments.items():
                    if not isinstance(value, str) or len(value.split()) < 3:
                        continue
                    texts = texts or readable(task)
                    evidence = {"tool": call.name, "argument": argument, "gold": value}
                    if is_given(value, texts[turn][number]):
                        continue
                    if all(official_verdict(task, t)["valid"] for *_, t in changed_calls(task, evidence, f"{value} x")):
                        continue
                    if task.index in FILLED_IN:
                        reviewed.add(task.index)
                    else:
                        found.add((task.id, call.name))
    assert found - known == set()
    assert reviewed == set(FILLED_IN)


# ---- passes_anyway, and the classes that leave a task sound


@cache
def no_argument_tools(task: Task) -> list[str]:
    """The tools that need no argument and, called first, change no compared state: readers."""
    readers = []
    for tool in task.tools:
        if not tool["parameters"].get("required"):
            api = ApiState(task)
            before = pickle.dumps(api.public_state())
            api.run([f"{tool['name']}()"])
            if pickle.dumps(api.public_state()) == before:
                readers.append(str(tool["name"]))
    return readers


def test_tasks_that_the_policy_of_readers_passes(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        turn = [[f"{reader}()" for reader in no_argument_tools(task)]]
        if official_verdict(task, [turn] * len(task.ground_truth))["valid"]:
            found.add(task.id)
    assert found == ids(listed("passes_anyway", release))


def test_unchecked_turns(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        empty = [turn for turn, calls in enumerate(task.ground_truth) if not calls]
        impossible = 1 if task.category in ("miss_func", "miss_param") else 0
        if len(empty) > impossible:
            found.add((task.id, tuple(empty[impossible:])))
    assert found == {(d.task_id, tuple(e["turns"])) for d in listed("unchecked_turn", release) for e in d.evidence}


def test_turns_done_before(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        api, results = ApiState(task), []
        for turn, gold in enumerate(gold_turns(task)):
            if gold.results and not missing_results(results, gold) and not state_differences(api, gold):
                found.add((task.id, turn, gold_calls(task)[turn][0].name))
            results += [result.text for result in api.run(task.ground_truth[turn])]
    assert found == {(d.task_id, e["turn"], e["tool"]) for d in listed("done_before", release) for e in d.evidence}


def test_tools_held_out_for_nothing(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        for turn, names in task.held_out.items():
            if not {call.name for calls in gold_calls(task)[turn:] for call in calls} & set(names):
                found |= {(task.id, name) for name in names}
    assert found == {(d.task_id, e["tool"]) for d in listed("withheld_unused", release) for e in d.evidence}


def test_impossible_turns_that_can_be_done(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        held = {name for names in task.held_out.values() for name in names}
        places = [
            (t, n, call) for t, calls in enumerate(gold_calls(task)) for n, call in enumerate(calls) if call.name in held
        ]  # fmt: skip
        if len({call.name for *_, call in places}) != 1 or len(held) != 1:
            continue
        for tool in task.tools_on_offer(0):
            turns = [[[call] for call in texts] for texts in task.ground_truth]
            for t, n, call in places:
                names = list(tool["parameters"]["properties"])[: len(call.arguments)]
                turns[t][n] = [
                    call_text(ToolCall(tool["name"], dict(zip(names, call.arguments.values(), strict=False))))
                ]
            if official_verdict(task, turns)["valid"]:
                found.add((task.id, places[0][2].name, tool["name"]))
    assert found == {(d.task_id, e["tool"], e["instead"]) for d in listed("possible_turn", release) for e in d.evidence}


def disturbing(task: Task) -> list[str]:
    """The readers that leave something behind in their API object, the state of its random numbers included."""
    classes, found = load_api_classes(task.release), []
    for owner in task.involved_classes:
        instance = classes.new(owner, copy.deepcopy(task.initial_config.get(owner, {})), task.long_context)
        before = pickle.dumps(vars(instance))
        for reader in no_argument_tools(task):
            if reader in classes.methods[owner]:
                with contextlib.suppress(Exception):  # one that fails leaves what it leaves
                    getattr(instance, reader)()
                after = pickle.dumps(vars(instance))
                if after != before:
                    found.append(reader)
                before = after
    return found


def test_tasks_disturbed_by_reading(release: str) -> None:
    found = set()
    for task in load_tasks(release):
        for reader in disturbing(task):
            for turn, calls in enumerate(task.ground_truth):
                turns = [[[call] for call in texts] for texts in task.ground_truth]
                turns[turn].insert(0, [f"{reader}()"])
                if calls and not official_verdict(task, turns)["valid"]:
                    found.add((task.id, turn, reader))
    assert found == {
        (d.task_id, e["turn"], e["tool"]) for d in listed("disturbed_by_reading", release) for e in d.evidence
    }


def test_the_readme_counts_what_is_listed() -> None:
    lines = (ROOT / "envtune" / "tasks" / "README.md").read_text(encoding="utf-8").splitlines()
    rows = {row[0]: row for line in lines if line.startswith("| ") for row in [line.strip("| ").split(" | ")]}
    for name, kind in load_defects().classes.items():
        if kind.unsound:
            assert rows[name][1:4] == ["yes", *(by_category(ids(listed(name, release))) for release in RELEASES)]
    unsound = [{d.task_id for d in known_defects(release) if d.kind.unsound} for release in RELEASES]
    sound = [{d.task_id for d in known_defects(release) if not d.kind.unsound} for release in RELEASES]
    assert rows["**unsound**"][-3:-1] == [f"**{by_category(found)}**" for found in unsound]
    heldout = load_split().subsets["heldout"]
    assert rows["**unsound**"][-1] == (
        f"{len(unsound[0])} and {len(unsound[1])} of 800; "
        f"of the 300 held out {len(unsound[0] & heldout)} and {len(unsound[1] & heldout)}"
    )
    assert next(row for name, row in rows.items() if "done_before" in name)[2:4] == [str(len(found)) for found in sound]


def by_category(found: set[str]) -> str:
    counts = [sum(task_id.startswith(f"multi_turn_{category}_") for task_id in found) for category in CATEGORIES]
    return "/".join(map(str, counts)) if any(counts) else "none"


def test_no_ground_truth_depends_on_the_date(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one tool that reads the clock is verify_traveler_information, for a traveller's age."""
    module = sys.modules[load_api_classes(release).classes["TravelAPI"].__module__]
    tasks = [task for task in load_tasks(release) if "verify_traveler_information" in str(task.ground_truth)]
    results = []
    for year in (1990, 2024, 2036):
        clock = type("Clock", (datetime,), {"today": classmethod(lambda cls, year=year: cls(year, 6, 15))})
        monkeypatch.setattr(module, "datetime", clock)
        results.append([[r.text for calls in task.ground_truth for r in ApiState(task).run(calls)] for task in tasks])
    assert results[0] != results[1] == results[2]
