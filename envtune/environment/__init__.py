"""The environment: a task as a conversation, with tools that run and replies that are scored. README.md has its rules.

reply.py       the reply format: prompt text, parser, its complaints
prompt.py      every message that the environment writes
calls.py       a call as text, written and read without eval
executor.py    executing a call on BFCL's API objects
limits.py      what one call may cost
gold.py        the ground truth's results and states; the two checks; a turn's score
gold_policy.py the policy that replies with the ground truth
scripted_policies.py  policies that make the mistakes that models make
hints/         actionable feedback on failures, one table an API class
episode.py     the conversation and its rules
trajectory.py  what happened, frozen
"""

from envtune.environment.calls import call_text
from envtune.environment.episode import Episode, Step
from envtune.environment.executor import ApiState, CallResult
from envtune.environment.reply import (
    Reply,
    ReplyKind,
    ToolCall,
    format_instructions,
    parse_reply,
    render_reply,
)
from envtune.environment.trajectory import ReplyRecord, StopReason, Trajectory, TurnEnd, TurnRecord

__all__ = [
    "ApiState",
    "CallResult",
    "Episode",
    "Reply",
    "ReplyKind",
    "ReplyRecord",
    "Step",
    "StopReason",
    "ToolCall",
    "Trajectory",
    "TurnEnd",
    "TurnRecord",
    "call_text",
    "format_instructions",
    "parse_reply",
    "render_reply",
]
