"""Sequences of calls that are ordinary one by one, and together grow time, memory or state, or reach other episodes.

The file system's `cp` shares sub-directories, so a tree can hold itself and can double with every copy; nested calls
put references to the state into the state; tools have mutable defaults and hand out or write to module-level tables.
"""

from __future__ import annotations

from typing import Any

from envtune.environment import ToolCall, render_reply
from helpers.hostile import FILES, MATH, Hostile, Kind
from helpers.hostile.values import LARGE

TWITTER, TICKET, TRAVEL = ("TwitterAPI",), ("TicketAPI",), ("TravelAPI",)
ANSWER = render_reply("t", answer="done")


def _call(tool: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(tool, arguments)


LOGIN = _call("authenticate_twitter", username="analyst_pro", password="Kj8#mP9$vL2")
TRAVELLER = ("client_id", "client_secret", "refresh_token", "grant_type", "user_first_name", "user_last_name")
TRAVEL_LOGIN = _call("authenticate_travel", **dict.fromkeys(TRAVELLER, "x"))
WALKS = (_call("find"), _call("find", path=".", name="zz"), _call("du"), _call("du", human_readable=True), _call("ls"))


def _itself(name: str) -> tuple[ToolCall, ...]:
    """A directory that holds itself."""
    return (_call("mkdir", dir_name=name), _call("cp", source=name, destination=name))


def _doubling(levels: int) -> tuple[ToolCall, ...]:
    """A tree of 2 ** levels entries, by four calls a level."""
    calls = [_call("mkdir", dir_name="d0")]
    for level in range(levels):
        inner, outer = f"d{level}", f"d{level + 1}"
        calls.append(_call("mkdir", dir_name=outer))
        calls.append(_call("cp", source=inner, destination=f"e{level}"))
        calls += [_call("mv", source=source, destination=outer) for source in (inner, f"e{level}")]
    return tuple(calls)


def _chain(depth: int, name: str) -> tuple[ToolCall, ...]:
    """Directories inside directories; the last call goes back to the top."""
    down = (_call("mkdir", dir_name=name), _call("cd", folder=name)) * depth
    return (*down, _call("pwd"), _call("cd", folder="/"))


DOT = (_call("mkdir", dir_name="."), _call("cp", source=".", destination="x"))
TREES: dict[str, tuple[ToolCall, ...]] = {
    "cp-into-itself": (*_itself("d"), *WALKS),
    "cp-into-itself-3000": (*_itself("a" * 3000), *WALKS),
    "cp-into-itself-long": (*_itself("a" * (LARGE // 3)), *WALKS),
    "mv-into-itself": (_call("mkdir", dir_name="d"), _call("mv", source="d", destination="d"), *WALKS),
    "cp-dot": (*DOT, *WALKS),
    "mv-dot": (DOT[0], _call("mv", source=".", destination="x"), *WALKS),
    "cp-dot-wide": (*(_call("touch", file_name=f"f{n}") for n in range(300)), *DOT, *WALKS),
    "cp-dotdot": (_call("mkdir", dir_name=".."), _call("cp", source="..", destination=".."), *WALKS),
    "double-12": (*_doubling(12), *WALKS),
    "double-40": (*_doubling(40), *WALKS),
    "deep-400": (*_chain(400, "n" * 400), *WALKS),
    "deep-2000": (*_chain(2000, "n"), *WALKS),
    "cd-in-a-cycle": (*_itself("d"), *(_call("cd", folder="d"),) * 300, _call("pwd"), *WALKS, _call("cd", folder="..")),
    "rm-of-a-cycle": (*_itself("d"), _call("rm", file_name="d"), _call("rmdir", dir_name="d"), *WALKS),
    "surrogate-file": (
        _call("touch", file_name="f"),
        _call("echo", content="\ud800", file_name="f"),
        *(_call(tool, file_name="f") for tool in ("cat", "sort", "tail", "wc")),
        *WALKS,
    ),
    "file-of-a-list": (
        _call("touch", file_name="f"),
        _call("echo", content=[["x"]], file_name="f"),
        *(_call(tool, file_name="f") for tool in ("cat", "sort", "tail", "wc")),
        *WALKS,
    ),
    "large-file": (
        _call("touch", file_name="f"),
        _call("echo", content="\U0001f600" * LARGE, file_name="f"),
        *(_call(tool, file_name="f") for tool in ("cat", "sort", "tail", "wc")),
        *(_call("cp", source="f", destination=f"g{n}") for n in range(60)),
        _call("diff", file_name1="f", file_name2="g1"),
        _call("grep", file_name="f", pattern=""),
        *WALKS,
    ),
}

# Call strings may nest calls, as stored trajectories can: the inner result is a reference into the state.
LOGIN_TEXT = "authenticate_twitter(username='analyst_pro', password='Kj8#mP9$vL2')"
POSTED = (LOGIN_TEXT, *(f"post_tweet(content='{n}', tags=[], mentions=[])" for n in range(5)))
TICKET_LOGIN = "ticket_login(username='u', password='p')"
NESTED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "file-of-itself": (FILES, ("touch(file_name='f')", *("echo(content=[cat(file_name='f')], file_name='f')",) * 500, "cat(file_name='f')")),
    "file-doubled": (
        FILES,
        ("touch(file_name='f')", *("echo(content=[cat(file_name='f'), cat(file_name='f')], file_name='f')",) * 40, "cat(file_name='f')"),
    ),
    "calls-in-calls": (FILES, ("echo(content=" * 90 + "ls()" + ")" * 90, "echo(content=[" + "ls(), " * 5000 + "])")),
    "tweet-of-itself": (TWITTER, (*POSTED, "mention(tweet_id=3, mentioned_usernames=[get_tweet(tweet_id=3)])", "get_tweet(tweet_id=3)", "search_tweets(keyword='a')")),
    "tweets-doubled": (TWITTER, (*POSTED, *(f"post_tweet(content='x', tags=[get_tweet(tweet_id={n}), get_tweet(tweet_id={n})])" for n in range(7, 47)))),
    "mentions-doubled": (
        TWITTER,
        (
            *POSTED,
            "comment(tweet_id=3, comment_content='c')",
            "post_tweet(content='y', mentions=get_tweet_comments(tweet_id=3))",
            *("mention(tweet_id=8, mentioned_usernames=get_tweet_comments(tweet_id=3))",) * 40,
            "get_tweet(tweet_id=8)",
        ),
    ),
    "following-doubled": (
        TWITTER,
        (*POSTED, "post_tweet(content='y', mentions=list_all_following())", *("mention(tweet_id=8, mentioned_usernames=list_all_following())",) * 40, "get_tweet(tweet_id=8)"),
    ),
    "tickets-doubled": (TICKET, (TICKET_LOGIN, *("create_ticket(title=get_user_tickets())",) * 40, "get_user_tickets()")),
}  # fmt: skip

CARD = {"card_id": "1234567812345678", "access_token": "251675"}
JSON: dict[str, tuple[tuple[str, ...], str, tuple[ToolCall, ...]]] = {
    # upstream's default for `mentions` is one list for all tweets of a process
    "default-mentions": (TWITTER, "base", (LOGIN, _call("post_tweet", content="x"), *(_call("mention", tweet_id=n, mentioned_usernames=["@leak"]) for n in range(9)))),
    "mention-characters": (TWITTER, "base", (LOGIN, _call("post_tweet", content="x", mentions=["a"]), *(_call("mention", tweet_id=3, mentioned_usernames="a" * LARGE),) * 9, _call("get_tweet", tweet_id=3))),
    "follow-lists": (TWITTER, "base", (LOGIN, *(_call("follow_user", username_to_follow=[1] * 900 + [n]) for n in range(60)), _call("list_all_following"))),
    "comment-much": (TWITTER, "base", (LOGIN, _call("post_tweet", content="x"), *(_call("comment", tweet_id=3, comment_content="\x00" * (LARGE // 4)),) * 40, _call("get_tweet_comments", tweet_id=3))),
    "odd-tweets": (TWITTER, "base", (LOGIN, _call("post_tweet", content=None, tags=1), _call("search_tweets", keyword="a"), _call("mention", tweet_id=3, mentioned_usernames={"a": 1}), _call("get_tweet", tweet_id=[]), _call("retweet", tweet_id=1e999), _call("get_user_stats", username={}))),
    "card-of-all-episodes": (TRAVEL, "long_context", (TRAVEL_LOGIN, _call("set_budget_limit", access_token="251675", budget_limit=1e9), _call("purchase_insurance", insurance_type="x", booking_id="booking_901", insurance_cost=1234.0, **CARD), _call("cancel_booking", access_token="251675", booking_id="booking_901"), _call("get_all_credit_cards"))),
    "long-date": (TRAVEL, "long_context", (*(_call("get_flight_cost", travel_from="SFO", travel_to="LAX", travel_date=mark * LARGE, travel_class="economy") for mark in ("a", "1", "\U0001f600", "\xb2")), _call("get_flight_cost", travel_from="SFO", travel_to="LAX", travel_date=["1"] * (LARGE // 10), travel_class="first"))),
    "repeated-value": (TRAVEL, "base", (*(_call("compute_exchange_rate", base_currency="USD", target_currency="JPY", value=value) for value in ("a" * LARGE, "1" * LARGE, "\U0001f600" * LARGE, [1] * (LARGE // 3), {"a": 1}, 1e308, 10**399, True)),)),
    "odd-budget": (TRAVEL, "base", (TRAVEL_LOGIN, *(_call("set_budget_limit", access_token="251675", budget_limit=value) for value in ("nan", "9" * 5000, "1e999", [], None, True)))),
    "weather-of-all-episodes": (("VehicleControlAPI",), "long_context", (_call("get_outside_temperature_from_google"),) * 3 + (_call("display_log", messages=["x"] * (LARGE // 10)), _call("displayCarStatus", option="doors"), _call("estimate_distance", cityA="1", cityB="2"))),
    "odd-car": (("VehicleControlAPI",), "base", (_call("fillFuelTank", fuelAmount=float("nan")), _call("lockDoors", unlock=True, door="driver"), _call("lockDoors", unlock=1, door=[["a"]]), _call("adjustClimateControl", temperature=10**399, unit="fahrenheit"), _call("adjustClimateControl", temperature=[], fanSpeed=True), _call("pressBrakePedal", pedalPosition="1"), _call("setCruiseControl", speed="9" * (LARGE // 10), activate=True, distanceToNextVehicle="nan"), _call("set_navigation", destination="\ud800" * (LARGE // 10)), _call("gallon_to_liter", gallon=10**399))),
    "odd-trade": (("TradingBot",), "base", (_call("trading_login", username="a", password="b"), _call("fund_account", amount=10**399), *(_call("fund_account", amount=1e308),) * 3, _call("place_order", order_type=[], symbol="AAPL", price=1e308, amount=10**399), _call("place_order", order_type="Buy", symbol="AAPL", price=1.5, amount=1e308), _call("get_transaction_history", start_date="9" * LARGE), _call("filter_stocks_by_price", stocks="a" * LARGE, min_price=0, max_price=1), _call("notify_price_change", stocks=["AAPL"] * (LARGE // 10), threshold=-1e999), _call("get_order_details", order_id={}), _call("get_account_info"))),
    "odd-message": (("MessageAPI",), "base", (_call("message_login", user_id="USR001"), _call("send_message", receiver_id="USR002", message=5), _call("search_messages", keyword="a"), _call("add_contact", user_name=None), _call("add_contact", user_name=["a"]), _call("delete_message", receiver_id={}), *(_call("send_message", receiver_id="USR002", message="\x00" * (LARGE // 4)),) * 30, _call("view_messages_sent"))),
    "odd-ticket": (TICKET, "base", (_call("ticket_login", username=["u"], password={"p": 1}), _call("create_ticket", title="t", priority=float("nan")), _call("create_ticket", title=[["t"]], priority=True), *(_call("edit_ticket", ticket_id=number, updates=updates) for number in (1, 2, True) for updates in ({"__class__": 1}, {"id": 9}, {"status": {"a": []}}, [], "title")), _call("get_user_tickets", status=5), _call("get_user_tickets"))),
    "precision-left-behind": (MATH, "base", (_call("logarithm", value=2, base=10, precision=900), _call("square_root", number=2, precision=900), _call("logarithm", value=2, base=0, precision=7), _call("square_root", number=-1, precision=7))),
}  # fmt: skip


CARDS = ("1234-5678-9012-3456", "1234567812345678", "2345678923456789")  # the task's own, and two of the padding
NUMBERS = (0, 1, 2, 3, 12345, 12446)
# Ordinary writes to whatever the task's objects hold inside each other: copies of them must not share it.
WRITES: dict[str, tuple[ToolCall, ...]] = {
    "GorillaFileSystem": (
        *(_call("cd", folder=folder) for folder in ("document", "temp", "workspace", "documents")),
        *(_call("rm", file_name=name) for name in ("final_report.pdf", "previous_report.pdf", "archive", "data.txt")),
        _call("mkdir", dir_name="written"),
        _call("cd", folder="/"),
        *(_call("mv", source=name, destination="moved") for name in ("document", "archive", "data.txt")),
    ),
    "TwitterAPI": (
        LOGIN,
        *(_call("mention", tweet_id=n, mentioned_usernames=["@written"]) for n in NUMBERS),
        *(_call("comment", tweet_id=n, comment_content="written") for n in NUMBERS),
        *(_call("retweet", tweet_id=n) for n in NUMBERS),
        _call("follow_user", username_to_follow="written"),
        _call("unfollow_user", username_to_unfollow="alice"),
    ),
    "TicketAPI": (
        _call("ticket_login", username="u", password="p"),
        *(_call("create_ticket", title=str(n)) for n in NUMBERS),
        *(_call("edit_ticket", ticket_id=n, updates={"title": "written"}) for n in NUMBERS),
        *(_call("resolve_ticket", ticket_id=n, resolution="written") for n in NUMBERS),
        *(_call("close_ticket", ticket_id=n) for n in NUMBERS),
    ),
    "TradingBot": (
        _call("trading_login", username="a", password="b"),
        *(_call("cancel_order", order_id=n) for n in NUMBERS),
        *(_call("update_stock_price", symbol=symbol, new_price=1.0) for symbol in ("AAPL", "NVDA")),
        *(_call("add_to_watchlist", stock=symbol) for symbol in ("AAPL", "NVDA", "ZETA")),
        _call("remove_stock_from_watchlist", symbol="NVDA"),
        _call("fund_account", amount=1.0),
        _call("place_order", order_type="Sell", symbol="AAPL", price=1.0, amount=1),
    ),
    "TravelAPI": (
        TRAVEL_LOGIN,
        _call("register_credit_card", access_token="251675", card_number="1", expiration_date="1", cardholder_name="x", card_verification_number=1),
        _call("set_budget_limit", access_token="251675", budget_limit=1.0),
        *(_call("purchase_insurance", access_token="251675", insurance_type="x", booking_id="booking_920", insurance_cost=1.0, card_id=card) for card in CARDS),
        *(_call("book_flight", access_token="251675", card_id=card, travel_date="2024-01-01", travel_from="SFO", travel_to="LAX", travel_class="economy", **cost) for card in CARDS for cost in ({}, {"travel_cost": 1.0})),
        *(_call("cancel_booking", access_token="251675", booking_id=f"booking_{n}") for n in range(901, 920)),
    ),
    "VehicleControlAPI": (
        _call("lockDoors", unlock=True, door=["driver", "passenger", "rear_left", "rear_right"]),
        _call("lockDoors", unlock=False, door=["driver", "rear_left"]),
        _call("fillFuelTank", fuelAmount=1.0),
        _call("pressBrakePedal", pedalPosition=1.0),
        _call("set_navigation", destination="written"),
        _call("get_outside_temperature_from_google"),
    ),
    "MessageAPI": (
        *(_call("message_login", user_id=f"USR00{n}") for n in range(1, 7)),
        *(_call("delete_message", receiver_id=f"USR00{n}") for n in range(1, 7)),
        _call("add_contact", user_name="written"),
        *(_call("send_message", receiver_id=f"USR00{n}", message="written") for n in range(1, 7)),
    ),
}  # fmt: skip


def _large_files(number: int) -> tuple[ToolCall, ...]:
    """A directory d0 with files as large as a call can write."""
    made = [_call("mkdir", dir_name="d0")]
    for n in range(number):
        made.append(_call("touch", file_name=f"f{n}"))
        made.append(_call("echo", content="\u00e9" * LARGE, file_name=f"f{n}"))
        made.append(_call("mv", source=f"f{n}", destination="d0"))
    return tuple(made)


def _replies(calls: tuple[ToolCall, ...], size: int = 60) -> tuple[str, ...]:
    """The calls in as few replies as go, and an answer, so that the state of the turn is compared."""
    parts = [calls[start : start + size] for start in range(0, len(calls), size)]
    return (*(render_reply("t", calls=part) for part in parts), ANSWER)


REPLIES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "cycle": (FILES, "base", _replies((*_itself("d"), *DOT, *WALKS, _call("rm", file_name="document")))),
    "long-cycle": (FILES, "base", _replies((*_itself("a" * (LARGE // 3)), *WALKS))),
    "doubled-tree": (FILES, "base", _replies((*_doubling(28), *WALKS))),
    "cat-64": (FILES, "base", _replies((_call("touch", file_name="f"), _call("echo", content="\U0001f600" * LARGE, file_name="f"), *(_call("cat", file_name="f"),) * 58))),
    "du-64": (FILES, "base", (*_replies(_large_files(60), 27)[:-1], *_replies((*_doubling(6)[1:], *(_call("du"),) * 95)))),
    "read-64": (TWITTER, "base", (*_replies((LOGIN, _call("post_tweet", content="x", mentions=["a"]), *(_call("mention", tweet_id=3, mentioned_usernames="a" * LARGE),) * 94), 10)[:-1], *_replies((_call("get_tweet", tweet_id=3),) * 60))),
    "same-again": (FILES, "base", (render_reply("t", calls=[_call("ls")] * 64),) * 45),
    "answers": (FILES, "base", (ANSWER,) * 10),
    "ill-formed": (FILES, "base", ("",) * 45),
    "impossible-turn": (FILES, "miss_func", (render_reply("t", calls=[_call("sort", file_name="x"), _call("ls")]),) * 45),
    "default-mentions": (TWITTER, "base", _replies((LOGIN, _call("post_tweet", content="x"), *(_call("mention", tweet_id=n, mentioned_usernames=["@leak"]) for n in range(9))))),
}  # fmt: skip


def entries() -> list[Hostile]:
    """The groups of this file."""
    return [
        *(Hostile(f"tree-{name}", Kind.JSON, calls) for name, calls in TREES.items()),
        *(Hostile(f"nested-calls-{name}", Kind.TEXT, calls, classes) for name, (classes, calls) in NESTED.items()),
        *(Hostile(f"odd-{name}", Kind.JSON, calls, *where) for name, (*where, calls) in JSON.items()),
        *(
            Hostile(f"writes-{name}-{category}", Kind.JSON, calls, (name,), category)
            for name, calls in WRITES.items()
            for category in ("base", "long_context")
        ),
        *(Hostile(f"episode-{name}", Kind.REPLY, replies, *where) for name, (*where, replies) in REPLIES.items()),
    ]
