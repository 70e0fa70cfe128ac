"""The executor: BFCL's results to the byte, without evaluating anything."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envtune.bfcl import get_release
from envtune.environment import ApiState, ToolCall
from envtune.tasks import find_task

ORACLE = Path(__file__).parent.parent / "helpers" / "bfcl_results.py"
CALLS = [
    "ls()", " \tpwd()", "pwd()\n", "\npwd()", "cd(folder='document')", "cd('document')", "pwd()", "cd(folder='nowhere')", "cd()", "cd(folder='a', x=1)",
    "ls(a=True)", "mkdir(dir_name='temp')", "mkdir(dir_name='temp')", "touch(file_name='a/b')", "sort(3)", "unknown(x=1)",
    "cd(folder=document)", "cd(folder='x'", "1 +", "", "cd folder", "echo(content='see ls (x) or \"q\"', file_name='n.txt')",
    "cat(file_name='n.txt')", "echo(content='a\\n (b)', file_name='m.txt')", "cat(file_name='m.txt')", "[ls(), pwd()]",
    "find(path='.', name='temp')", "wc(file_name='n.txt', mode='l')", "diff(file_name1='n.txt', file_name2='m.txt')",
    "remove(file_name='x')", "run()", "GorillaFileSystem.ls()", "functions.ls(a=True)", "a.b.ls()", "foo(a=bar)", "foo(a=inf)",
    "copy(source='a', destination='b')", "json(a=1)", "ls(a=True,\n a=False)", "nope(n=1, n=2)", "cd(folder=pwd())",
    "authenticate_twitter(username='analyst_pro', password='Kj8#mP9$vL2')", "post_tweet(content='hi', tags=['#a'])",
    "post_tweet(content='two', tags=['#a', '#b'], mentions=['@x'])", "list_all_following()", "comment(tweet_id=0, comment_content='c')",
    "get_user_stats(username='analyst_pro')", "tail(file_name='n.txt', lines=-(2))", "ls(a=not True)", "touch(file_name='a', file_name='b')",
]  # fmt: skip


def test_results_are_bfcls_to_the_byte(release: str) -> None:
    chosen = get_release(release)
    task = find_task("multi_turn_base_0", release)
    job = {
        "id": task.id,
        "initial_config": task.initial_config,
        "involved_classes": task.involved_classes,
        "calls": CALLS,
    }
    done = subprocess.run(
        [sys.executable, str(ORACLE), str(chosen.folder().parent)],
        input=json.dumps(job), capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = [result.text for result in ApiState(task, owner="oracle_eval").run(CALLS)]
    assert ours == json.loads(done.stdout)


HOSTILE = [
    "__import__('os').system('touch /tmp/envtune-pwned')", "cd(folder=__import__('os').popen('id').read())",
    "inspect.os.system(command='id')", "inspect.sys.exit()", "globals()", "exit()", "().__class__.__bases__[0].__subclasses__()",
    "cd.__func__.__globals__", "ls().__class__", "(lambda: ls())()", "[x for x in (1,)]", "ls(**{'a': True})", "ls(*[True])",
    "_navigate_to_directory('/')", "_load_scenario({})", "power(base=10, exponent=100000000)", "9**9**9", "'a' * 10**9",
    "logarithm(value=2, base=10, precision=100000000)", "square_root(number=2, precision=100000000)", "f'{ls()}'", "x := 1",
    "model_multi_turn_base_55_MathAPI_instance.__class__", "(" * 3000 + ")" * 3000, "-" * 5000 + "1", "\x00", "\ud800",
    "power(base=" + "9" * 4000 + ", exponent=9999)", "ls('" + "a" * 200_000 + "')", "open('/etc/passwd')", "ls if 1 else 2", "await ls()",
]  # fmt: skip


@pytest.mark.parametrize("call", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.timeout(5)
def test_hostile_calls_are_ordinary_errors(call: str) -> None:
    task = next(t for t in (find_task(f"multi_turn_base_{n}") for n in range(200)) if "MathAPI" in t.involved_classes)
    (result,) = ApiState(task).run([call])
    assert result.raised and result.text.startswith("Error during execution: ")
    assert not Path("/tmp/envtune-pwned").exists()


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_a_json_call_cannot_be_anything_but_a_call(name: str, arguments: dict[str, object]) -> None:
    result = ApiState(find_task("multi_turn_base_0")).call(ToolCall(name, arguments))
    assert result.error


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (ToolCall("functions.ls", {}), "name 'functions' is not defined"),
        (ToolCall("ls", {"from": "x"}), "invalid syntax (<string>, line 1)"),
        (ToolCall("remove", {"file_name": "x"}), "Function call remove is not allowed."),
        (ToolCall("find_file", {"name": float("nan")}), "name 'find_file' is not defined"),
        (ToolCall("ls", {"a": float("inf")}), "name 'inf' is not defined"),
        (ToolCall("os.system", {"command": "true"}), "name 'os' is not defined"),
    ],
)
def test_json_calls_fail_in_bfcls_words(call: ToolCall, says: str) -> None:
    """What its executor says to the text that its handlers write of such a call."""
    assert ApiState(find_task("multi_turn_base_0")).call(call).text == f"Error during execution: {says}"


def test_names_cannot_carry_code() -> None:
    api = ApiState(find_task("multi_turn_base_0"))
    for call in (ToolCall("ls(), mkdir", {"dir_name": "x"}), ToolCall("ls", {"a=True), mkdir(dir_name": "x"})):
        assert api.call(call).raised
    assert "x" not in api.run(["ls()"])[0].text


def test_nested_arguments_arrive_as_they_are() -> None:
    """BFCL's own way from JSON to text turns a nested object into a call."""
    task = next(t for t in (find_task(f"multi_turn_base_{n}") for n in range(200)) if "TicketAPI" in t.involved_classes)
    api = ApiState(task)
    api.run(["ticket_login(username='a', password='b')", "create_ticket(title='t')"])
    number = json.loads(api.run(["create_ticket(title='u')"])[0].text)["id"]
    assert not api.call(ToolCall("edit_ticket", {"ticket_id": number, "updates": {"priority": 5}})).error
    assert json.loads(api.run([f"get_ticket(ticket_id={number})"])[0].text)["priority"] == 5


def test_states_are_not_shared_and_are_freed() -> None:
    task = find_task("multi_turn_base_0")
    first, second = ApiState(task), ApiState(task)
    first.run(["mkdir(dir_name='only_here')"])
    assert "only_here" not in second.run(["ls()"])[0].text
    gone = weakref.ref(first._touched["GorillaFileSystem"])
    del first
    gc.collect()
    assert gone() is None
