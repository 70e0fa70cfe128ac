"""bfcl-eval's verdicts, by its own evaluators of single entries; and the replies that earn them.

To be imported only after the environment variables are set that upstream reads at import (see bfcl.py).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bfcl_eval.constants.enums import Language, ReturnFormat
from bfcl_eval.eval_checker import eval_runner
from bfcl_eval.eval_checker.agentic_eval.agentic_checker import agentic_checker
from bfcl_eval.utils import (
    extract_test_category_from_id,
    is_agentic,
    is_java,
    is_js,
    is_memory_prereq,
    is_relevance_or_irrelevance,
    load_dataset_entry,
    load_ground_truth_entry,
    sort_key,
)

from envtune.evaluation.upstream.bfcl_handler import MODEL, Handler
from envtune.evaluation.upstream.serve import DUMP_CHARACTERS, Result


@dataclass(frozen=True)
class Question:
    """An entry as the model gets it and as the scorer takes it (without hints on languages), and what it may answer.

    A memory prerequisite has no answer.
    """

    entry: dict[str, Any]
    scored: dict[str, Any] | None
    answer: list[Any] | None
    category: str


def load(categories: Sequence[str]) -> dict[str, Question]:
    """Item id -> question, in the order in which upstream plays them."""
    questions = {}
    for category in categories:
        scored = load_dataset_entry(category, include_prereq=False, include_language_specific_hint=False)
        # upstream, too, takes the n-th answer for the n-th entry: the ids of some differ
        known = not is_relevance_or_irrelevance(category)
        answers = load_ground_truth_entry(category) if known else [None] * len(scored)
        by_id = {
            entry["id"]: (entry, answer and answer["ground_truth"])
            for entry, answer in zip(scored, answers, strict=True)
        }
        for entry in sorted(load_dataset_entry(category), key=sort_key):
            of_entry = extract_test_category_from_id(entry["id"])
            questions[entry["id"]] = Question(entry, *by_id.get(entry["id"], (None, None)), of_entry)
    return questions


def score(handler: Handler, question: Question, result: Any) -> Result:
    """Upstream's verdict on a result, as it would have read it from its file."""
    category, identity = question.category, question.entry["id"]
    scored, answer = copy.deepcopy(question.scored), copy.deepcopy(question.answer)
    if is_agentic(category):
        verdict = eval_runner._evaluate_single_agentic_entry(handler, identity, result, answer, scored, MODEL, category)
    elif is_relevance_or_irrelevance(category):
        verdict = eval_runner._evaluate_single_relevance_entry(handler, identity, result, scored, MODEL, category)
    else:
        language, form = Language.PYTHON, ReturnFormat.PYTHON
        if is_java(category):
            language, form = Language.JAVA, ReturnFormat.JAVA
        elif is_js(category):
            language, form = Language.JAVASCRIPT, ReturnFormat.JAVASCRIPT
        verdict = eval_runner._evaluate_single_ast_entry(
            handler, identity, result, answer, scored, MODEL, category, language=language, return_format=form
        )
    return _result(verdict)


def _result(verdict: Mapping[str, Any]) -> Result:
    if verdict["valid"]:
        return Result(passed=True)
    found = verdict["error"]
    error_type, message = verdict.get("error_type"), found
    if isinstance(found, dict):
        error_type, message = found.get("error_type"), found.get("error_message")
    parts = message if isinstance(message, list) else [message]
    return Result(False, error_type=error_type, error_message="; ".join(map(str, parts))[:500])


def conversation_details(handler: Handler, result: Any) -> dict[str, Any]:
    """What was said and done: replies, tool calls, and the length of the message that was scored."""
    if not isinstance(result, list):
        return {"steps": 0, "tool_calls": 0}
    replies = [reply for turn in result for reply in turn]
    calls = sum(len(reply) for reply in replies if isinstance(reply, list))
    last = str(_last_message(handler, result[0] if len(result) == 1 else []) or "")
    return {
        "steps": len(replies),
        "tool_calls": calls,
        "answer_characters": len(last),
        "last_message_words": len(last.split()),
        "dump": len(last) > DUMP_CHARACTERS,
    }


def _last_message(handler: Handler, replies: Sequence[Any]) -> Any:
    """The last reply that is no call, which upstream's scorer looks into."""
    for reply in reversed(replies):
        try:
            if not eval_runner.is_empty_execute_response(handler.decode_execute(reply, False)):
                continue
        except Exception:  # noqa: BLE001 - as upstream: what cannot be decoded is a message
            pass
        return reply
    return None


def gold(question: Question) -> dict[str, Any]:
    """The reply that ought to be judged right."""
    if is_memory_prereq(question.category):
        return {"text": "Noted."}
    if is_agentic(question.category):
        answers = question.answer or []
        right = [answer for answer in answers if agentic_checker(answer, answers)["valid"]]
        return {"text": (right or answers)[0]}
    if question.answer is not None:
        calls = [call for chosen in question.answer for call in _calls(question, chosen)]
        return {"calls": calls}
    if "irrelevance" in question.category:
        return {"text": "I cannot do that."}
    return {"calls": [{"name": question.entry["function"][0]["name"].replace(".", "_"), "arguments": {}}]}


def _calls(question: Question, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    schemas = {tool["name"]: tool["parameters"] for tool in (question.scored or {})["function"]}
    calls = []
    for name, allowed in chosen.items():
        needed, types = schemas[name].get("required", ()), schemas[name]["properties"]
        arguments = {key: _first(values) for key, values in allowed.items() if key in needed or not _optional(values)}
        if is_java(question.category):
            arguments = {key: _java(value, types[key]) for key, value in arguments.items()}
        elif is_js(question.category):
            arguments = {
                key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()
            }
        calls.append({"name": name.replace(".", "_"), "arguments": arguments})
    return calls


def _optional(values: Any) -> bool:
    return isinstance(values, list) and "" in values


def _first(values: Any) -> Any:
    """The first allowed value; inside a dictionary each key has its own list of them."""
    if not isinstance(values, list) or not values:
        return values  # some of upstream's answers lack the list
    value = next((value for value in values if value != ""), "")
    if isinstance(value, dict):
        return {key: _first(inner) for key, inner in value.items() if not _optional(inner)}
    if isinstance(value, list):
        return [_first([item]) if isinstance(item, dict) else item for item in value]
    return value


def _java(value: Any, schema: Mapping[str, Any]) -> str:
    """A value as Java source, in which the tools of that category take everything. Upstream's reader takes quotes off
    in an ArrayList of strings only, and knows a long and a float by their suffix."""
    kind = schema["type"]
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        inner = schema.get("items", {})
        quoted = kind == "ArrayList" and inner.get("type") == "String"
        items = ", ".join(f'"{item}"' if quoted else _java(item, {"type": "any", **inner}) for item in value)
        return f"new ArrayList<>(Arrays.asList({items}))" if kind == "ArrayList" else f"new Object[]{{{items}}}"
    if isinstance(value, dict):
        puts = " ".join(f"put({json.dumps(key)}, {json.dumps(item)});" for key, item in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    return f"{value}{'L' if kind == 'long' else 'f' if kind == 'float' else ''}"
