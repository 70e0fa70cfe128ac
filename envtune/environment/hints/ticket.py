"""Hints of TicketAPI: who is logged in, which tickets there are, and what can be changed in one."""

from __future__ import annotations

from types import MappingProxyType

from envtune.environment.hints.arguments import retyped, typed
from envtune.environment.hints.hint import Domain, HintKind, NextCall, Of, Situation, Values, example, hint

_CLASS = "TicketAPI"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
_BY_ID = "get_ticket close_ticket resolve_ticket edit_ticket"
FIELDS = ("title", "description", "status", "priority")
_LOGIN = NextCall("ticket_login", "Log in with {call}.")


def _can_list(s: Situation) -> Values | None:
    """Whether get_user_tickets works now."""
    return {} if s.api(_CLASS).get("current_user") and not _lacks(s, "created_by") else None


def _logged_out(s: Situation) -> Values | None:
    return None if s.api(_CLASS).get("current_user") or _lacks(s, "created_by") else {}


def _lacks(s: Situation, key: str) -> bool:
    """Whether a stored ticket lacks the key. Some of BFCL's do, and upstream's tools stumble over them."""
    return any(key not in ticket for ticket in s.api(_CLASS).get("ticket_queue") or ())


def _updates(s: Situation) -> Values | None:
    updates = s.argument("updates")
    kept = {name: value for name, value in updates.items() if name in FIELDS} if isinstance(updates, dict) else {}
    return {"kept": kept}


def _priority(s: Situation) -> Values | None:
    priority = s.argument("priority")
    return {"near": 1 if isinstance(priority, (int, float)) and priority < 1 else 5}


TICKET = Domain(
    "ticket",
    _CLASS,
    (
        hint("ticket.login.first", _DEPENDENCY, "create_ticket", r"not authenticated",
             "The user has to be logged in first.", next=_LOGIN, examples=example("create_ticket(title='t')")),
        hint("ticket.login.first.list", _DEPENDENCY, "get_user_tickets", r"^\[\{'error': 'User not authenticated",
             "The user has to be logged in first.", next=_LOGIN, silent=True, examples=example("get_user_tickets()")),
        hint("ticket.priority", _CONSTRAINT, "create_ticket", r"Invalid priority",
             "priority is a whole number from 1 to 5, and 5 is the most urgent.", _priority, retry={"priority": Of("near")},
             examples=example("create_ticket(title='t', priority=9)", current_user="ann")),
        typed("ticket.id.type", _BY_ID, " not found", "ticket_id", example("get_ticket(ticket_id='1')")),
        hint("ticket.id.unknown", _DEPENDENCY, _BY_ID, " not found",
             "There is no ticket with the id {ticket_id}.", _can_list,
             next=NextCall("get_user_tickets", "Call {call} to see the user's own, with their ids.", {}),
             examples=example("close_ticket(ticket_id=9)", current_user="ann")),
        hint("ticket.id.unknown.logged_out", _DEPENDENCY, _BY_ID, " not found",
             "There is no ticket with the id {ticket_id}.", _logged_out,
             next=NextCall("ticket_login", "Log in with {call} to see with get_user_tickets which there are."),
             examples=(example("get_ticket(ticket_id=9)"), example("edit_ticket(ticket_id=9, updates={})"))),
        hint("ticket.id.unknown.only", _CONSTRAINT, _BY_ID, " not found",
             "There is no ticket with the id {ticket_id}.",
             examples=example("get_ticket(ticket_id=9)", ticket_queue=[{"id": 1, "status": "Open"}])),
        hint("ticket.record", _CONSTRAINT, f"{_BY_ID} get_user_tickets", r"^Error during execution: ('(id|created_by|status)'$|'\w+' object has no attribute 'lower')",
             "A stored ticket lacks a field that this tool needs, or has another value there than a text, so it cannot work "
             "here.", lambda s: None if retyped(s) else {},
             examples=(example("get_user_tickets()", current_user="ann", ticket_queue=[{"id": 1, "status": "Open"}]),
                       example("get_ticket(ticket_id=1)", ticket_queue=[{"status": "Open"}]))),
        hint("ticket.closed", _CONSTRAINT, "close_ticket", r"already closed", "It is closed: nothing is left to do.",
             next=NextCall("get_ticket", "{call} shows it.", {"ticket_id": Of("ticket_id")}),
             examples=example("close_ticket(ticket_id=1)", "close_ticket(ticket_id=1)")),
        hint("ticket.resolved", _CONSTRAINT, "resolve_ticket", r"already resolved",
             "It is resolved: nothing is left to do, and the first resolution stays.",
             next=NextCall("get_ticket", "{call} shows it.", {"ticket_id": Of("ticket_id")}),
             examples=example("resolve_ticket(ticket_id=1, resolution='r')", "resolve_ticket(ticket_id=1, resolution='r')")),
        hint("ticket.fields", _CONSTRAINT, "edit_ticket", r"Invalid fields for update",
             "updates has no other fields than: " + ", ".join(FIELDS) + ".", _updates, retry={"updates": Of("kept")},
             examples=example("edit_ticket(ticket_id=1, updates={'owner': 'bob', 'title': 't'})")),
        hint("ticket.login.empty", _CONSTRAINT, "ticket_login", r'"success": false',
             "Neither the user name nor the password may be empty.", silent=True,
             examples=example("ticket_login(username='ann', password='')")),
        hint("ticket.logout", _CONSTRAINT, "logout", r'"success": false',
             "Nobody is logged in, so nothing is left to do.", silent=True, examples=example("logout()")),
    ),
    MappingProxyType(
        {
            "ticket_queue": [{"id": 1, "title": "t", "description": "", "status": "Open", "priority": 1, "created_by": "ann"}],
            "ticket_counter": 2, "current_user": None,
        }
    ),
)  # fmt: skip
