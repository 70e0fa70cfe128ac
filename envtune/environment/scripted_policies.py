"""Policies that make the mistakes that models make, to play every task without a model: hints are measured on them.

    trajectory = play(Episode(task), PerturbedGold(task, seed=0))

A reply depends on the seed, the task and the results so far, never on a hint: episodes that differ in their feedback
get the same replies. So do processes: words of a result are sorted, since upstream writes a set into one of its errors.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

from envtune.bfcl import load_api_classes
from envtune.environment import Episode, Step, ToolCall, Trajectory, render_reply
from envtune.environment.gold_policy import gold_calls
from envtune.tasks import Task

Perturbation = Callable[[Task, ToolCall, random.Random, Collection[str]], ToolCall | None]
_FILE = r"file_name\d?|dir_name|folder|source|destination"
_NAME = rf"{_FILE}|\w*user(name)?(_\w+)?|name|symbol|stock|city[AB]?|keyword|\w+_id"
_CHOICE = r"mode|option|unit\w*|\w+_type|\w+_class|ignitionMode|status|sector|location|\w+_currency|name"
_TOKEN = re.compile(r"""(?:"(\w+)": )?["'(]?([\w#@-][\w.@-]*\w|\w)""")  # with the key in front of it, if it has one
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,20})?")
_TEXTS = ("", "dir/name", "..", "a|b?", "12345", "10:30 AM", "2024-13-45", "USD", "see sort (x)", None, 7, (), True)
_NUMBERS = (-1, -2.5, 0, 0.0, 0.5, 1, 2.5, 101, 2000, 1e6, 10**350, "7", "many", None, True, (), (1,))
_OTHERS = ("true", "status", None, 5, (), ("all",), (None,), (1, "two"), ((1,),), (1e308, 1e308))
_ANSWER = render_reply("That is all.", answer="Done.")


class Policy(Protocol):
    """What replies in an episode. name: short, for reports."""

    name: str

    def reply(self, episode: Episode, last: Step | None) -> str:
        """The text of the next reply; `last`: what the one before led to, None at the start of an episode."""


def play(episode: Episode, policy: Policy) -> Trajectory:
    """Start the episode and play it to its end."""
    episode.start()
    last = None
    while not episode.done:
        last = episode.step(policy.reply(episode, last))
    return episode.trajectory


def _owner(task: Task, tool: str) -> str:
    methods = load_api_classes(task.release).methods
    return next((name for name in task.involved_classes if tool in methods[name]), "")


def _one_of(mistakes: Callable[[Task, ToolCall, Collection[str]], Iterable[ToolCall]]) -> Perturbation:
    def perturb(task: Task, call: ToolCall, rng: random.Random, on_offer: Collection[str]) -> ToolCall | None:
        found = [wrong for wrong in mistakes(task, call, on_offer) if repr(wrong) != repr(call)]  # 2 is not 2.0 here
        return rng.choice(found) if found else None

    return perturb


def _value(parameters: str, kinds: tuple[type, ...], *changes: Callable[[Any], Any]) -> Perturbation:
    """Another value for an argument with such a name and of such a type."""
    fits = re.compile(parameters).fullmatch
    return _one_of(lambda _, call, __: [
        ToolCall(call.name, {**call.arguments, name: change(value)}) for name, value in call.arguments.items()
        if type(value) in kinds and fits(name) for change in changes])  # fmt: skip


