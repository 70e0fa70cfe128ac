"""The limits of a call: what is past them is an ordinary error, what is below them is BFCL's, and no tool is slow."""

from __future__ import annotations

import decimal
import json
import time

import mpmath
import pytest

from envtune.bfcl import load_api_classes
from envtune.environment import ApiState, Episode, ToolCall, render_reply
from envtune.environment import limits as lim
from envtune.environment.executor import ERROR_PREFIX
from envtune.tasks import Task, find_task, load_tasks

LIMIT = ERROR_PREFIX + lim.LIMIT
TOO_MANY_DIGITS = f"{ERROR_PREFIX}Exceeds the limit (4300 digits) for integer string conversion"


def task_with(class_name: str, release: str = "paper", category: str = "base") -> Task:
    return next(t for t in load_tasks(release) if class_name in t.involved_classes and t.category == category)


@pytest.mark.parametrize(
    ("call", "start"),
    [
        ("power(base=10, exponent=100000000)", TOO_MANY_DIGITS),
        ("power(10, 4302)", TOO_MANY_DIGITS),
        (f"power(base={10**400}, exponent=10000)", TOO_MANY_DIGITS),
        (f"power(base={10**401}, exponent=1)", LIMIT + "an integer"),
        ("power(base=1, exponent=10000000)", '{"result": 1}'),
        ("power(base=20000, exponent=2)", '{"result": 400000000}'),
        ("power(base=1.0, exponent=1e300)", '{"result": 1.0}'),
        ("power(base=10, exponent=-3)", '{"result": 0.001}'),
        ("logarithm(value=2, base=10, precision=100000000)", LIMIT + "precision"),
        ("logarithm(2, 10, 100000000)", LIMIT + "precision"),
        ("logarithm(value=2, base=10, precision='1000000')", LIMIT + "precision"),
        ("logarithm(value='1e9999', base=10, precision=5)", "{'result': mpf("),
        (f"logarithm(value='1e{'9' * 100}', base=10, precision=5)", LIMIT + "value"),
        ("logarithm(2000, 10, 5)", "{'result': mpf('3.301"),
        ("square_root(number=2, precision=100000000)", LIMIT + "precision"),
        ("square_root(2000, 5)", "{'result': Decimal('44.721')}"),
        ("round_number(number=5, decimal_places=-10000000)", LIMIT + "decimal_places"),
        ("round_number(number=15, decimal_places=-1)", '{"result": 20}'),
        (f"add(a='{'x' * 20_000}', b=1)", LIMIT + "a call"),
    ],
)  # fmt: skip
def test_numbers(release: str, call: str, start: str) -> None:
    (result,) = ApiState(task_with("MathAPI", release)).run([call])
    assert result.text.startswith(start)
    assert len(result.call) < 1_000


def test_precision_is_not_left_behind() -> None:
    before = (decimal.getcontext().prec, mpmath.mp.dps)
    ApiState(task_with("MathAPI")).run(["logarithm(2, 10, 999)", "square_root(2, 999)"])
    assert (decimal.getcontext().prec, mpmath.mp.dps) == before


def files() -> ApiState:
    return ApiState(find_task("multi_turn_base_0"))


def test_a_directory_inside_itself_can_be_made_and_not_walked() -> None:
    api = files()
    made = api.run(["mkdir(dir_name='d')", "cp(source='d', destination='d')"])
    assert not any(result.error for result in made)
    assert all(result.text.startswith(LIMIT) for result in api.run(["find(path='.', name='x')", "du()"]))
    assert not api.run(["ls()"])[0].error


def test_copies_that_double_the_tree() -> None:
    api = files()
    api.run(["mkdir(dir_name='d0')", "touch(file_name='x')", "mv(source='x', destination='d0')"])
    for level in range(40):
        api.run([
            f"mkdir(dir_name='d{level + 1}')", f"cp(source='d{level}', destination='e{level}')",
            f"mv(source='d{level}', destination='d{level + 1}')", f"mv(source='e{level}', destination='d{level + 1}')",
        ])  # fmt: skip
    assert api.run(["find(path='.', name='x')"])[0].text.startswith(LIMIT)


def test_a_file_may_hold_what_is_no_text() -> None:
    api = files()
    assert not any(
        result.error for result in api.run(["echo(content=None, file_name='f')", "find(path='.', name='f')"])
    )


def test_results_of_nested_calls_do_not_grow_for_ever() -> None:
    api = files()
    calls = ["echo(content='0123456789', file_name='f')"] + ["echo(content=[cat('f'), cat('f')], file_name='f')"] * 30
    texts = [result.text for result in api.run(calls)]
    assert texts[-1].startswith(LIMIT) or "Error" in texts[-1]
    assert max(map(len, texts)) <= lim.MAX_RESULT_CHARACTERS


