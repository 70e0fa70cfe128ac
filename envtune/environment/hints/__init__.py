"""Actionable feedback: what the model is told, beside the standard result, when a call fails (paper, section 3.2).

A layer outside BFCL's classes. A hint is a pure function of the call, the state before it, the tools on offer and the
standard result, and only the model reads it: checks and rewards see the standard result.

hint.py       what a hint is, and how it is written in a situation
sets.py       none, authors, full, or ids: which hints an episode gives
calls.py      hints on calls as such: names, parameters, types, limits
replies.py    hints on replies that are not in the format
file_system.py math.py message.py twitter.py ticket.py trading.py travel.py vehicle.py
              one table an API class
authors.py    the hints of the authors' release, for comparison
paths.py      conditions of the file system's hints: where a name is
arguments.py  what the tables ask of arguments: types, the closest name
"""

from envtune.environment.hints.hint import Domain, Given, Hint, HintKind, Offer, Situation, offer_in
from envtune.environment.hints.replies import REPLY
from envtune.environment.hints.sets import AUTHORS, DOMAINS, NONE, HintSet, all_hints, hint_set

__all__ = [
    "AUTHORS", "DOMAINS", "NONE", "REPLY", "Domain", "Given", "Hint", "HintKind", "HintSet", "Offer", "Situation", "all_hints",
    "hint_set", "offer_in",
]  # fmt: skip