# c is the call, t the task, o the names on offer, v a value.
PERTURBATIONS: tuple[tuple[str, Perturbation], ...] = (
    ("path for a name", _value(_FILE, (str,), "dir/{}".format, "./{}".format, "/{}".format)),
    ("name that does not exist", _value(_NAME, (str,), "missing_{}".format)),
    ("illegal character", _value(_FILE, (str,), "{}?".format, "a|{}".format, '"{}"'.format)),
    ("another name", _one_of(lambda t, c, _: [
        ToolCall(c.name, {**c.arguments, name: v}) for name in c.arguments if re.fullmatch(_FILE, name)
        for calls in gold_calls(t) for call in calls for k, v in call.arguments.items() if re.fullmatch(_FILE, k)])),
    ("similar tool", _one_of(lambda t, c, o: [
        ToolCall(doc["name"], dict(zip(doc["parameters"]["properties"], c.arguments.values(), strict=False)))
        for doc in sorted(t.tools, key=lambda doc: len({*doc["name"]} ^ {*c.name}))
        if doc["name"] in o and _owner(t, doc["name"]) == _owner(t, c.name)][1:4])),
    ("misspelt tool", _one_of(lambda _, c, o: [ToolCall(name, c.arguments) for name in (
        f"{c.name}s", f"get_{c.name}", c.name.replace("_", ""), c.name.lower(), "remove", "a-b") if name not in o])),
    ("tool with its class", _one_of(lambda t, c, _: [ToolCall(f"{_owner(t, c.name)}.{c.name}", c.arguments)])),
    ("held-out tool", _one_of(lambda t, c, o: [
        ToolCall(doc["name"], c.arguments) for doc in t.tools if doc["name"] not in o])),
    ("missing argument", _one_of(lambda _, c, __: [
        ToolCall(c.name, {key: v for key, v in c.arguments.items() if key != name}) for name in c.arguments])),
    ("unexpected argument", _one_of(lambda _, c, __: [ToolCall(c.name, {**c.arguments, "verbose": True})])),
    ("misspelt parameter", _one_of(lambda _, c, __: [
        ToolCall(c.name, {new if key == old else key: v for key, v in c.arguments.items()})
        for old in c.arguments for new in (f"{old}_name", f"{old}s", old.replace("_", "-"), old.upper())])),
    ("number as a string", _value(".*", (int, float), str)),
    ("string as a number", _value(".*", (str,), lambda v: int(v) if re.fullmatch("[0-9]{1,20}", v) else 12345)),
    ("list for a scalar", _value(".*", (str, int, float, bool), lambda v: [v])),
    ("scalar for a list", _value(".*", (list,), lambda v: v[0] if v else "", lambda v: ", ".join(map(str, v)))),
    ("wrong item", _value(".*", (list,), lambda v: [*v, "missing_item"], lambda v: [*v, None], lambda _: [])),
    ("null", _value(".*", (str, int, float, bool, list, dict), lambda _: None)),
    ("wrong id", _value(r"(\w+_)?id", (str, int), lambda v: v + 1 if isinstance(v, int) else f"{v[:-1]}{len(v) % 10}")),
    ("negative or zero", _value(".*", (int, float), lambda v: -v, lambda _: 0)),
    ("out of range", _value(".*", (int, float), lambda v: v * 1000 + 7, lambda v: v % 10**9 / 2)),
    ("wrong choice", _value(_CHOICE, (str,), str.upper, str.lower, str.title, "{}_mode".format)),
    ("wrong field", _value(".*", (dict,), lambda v: {**v, "assignee": "me"})),
    ("city for a code", _value("travel_(from|to)|city[AB]", (str,), lambda _: "Rivermist", lambda _: "San Francisco")),
    ("company for a symbol", _value("stock|symbol", (str,), lambda _: "Apple", lambda _: "Zeta Corp")),
    ("wrong access token", _value("access_token", (str,), lambda v: v[::-1], "Bearer {}".format)),
    ("wrong date", _value(r"\w*date\w*", (str,), "on {}".format, lambda v: v.replace("19", "20"))),
    ("other currency", _value(r"\w+_currency", (str,), lambda _: "EUR", lambda _: "CHF", lambda _: "dollars")),
    ("wrong login", _value("username|password|user_id|user_first_name", (str,), "{}1".format)),
    ("logged out", _one_of(lambda _, __, o: [ToolCall(name, {}) for name in sorted(o) if name.endswith("logout")])),
    ("before the login", _one_of(lambda t, c, _: [  # a later call of the same class, where one logs in
        call for calls in gold_calls(t) for call in calls if re.fullmatch(r"\w+_login|authenticate_\w+", c.name)
        and _owner(t, call.name) == _owner(t, c.name)])),
    ("boolean as a string", _value(".*", (bool,), lambda v: str(v).lower())),
    ("float for an integer", _value(".*", (int,), lambda v: float(v % 10**9), lambda v: v % 10**9 + 0.5)),
)  # fmt: skip


class _Scripted:
    """One episode is one run of a generator of replies. share: how likely a call is to be made with a mistake."""

    name: str
    _play: Callable[..., Iterator[str]]

    def __init__(self, task: Task, seed: int, share: float = 0.3) -> None:
        self._task, self._seed, self._share = task, seed, share

    def reply(self, episode: Episode, last: Step | None) -> str:
        if last is None:
            self._replies = self._play(episode, random.Random(f"{self._seed}:{self._task.id}:{self.name}"))
        self._last = last
        return next(self._replies)

    def _wrong(self, call: ToolCall, rng: random.Random, on_offer: Collection[str]) -> ToolCall:
        """The call with one mistake, drawn from the kinds that apply to it (a misspelt tool always does)."""
        kinds = rng.sample(PERTURBATIONS, len(PERTURBATIONS))
        return next(wrong for _, perturb in kinds if (wrong := perturb(self._task, call, rng, on_offer)) is not None)