def test_a_result_too_long_is_an_error() -> None:
    api = files()
    content = "x" * (lim.MAX_CALL_CHARACTERS - 100)
    api.run([f"echo(content='{content}', file_name='f{number}')" for number in range(14)])
    reply = ", ".join(f"cat('f{number}')" for number in range(14))
    assert api.run([f"[{reply}]"])[0].text.startswith(LIMIT + "a result")
    long = ApiState(task_with("TravelAPI")).call(
        ToolCall("compute_exchange_rate", {"base_currency": "USD", "target_currency": "JPY", "value": "ab" * 5_000})
    )
    assert long.text.startswith(LIMIT + "a result")  # upstream repeats the string 110 times in its error


def test_all_text_of_an_episode_is_bounded() -> None:
    api = files()
    call = f"echo(content='{'x' * (lim.MAX_CALL_CHARACTERS - 100)}', file_name='f')"
    results = api.run([call] * (lim.MAX_EPISODE_CHARACTERS // len(call) + 3))
    assert not results[0].error and results[-1].text.startswith(LIMIT + "all calls")


def test_a_date_that_long_context_would_repeat(release: str) -> None:
    api = ApiState(task_with("TravelAPI", release, "long_context"))
    arguments = {"travel_from": "SFO", "travel_to": "LAX", "travel_class": "economy"}
    long = api.call(ToolCall("get_flight_cost", {**arguments, "travel_date": "x" * 1_001}))
    assert long.text.startswith(LIMIT + "travel_date")
    assert not api.call(ToolCall("get_flight_cost", {**arguments, "travel_date": "2024-11-15"})).error


VALUES = [
    "x" * (lim.MAX_CALL_CHARACTERS // 4), 10**400, -(10**400), 0, True, None, 1e308, -1.5, "/" * 5_000, "a/../" * 3_000, ".", "10",
    [1] * 5_000, [[]] * 1_000, {"x": "y" * 5_000}, ["😀" * 2_000], [10**300] * 40, {str(n): n for n in range(1_000)},
]  # fmt: skip


@pytest.mark.parametrize("category", ["base", "long_context"])
def test_every_tool_is_quick_at_the_limits(release: str, category: str) -> None:
    """Each tool with each of the values in all of its parameters, one state a tool, so that it grows. A hang, not a
    busy machine, is what the bound is for: the slowest takes some hundredths of a second."""
    slow = []
    for class_name, methods in load_api_classes(release).methods.items():
        tasks = [t for t in load_tasks(release) if class_name in t.involved_classes]
        task = next((t for t in tasks if t.category == category), tasks[0])
        for tool, parameters in methods.items():
            api = ApiState(task)
            for value in VALUES:
                began = time.thread_time()
                result = api.call(ToolCall(tool, dict.fromkeys(parameters, value)))
                if time.thread_time() - began > 1:
                    slow.append((tool, str(value)[:40]))
                assert len(result.text) <= lim.MAX_RESULT_CHARACTERS
    assert not slow


def test_defaults_are_not_shared_between_episodes(release: str) -> None:
    """Upstream keeps one list for all tweets without mentions, and `mention` writes to it."""
    task = next(t for t in load_tasks(release) if t.initial_config.get("TwitterAPI", {}).get("authenticated"))
    tweet = ToolCall("post_tweet", {"content": "x"})
    first = ApiState(task)
    posted = json.loads(first.call(tweet).text)
    assert posted["mentions"] == []
    assert not first.call(ToolCall("mention", {"tweet_id": posted["id"], "mentioned_usernames": ["@leak"]})).error
    assert "@leak" in first.call(ToolCall("get_tweet", {"tweet_id": posted["id"]})).text
    assert json.loads(ApiState(task).call(tweet).text) == posted


def test_the_weather_of_long_context_is_not_shared() -> None:
    from envtune.bfcl import classes

    task = task_with("VehicleControlAPI", category="long_context")
    weather = ToolCall("get_outside_temperature_from_google", {})
    method = load_api_classes("paper").classes["VehicleControlAPI"].get_outside_temperature_from_google
    padding = method.__wrapped__.__globals__[classes._WRITTEN_PADDING]
    before = dict(padding)
    first, second = ApiState(task).call(weather), ApiState(task).call(weather)
    assert first.text == second.text and len(first.text) > 1_000
    assert padding == before


def test_no_json_call_at_all_is_an_error_too() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for arguments in ({"a": deep}, {"a": 10**5_000}, {1: 2}, None):
        result = files().call(ToolCall("ls", arguments))  # type: ignore[arg-type]
        assert result.raised and len(result.call) < 500


def test_an_episode_survives_what_its_state_cannot_be_compared_with() -> None:
    episode = Episode(find_task("multi_turn_base_0"))
    episode.start()
    episode.step(
        render_reply(
            "t", calls=[ToolCall("mkdir", {"dir_name": "d"}), ToolCall("cp", {"source": "d", "destination": "d"})]
        )
    )
    assert episode.step(render_reply("t", answer="a")).turn_score == 0
    json.dumps(episode.trajectory.as_dict())
