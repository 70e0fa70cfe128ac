"""One conversation with the environment: replies in, messages and scores out.

    episode = Episode(task)
    messages = episode.start()
    while not episode.done:
        step = episode.step(model(messages))
        messages += [...the reply..., *step.messages]
    episode.trajectory

An episode owns its API objects and is used once; dropping it frees everything. It knows nothing of tokens: whoever
drives it keeps the token budget and calls `finish` when that is used up.

Two sets of rules, because training and BFCL's evaluation differ (README.md beside this file has the table):
  training  at most 5 replies a turn that are not answers, then the turn is forced to end; an ill-formed reply is told
            what is wrong with it; only tools on offer can be called; a call in a turn that cannot be done is not
            executed, ends the turn and scores 0.
  bfcl      BFCL's own loop: a turn ends with the first reply that has nothing to execute; held-out tools do run; the
            impossible turn is like any other; after more than 20 executed steps in a turn the whole entry is over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container
from dataclasses import dataclass

from envtune.environment import prompt
from envtune.environment.calls import call_text
from envtune.environment.executor import ERROR_PREFIX, ApiState, CallResult
from envtune.environment.gold import gold_turns, turn_score
from envtune.environment.hints import REPLY, Situation, hint_set, offer_in
from envtune.environment.prompt import Message
from envtune.environment.reply import Reply, ReplyKind, ToolCall, parse_reply
from envtune.environment.trajectory import ReplyRecord, StopReason, Trajectory, TurnEnd, TurnRecord
from envtune.errors import EnvtuneError
from envtune.tasks import Task

RULES = ("training", "bfcl")


@dataclass(frozen=True)
class Step:
    """What one reply led to.

    messages: to append to the conversation after the reply (empty when the episode is over); done: the episode is
    over; kind: what the reply was; turn_score: 0 or 1 when the reply ended a turn, else None; results: one for each
    call that was executed.
    """

    messages: tuple[Message, ...]
    done: bool
    kind: ReplyKind
    turn_score: int | None
    results: tuple[CallResult, ...] = ()


class Episode:
    """A conversation over one task.

    feedback: the hint set whose hints go with failures, as `hints.hint_set` takes it: "none" (also "standard": BFCL's
    results as they are), "full" (also "augmented"), "authors", or ids of hints.
    max_steps_per_turn: replies in one turn that are not answers; 5 in training, 20 in BFCL's evaluation.
    rules: "training" or "bfcl", as above.
    max_result_characters: the model reads no more of one tool result, its start and end with a note between them; None:
    all of it, as in the paper. Checks, scores and records have the whole result.
    """

    def __init__(
        self,
        task: Task,
        feedback: str = "none",
        max_steps_per_turn: int = 5,
        rules: str = "training",
        max_result_characters: int | None = None,
    ) -> None:
        self.hints = hint_set(feedback)
        if rules not in RULES:
            raise EnvtuneError(f"unknown rules {rules!r}; choose one of: {', '.join(RULES)}")
        if max_steps_per_turn < 1:
            raise EnvtuneError(f"max_steps_per_turn must be at least 1, not {max_steps_per_turn}")
        if max_result_characters is not None and max_result_characters < 1:
            raise EnvtuneError(f"max_result_characters must be at least 1, not {max_result_characters}")
        self.task = task
        self.rules = rules
        self.max_steps_per_turn = max_steps_per_turn
        self.max_result_characters = max_result_characters
        self._gold = gold_turns(task)
        self._api = ApiState(task)
        self._started = False
        self._stop: StopReason | None = None
        self._turn = 0
        self._turns: list[TurnRecord] = []
        self._replies: list[ReplyRecord] = []
        self._steps = 0
        self._results: list[str] = []  # of every executed call so far, for the response check

    @property
    def feedback(self) -> str:
        """Name of the hint set."""
        return self.hints.name

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self._stop is not None

    @property
    def turn(self) -> int:
        """Index of the current user turn, from 0."""
        return self._turn

    @property
    def trajectory(self) -> Trajectory:
        """All that happened so far. Turns not reached score 0."""
        turns = list(self._turns)
        if self._replies:
            turns.append(TurnRecord(tuple(self._replies), 0, TurnEnd.NOT_REACHED))
        turns += [TurnRecord((), 0, TurnEnd.NOT_REACHED)] * (len(self._gold) - len(turns))
        return Trajectory(
            task_id=self.task.id,
            task_hash=self.task.content_hash,
            category=self.task.category,
            release=self.task.release,
            feedback=self.feedback,
            rules=self.rules,
            turns=tuple(turns),
            stop_reason=self._stop or StopReason.ABORTED,
            max_result_characters=self.max_result_characters,
        )

    def start(self) -> list[Message]:
        """The messages that open the conversation: the system prompt and the first request."""
        self._started = True
        system = {"role": "system", "content": prompt.system_prompt(self.task.tools_on_offer(0))}
        return [system, prompt.message(prompt.request(self.task, 0))]

    def step(self, reply: str, parsed: Reply | None = None) -> Step:
        """Take the model's reply. Any text is fine: what is wrong with it is told to the model, not raised.

        parsed: what it is, where somebody else has parsed it (native function calling); `reply` is then for the record.
        """
        if not self._started or self.done:
            raise RuntimeError("step() goes between start() and the end of the episode")
        parsed = parsed or parse_reply(reply)
        if self.rules == "bfcl":
            return self._step_bfcl(reply, parsed)
        return self._step_training(reply, parsed)

    def finish(self, reason: StopReason = StopReason.OVER_BUDGET) -> None:
        """End the episode now. The current turn and those not reached score 0. Nothing happens when it is over."""
        if not self.done:
            self._stop = reason

    # ---- the two sets of rules

    def _step_training(self, reply: str, parsed: Reply) -> Step:
        if parsed.kind is ReplyKind.ANSWER:
            self._replies.append(ReplyRecord(reply, parsed.kind))
            return self._end_turn(parsed.kind, TurnEnd.ANSWER, "")
        self._steps += 1
        if parsed.kind is ReplyKind.ILL_FORMED:
            text, results = self._complain(reply, parsed), ()
        elif not self._gold[self._turn].results:
            self._replies.append(ReplyRecord(reply, parsed.kind, calls=tuple(map(call_text, parsed.calls))))
            return self._end_turn(parsed.kind, TurnEnd.IMPOSSIBLE_CALL, prompt.closed("", impossible=True))
        else:
            text, results = self._execute(reply, parsed, checked=True)
        if self._steps >= self.max_steps_per_turn:
            said = text if results else ""  # no use in explaining the format of a turn that is over
            if not said or self._turn + 1 == len(self._gold):
                self._withhold_hints()
            return self._end_turn(parsed.kind, TurnEnd.STEP_LIMIT, prompt.closed(said, impossible=False), results)
        if results:
            text = prompt.go_on(text)
        return Step((prompt.message(text),), False, parsed.kind, None, results)

    def _step_bfcl(self, reply: str, parsed: Reply) -> Step:
        if parsed.kind is not ReplyKind.TOOL_CALL:
            self._replies.append(ReplyRecord(reply, parsed.kind, error=parsed.error))
            end = TurnEnd.ANSWER if parsed.kind is ReplyKind.ANSWER else TurnEnd.ILL_FORMED
            return self._end_turn(parsed.kind, end, "")
        text, results = self._execute(reply, parsed, checked=False)
        self._steps += 1
        # Upstream counts after executing and compares with ">", so a limit of 20 lets 21 steps run.
        if self._steps > self.max_steps_per_turn:
            self._withhold_hints()
            self._turns.append(TurnRecord(tuple(self._replies), 0, TurnEnd.STEP_LIMIT))
            self._replies = []
            self._stop = StopReason.FORCE_QUIT
            return Step((), True, parsed.kind, 0, results)
        return Step((prompt.message(prompt.go_on(text)),), False, parsed.kind, None, results)

    # ---- what both share

    def _complain(self, reply: str, parsed: Reply) -> str:
        """Note an ill-formed reply, and give the text that says what is wrong with it."""
        situation = Situation(ToolCall(REPLY, {}), parsed.error, {}, offer_in(self.task, self._turn), reply)
        given = self.hints.give(situation, error=True)
        hints, ids = ((given.text,), (given.id,)) if given else ((), ())
        self._replies.append(ReplyRecord(reply, parsed.kind, hints=hints, hint_ids=ids, error=parsed.error))
        return prompt.ill_formed(parsed.error, *hints)

    def _execute(self, reply: str, parsed: Reply, checked: bool) -> tuple[str, tuple[CallResult, ...]]:
        """Run the reply's calls in order, note them, and give the text of their results and hints."""
        offer = offer_in(self.task, self._turn)
        results, hints, ids = [], [], []
        for call in parsed.calls:
            state = self._api.snapshot(call.name) if self.hints.hints else {}
            result = self._run(call, offer.docs if checked else None)
            given = None
            if result.error or call.name in self.hints.silent:
                given = self.hints.give(Situation(call, result.text, state, offer), result.error)
            results.append(result)
            hints.append(given.text if given else "")
            ids.append(given.id if given else "")
        self._results += [result.text for result in results]
        calls = tuple(result.call for result in results)
        self._replies.append(ReplyRecord(reply, parsed.kind, calls, tuple(results), tuple(hints), tuple(ids)))
        return prompt.results(results, hints, self.max_result_characters), tuple(results)

    def _withhold_hints(self) -> None:
        """The last reply's hints go to nobody: the record is not to say that the model was given them."""
        last = self._replies[-1]
        nothing = ("",) * len(last.results)
        self._replies[-1] = dataclasses.replace(last, hints=nothing, hint_ids=nothing)

    def _run(self, call: ToolCall, on_offer: Container[str] | None) -> CallResult:
        if on_offer is not None and call.name not in on_offer:
            # the words of BFCL's executor for a tool that does not exist, which is what this is to the model
            text = f"{ERROR_PREFIX}name '{call.name}' is not defined"
            return CallResult(call_text(call), text, raised=True, error=True)
        return self._api.call(call)

    def _end_turn(self, kind: ReplyKind, end: TurnEnd, text: str, results: tuple[CallResult, ...] = ()) -> Step:
        """Score the turn and open the next one, after `text` where there is something to say of this one."""
        called = any(reply.calls for reply in self._replies)
        score = turn_score(self._api, called, self._results, self._gold[self._turn])
        if not self._gold[self._turn].results and end is TurnEnd.STEP_LIMIT:
            score = 0  # such a turn is right when the model answers without calling, and here it never answered
        self._turns.append(TurnRecord(tuple(self._replies), score, end))
        self._replies, self._steps = [], 0
        self._turn += 1
        if self._turn == len(self._gold):
            self._stop = StopReason.COMPLETED
            return Step((), True, kind, score, results)
        request = prompt.request(self.task, self._turn)
        message = prompt.message(f"{text}\n\n{request}" if text else request)
        return Step((message,), False, kind, score, results)
