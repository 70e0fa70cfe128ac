"""Hints of MessageAPI: who is logged in, and the ids behind names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.arguments import closest, retyped, typed
from envtune.environment.hints.hint import Domain, HintKind, NextCall, Of, Situation, Values, example, hint

_CLASS = "MessageAPI"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
_ID = NextCall("get_user_id", "Get it with {call}.", {"user": Of("name")})
_USERS = NextCall("list_users", "Call {call} to see who there is.", {})


def _users(s: Situation) -> Mapping[Any, Any]:
    found = s.api(_CLASS).get("user_map")
    return found if isinstance(found, Mapping) else {}


def _name_for_id(*parameters: str) -> Any:
    """The name of a user where the id is needed."""

    def match(s: Situation) -> Values | None:
        for parameter in parameters:
            name = s.argument(parameter)
            known = closest(name, map(str, _users(s)), 0.99) if isinstance(name, str) else None
            if known is not None:
                return {"parameter": parameter, "name": known}
        return None

    return match


def _similar(s: Situation) -> Values | None:
    name = s.argument("user")
    near = closest(name, map(str, _users(s)), 0.7) if isinstance(name, str) else None
    return None if near is None else {"near": near}


def _next_is_free(s: Situation) -> Values | None:
    """A contact's id is the next number, which each attempt moves on; whether the one after this is free."""
    count = s.api(_CLASS).get("user_count")
    if not isinstance(count, int):
        return None
    return {} if f"USR{count + 2:03d}" not in _users(s).values() else None


MESSAGE = Domain(
    "message",
    _CLASS,
    (
        hint("message.login.first", _DEPENDENCY,
             "send_message delete_message view_messages_sent search_messages get_message_stats",
             "No user is currently logged in", "Somebody has to be logged in first.",
             lambda s: None if s.api(_CLASS).get("current_user") else {},
             next=NextCall("message_login", "Log in with {call}, by the user's own id."),
             examples=(example("view_messages_sent()"), example("send_message(receiver_id='USR002', message='m')"))),
        typed("message.login.type", "message_login", '"login_status": false', "user_id",
              example("message_login(user_id=['USR001'])"), silent=True),
        hint("message.login.name", _DEPENDENCY, "message_login", r'"login_status": false',
             "user_id is the id of a user, not the name.", _name_for_id("user_id"), next=_ID, silent=True,
             examples=example("message_login(user_id='Alice')")),
        hint("message.login.unknown", _DEPENDENCY, "message_login", r'"login_status": false',
             "No user has this id.", next=(NextCall("get_user_id", "{call} gives the id for a name."), _USERS),
             silent=True, examples=example("message_login(user_id='USR999')")),
        hint("message.user.similar", _DEPENDENCY, "get_user_id", r"not found in the workspace",
             "Nobody has this very name; the closest is {near}.", _similar, retry={"user": Of("near")}, needs="list_users",
             examples=example("get_user_id(user='alice')")),
        hint("message.user.unknown", _DEPENDENCY, "get_user_id", r"not found in the workspace",
             "Nobody in the workspace has this name.", next=_USERS, examples=example("get_user_id(user='Zed')")),
        typed("message.receiver.type", "send_message delete_message", "not found", "receiver_id",
              example("message_login(user_id='USR001')", "send_message(receiver_id=['USR002'], message='m')")),
        hint("message.receiver.name", _DEPENDENCY, "send_message delete_message", " not found",
             "{parameter} is the id of a user, not the name.", _name_for_id("receiver_id"), next=_ID,
             examples=(example("message_login(user_id='USR001')", "send_message(receiver_id='Bob', message='m')"),
                       example("message_login(user_id='USR001')", "delete_message(receiver_id='Bob')"))),
        hint("message.receiver.unknown", _DEPENDENCY, "send_message delete_message", " not found", "No user has this id.",
             lambda s: None if s.argument("receiver_id") in _users(s).values() else {},
             next=(NextCall("get_user_id", "{call} gives the id for a name."), _USERS),
             examples=example("message_login(user_id='USR001')", "send_message(receiver_id='USR999', message='m')")),
        hint("message.delete.none", _DEPENDENCY, "delete_message", " not found",
             "There is no message to this user that could be taken back.",
             next=NextCall("view_messages_sent", "Call {call} to see those that there are.", {}),
             examples=example("message_login(user_id='USR001')", "delete_message(receiver_id='USR001')")),
        hint("message.search.record", _CONSTRAINT, "search_messages", r"^Error during execution: '\w+' object has no attribute 'lower'$",
             "A stored message is no text, so messages cannot be searched here.",
             lambda s: None if retyped(s) else {},
             next=NextCall("view_messages_sent", "{call} shows all of them.", {}),
             examples=example("search_messages(keyword='m')", current_user="USR001", inbox=[{"USR002": ["m"]}])),
        hint("message.contact.taken", _CONSTRAINT, "add_contact", "User name ",
             "There is a contact of this name already, and it can be used.",
             next=NextCall("get_user_id", "{call} gives the id.", {"user": Of("user_name")}),
             examples=example("add_contact(user_name='Bob')")),
        hint("message.contact.again", _CONSTRAINT, "add_contact", "User ID ",
             "The id that was next in line is taken. Each attempt takes the one after: make the same call again.",
             _next_is_free, retry={}, examples=example("add_contact(user_name='Zed')", user_count=2,
                                                       user_map={"Alice": "USR001", "Bob": "USR003"})),
        hint("message.contact.id", _CONSTRAINT, "add_contact", "User ID ",
             "The id that was next in line is taken, and so is the one after. Each attempt takes the next one.",
             examples=example("add_contact(user_name='Zed')", user_count=2,
                              user_map={"Alice": "USR003", "Bob": "USR004"})),
    ),
    MappingProxyType({"user_count": 2, "user_map": {"Alice": "USR001", "Bob": "USR002"}, "inbox": []}),
)  # fmt: skip