class PerturbedGold(_Scripted):
    """Plays the ground truth, a call a reply, first with a mistake where there is one. A turn without ground truth gets
    a call in such a share. The last reply that a turn may have makes all calls that are left."""

    name = "perturbed_gold"

    def _play(self, episode: Episode, rng: random.Random) -> Iterator[str]:
        gold, last = gold_calls(self._task), episode.max_steps_per_turn - 1
        for turn, calls in enumerate(gold):
            on_offer, plan = {str(tool["name"]) for tool in self._task.tools_on_offer(turn)}, []
            # in a turn that cannot be done models make the call that a later one asks for
            for call in calls or next((later[:1] for later in gold[turn:] if later), ()):
                plan += [[self._wrong(call, rng, on_offer)]] if rng.random() < self._share else []
                plan += [[call]] if calls else []
            plan[last:] = [[call for calls in plan[last:] for call in calls]] if len(plan) > last else []
            replies = [*(render_reply("Call it.", calls=calls) for calls in plan), _ANSWER]
            yield from (reply for reply in replies if episode.turn == turn)


class RandomPolicy(_Scripted):
    """Calls tools on offer at random, now and then the ground truth's, with arguments that are plausible half of the
    time; some replies are ill-formed. A turn ends by an answer, or by the steps that it may have."""

    name = "random"

    def _play(self, episode: Episode, rng: random.Random) -> Iterator[str]:
        turn, gold, self._known = -1, gold_calls(self._task), {}
        # what was told: by the parameter, or the key of a result, that it is a value of; and all of it under ""
        docs = (pair for tool in self._task.tools for pair in tool["parameters"]["properties"].items())
        told = [(name, re.findall(r"\w+(?: [A-Z]\w+)*", doc["description"].partition(": ")[2])) for name, doc in docs]
        told += [(key, [str(value)]) for calls in gold for call in calls for key, value in call.arguments.items()]
        while True:
            if first := episode.turn != turn:
                turn, script = episode.turn, iter(gold[episode.turn])
            texts = [result.text[:600] for result in self._last.results] if self._last else []  # some are very long
            texts += [message["content"] for message in self._task.question[turn]] if first else []
            told += [(name, [word]) for text in texts for name, word in sorted(_TOKEN.findall(text))]
            for key, words in [*told, *(("", words) for _, words in told)]:
                self._known.setdefault(key, []).extend(words)
            told, kind = [], rng.random()
            calls = [self._call(turn, script, rng) for _ in range(rng.randint(1, 3))]
            text = _ill_formed(calls, rng) if kind < 0.08 else render_reply("Call it.", calls=calls)
            yield _ANSWER if kind > (0.95 if first else 0.8) else text

    def _call(self, turn: int, script: Iterator[ToolCall], rng: random.Random) -> ToolCall:
        tools = {str(tool["name"]): tool["parameters"] for tool in self._task.tools_on_offer(turn)}
        name = rng.choice(list(tools))
        used = [key for key in tools[name]["properties"] if key in tools[name]["required"] or rng.random() < 0.5]
        call = ToolCall(name, {key: self._drawn(tools[name]["properties"][key], key, rng) for key in used})
        call = next(script, call) if rng.random() < 0.35 else call
        return self._wrong(call, rng, tools) if rng.random() < self._share else call

    def _drawn(self, schema: Mapping[str, Any], name: str, rng: random.Random) -> Any:
        if rng.random() < 0.5:
            return rng.choice({"string": _TEXTS, "float": _NUMBERS, "integer": _NUMBERS}.get(schema["type"], _OTHERS))
        if schema["type"] == "array":
            return [self._drawn(schema["items"], name, rng) for _ in range(rng.randint(1, 4))]
        if schema["type"] == "dict":
            return {rng.choice((k, k, k.title())): self._drawn(v, k, rng) for k, v in schema["properties"].items()}
        if schema["type"] == "boolean":
            return rng.random() < 0.5
        text = rng.choice(self._known.get(name if rng.random() < 0.7 else "") or self._known[""])
        return json.loads(text) if schema["type"] != "string" and _NUMBER.fullmatch(text) else text


def _ill_formed(calls: list[ToolCall], rng: random.Random) -> str:
    listed = [{"name": call.name, "arguments": call.arguments} for call in calls]
    text, think, deep = json.dumps(listed), "<think>I call it.</think>", "[" * 40 + "]" * 40
    called = f"<tool_call>{text}</tool_call>"
    return rng.choice((
        called, f"<think>I {called}", f"<think>I <answer></think>{called}", f"{think}{called[:-12]}", f"{think}{text}",
        f"{think}{called} Now I wait.", f"{think}Now {called}", f"{think}{called}<answer>Done.</answer>",
        f"{think}{called}{called}", f"{think}<answer>{called}</answer>", f"{think}<answer>Done.",
        *(f"{think}<tool_call>{body}</tool_call>" for body in (
            "[]", str(listed), json.dumps(listed[0]), json.dumps(listed * 70), text[: len(text) // 2], f"```{text}```",
            text.replace('"arguments"', '"parameters"'), text.replace('"arguments"', '"name"'),
            re.sub('"name": "[^"]*"', '"name": null', text), f'[{{"name": "ls", "arguments": {{"": {deep}}}}}]',
            json.dumps([{**call, "arguments": json.dumps(call["arguments"])} for call in listed])))))  # fmt: skip
