"""Native function calling: what is asked is what bfcl-eval's own OpenAI handler asks, for every task of both releases."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from helpers.eval_environment import EVAL_PYTHON, needs_eval

from envtune.bfcl import get_release
from envtune.environment import ReplyKind
from envtune.evaluation.bfcl_v3 import function_calling as fc
from envtune.evaluation.endpoint import Completion, NativeCall
from envtune.tasks import Task

# In the evaluation environment, with the release's own package in front: upstream's tools for the docs of every class.
_UPSTREAM = """
import json, sys
from pathlib import Path
from bfcl_eval.constants.type_mappings import GORILLA_TO_OPENAPI
from bfcl_eval.model_handler import utils
import bfcl_eval
try:
    from bfcl_eval.constants.enums import ModelStyle
    from bfcl_eval.utils import _func_doc_language_specific_pre_processing as hint
    style = ModelStyle.OPENAI_COMPLETIONS
except ImportError:
    from bfcl_eval.model_handler.model_style import ModelStyle
    from bfcl_eval.model_handler.utils import func_doc_language_specific_pre_processing as hint
    style = ModelStyle.OpenAI
folder = Path(bfcl_eval.__file__).parent / "data" / "multi_turn_func_doc"
found = {}
for path in sorted(folder.glob("*.json")):
    docs = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    for tool in utils.convert_to_tool(hint(docs, "multi_turn_base"), GORILLA_TO_OPENAPI, style):
        tool["function"].pop("response", None)
        found[tool["function"]["name"]] = tool
print("TOOLS" + json.dumps(found))
"""


@needs_eval
def test_tools_are_upstreams(release: str, tasks: tuple[Task, ...], tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(get_release(release).folder().parent)}
    environment |= {"BFCL_PROJECT_ROOT": str(tmp_path)}
    done = subprocess.run(
        [EVAL_PYTHON, "-c", _UPSTREAM], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    upstream = json.loads(done.stdout.split("TOOLS", 1)[1])
    seen = set()
    for task in tasks:
        last = len(task.question) - 1
        for tool in fc.native_tools(task, last):
            name = tool["function"]["name"]
            assert json.dumps(tool, sort_keys=True) == json.dumps(upstream[name], sort_keys=True), name
            seen.add(name)
    assert len(seen) > 120


def test_what_is_on_offer_and_what_is_said(tasks: tuple[Task, ...]) -> None:
    """Held-out tools come behind the others in the turn that reveals them, with BFCL's sentence."""
    held_out = [task for task in tasks if task.held_out]
    assert len(held_out) == 200
    for task in held_out:
        (turn, names), *_ = sorted(task.held_out.items())
        before = [tool["function"]["name"] for tool in fc.native_tools(task, turn - 1)]
        after = [tool["function"]["name"] for tool in fc.native_tools(task, turn)]
        assert not set(names) & set(before) and after[: len(before)] == before
        assert set(after) - set(before) == set(names)
        (message,) = fc.request(task, turn)
        assert message == {"role": "user", "content": message["content"]}
        assert message["content"] == "I have updated some more functions you can choose from. What about now?"


def completion(*arguments: str, text: str = "") -> Completion:
    calls = tuple(NativeCall(f"c{n}", "ls", text) for n, text in enumerate(arguments))
    return Completion(text, 1, 1, False, calls)


def test_replies_are_read_as_upstream_reads_them() -> None:
    _, parsed = fc.read(completion('{"a": true}', "{}"))
    assert parsed.kind is ReplyKind.TOOL_CALL and [dict(call.arguments) for call in parsed.calls] == [{"a": True}, {}]
    assert fc.said(completion("{}"), parsed)["content"] is None
    _, parsed = fc.read(completion(text="<think>ls?</think> It is done."))
    assert (parsed.kind, parsed.answer) == (ReplyKind.ANSWER, "It is done.")


@pytest.mark.parametrize("arguments", ["{", "[]", "1", '"x"', "", "{" * 5000, '{"a": ' * 40 + "1" + "}" * 40])
def test_calls_that_cannot_be_read_end_the_turn_and_are_not_sent_back(arguments: str) -> None:
    reply = completion(arguments)
    _, parsed = fc.read(reply)
    assert parsed.kind is ReplyKind.ILL_FORMED and "cannot be read" in parsed.error
    assert "tool_calls" not in fc.said(reply, parsed)
