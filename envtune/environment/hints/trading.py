"""Hints of TradingBot: logging in, symbols and orders, the account and the market."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.arguments import one_of, typed
from envtune.environment.hints.hint import Domain, HintKind, NextCall, Of, Situation, Values, example, hint

_CLASS = "TradingBot"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
# What get_symbol_by_name knows in both releases, without a company's suffix; a test holds them to the API.
COMPANIES = (
    "Apple", "Google", "Tesla", "Microsoft", "Nvidia", "Zeta Corp", "Alpha Tech", "Omega Industries", "Quasar Ltd.",
    "Neptune Systems", "Synex Solutions", "Amazon",
)  # fmt: skip
SECTORS = ("Technology", "Automobile")
_LOGIN = NextCall("trading_login", "Log in with {call}.")
_ACCOUNT = NextCall("get_account_info", "Call {call} to see what there is.", {})
_SYMBOL = NextCall("get_symbol_by_name", "{call} gives the symbol of a company.")
_ORDERS = NextCall("get_order_history", "Call {call} to see the ids of all orders.", {})
_LOGIN_TEXT = "The user has to be logged in first."


def _stocks(s: Situation) -> Any:
    return s.api(_CLASS).get("stocks") or {}


def _company_in(text: Any) -> str | None:
    """A company that the text names, as the API spells it."""
    if not isinstance(text, str):
        return None
    words = " " + re.sub(r"[\W_]+", " ", text[:100]).lower().strip() + " "
    spelt = ((name, re.sub(r"[\W_]+", " ", name).lower().strip()) for name in COMPANIES)
    return next((name for name, plain in spelt if f" {plain} " in words), None)


def _company(*parameters: str) -> Any:
    """The name of a company where a symbol is needed."""

    def match(s: Situation) -> Values | None:
        for parameter in parameters:
            name = _company_in(s.argument(parameter))
            if name is not None:
                return {"parameter": parameter, "name": name}
        return None

    return match


def _capitals(*parameters: str) -> Any:
    """A symbol that is there in other letters."""

    def match(s: Situation) -> Values | None:
        for parameter in parameters:
            value = s.argument(parameter)
            plain = value.strip().lstrip("$").upper() if isinstance(value, str) else None
            if plain != value and plain in _stocks(s):
                return {"symbol": plain, "changed": {parameter: plain}}
        return None

    return match


def _ignored(s: Situation) -> bool:
    """add_to_watchlist says nothing of a symbol that it does not know."""
    stock, listed = s.argument("stock"), s.api(_CLASS).get("watch_list") or []
    return stock not in listed and not (isinstance(stock, str) and stock in _stocks(s))


def _if_ignored(match: Any) -> Any:
    return lambda s: match(s) if _ignored(s) else None


def _logged_out(s: Situation) -> Values | None:
    return None if s.api(_CLASS).get("authenticated") else {}


def _wrong_date(s: Situation) -> Values | None:
    changed = {}
    for name in ("start_date", "end_date"):
        value = s.argument(name)
        if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            changed[name] = "2024-01-01"
    return {"changed": changed} if changed else None


def _unreal_date(s: Situation) -> Values | None:
    """A day that does not exist, in the right form: not one of a stored transaction, which fails in the same words."""
    given = [value for name in ("start_date", "end_date") if isinstance(value := s.argument(name), str)]
    return {} if ("out of range for month" in s.text and given) or any(repr(v) in s.text for v in given) else None


def _company_alone(s: Situation) -> Values | None:
    name = _company_in(s.argument("name"))
    return None if name is None else {"known": name}


_ORDER = {"id": 7, "order_type": "Buy", "symbol": "AAPL", "price": 1.0, "amount": 1, "status": "Completed"}
_PLACE = "place_order(order_type='Buy', symbol={!r}, price={}, amount={})"


def _money(kind: str, amount: float, account: int = 5) -> tuple[str, str]:
    """The call that takes money out or puts it in, by release."""
    return (
        f"make_transaction(account_id={account}, xact_type='{kind}', amount={amount})",
        f"withdraw_funds(amount={amount})",
    )


TRADING = Domain(
    "trading",
    _CLASS,
    (
        hint("trading.login.first", _DEPENDENCY,
             "place_order make_transaction withdraw_funds get_account_info fund_account remove_stock_from_watchlist",
             "not authenticated", _LOGIN_TEXT, _logged_out, next=_LOGIN,
             examples=(example("get_account_info()", authenticated=False),
                       example(_PLACE.format("AAPL", 1.0, 1), authenticated=False))),
        hint("trading.login.first.list", _DEPENDENCY, "get_watchlist get_order_history get_transaction_history",
             r"^\[(\{'error': '|'Error: )User not authenticated", _LOGIN_TEXT, next=_LOGIN, silent=True,
             examples=(example("get_watchlist()", authenticated=False), example("get_order_history()", authenticated=False),
                       example("get_transaction_history()", authenticated=False))),
        hint("trading.login.done", _CONSTRAINT, "trading_login", r"Already logged in",
             "The user is logged in: nothing is left to do.", silent=True,
             examples=example("trading_login(username='a', password='b')")),
        hint("trading.logout.none", _CONSTRAINT, "trading_logout", r"No user is currently logged in",
             "Nobody is logged in, so nothing is left to do.", silent=True,
             examples=example("trading_logout()", authenticated=False)),
        hint("trading.symbol.capitals", _CONSTRAINT, "get_stock_info place_order update_stock_price",
             r"Stock with symbol|Invalid stock symbol", "Symbols are in capitals: {symbol}.", _capitals("symbol"),
             retry=Of("changed"),
             examples=(example("get_stock_info(symbol='aapl')"), example(_PLACE.format("aapl", 1.0, 1)))),
        hint("trading.symbol.company", _DEPENDENCY, "get_stock_info place_order update_stock_price",
             r"Stock with symbol|Invalid stock symbol", "{parameter} is a stock's symbol, not the name of the company.",
             _company("symbol"), next=NextCall("get_symbol_by_name", "Get it with {call}.", {"name": Of("name")}),
             examples=example("get_stock_info(symbol='Apple')")),
        hint("trading.symbol.unknown", _DEPENDENCY, "get_stock_info place_order update_stock_price",
             r"Stock with symbol|Invalid stock symbol", "No stock has the symbol {symbol}.",
             next=(_SYMBOL, NextCall("get_available_stocks", "{call} gives the symbols of a sector.")),
             examples=(example("get_stock_info(symbol='ZZZ')"), example(_PLACE.format("ZZZ", 1.0, 1)),
                       example("update_stock_price(symbol='ZZZ', new_price=1.0)", release="paper"))),
        typed("trading.order.type", "get_order_details cancel_order", " not found", "order_id",
              example("get_order_details(order_id='7')")),
        hint("trading.order.unknown", _DEPENDENCY, "get_order_details", " not found",
             "There is no order with the id {order_id}: the result lists the ids that there are.",
             examples=example("get_order_details(order_id=99)")),
        hint("trading.order.cancel", _DEPENDENCY, "cancel_order", " not found",
             "There is no order with the id {order_id}.", lambda s: None if _logged_out(s) is not None else {}, next=_ORDERS,
             examples=example("cancel_order(order_id=99)")),
        hint("trading.order.cancel.logged_out", _DEPENDENCY, "cancel_order", " not found",
             "There is no order with the id {order_id}.",
             next=NextCall("trading_login", "Log in with {call} to see with get_order_history which there are."),
             examples=example("cancel_order(order_id=99)", authenticated=False)),
        hint("trading.order.completed", _CONSTRAINT, "cancel_order", r"already completed",
             "A completed order stays as it is; only one that is open or pending can be cancelled.", next=_ORDERS,
             examples=example("cancel_order(order_id=7)")),
        hint("trading.order.amounts", _CONSTRAINT, "place_order", r"must be positive values",
             "price and amount must both be greater than 0.", retry={"price": 1.0, "amount": 1},
             examples=example(_PLACE.format("AAPL", 0.0, 1))),
        hint("trading.order.funds", _DEPENDENCY, "place_order", r"Insufficient funds",
             "The account has less than the order costs: order fewer shares, or put money in first.",
             next=(NextCall("get_account_info", "{call} shows the balance.", {}),
                   NextCall("fund_account", "Where the user wants it, put money in with {call}.")),
             examples=example(_PLACE.format("AAPL", 1.0, 10_000), release="current")),
        hint("trading.market.closed", _DEPENDENCY, "make_transaction", "Market is closed",
             "This works only while the market is open, and it is closed.",
             next=(NextCall("get_current_time", "{call} gives the time, and update_market_status with it opens the market in "
                            "trading hours.", {}),
                   NextCall("update_market_status", "{call} with a time in trading hours opens it.")),
             examples=(example(_money("deposit", 1.0)[0], market_status="Closed", release="paper"),
                       example(_money("deposit", 1.0)[0], market_status="Closed", release="paper",
                               held_out="get_current_time"))),
        hint("trading.market.shut", _CONSTRAINT, "withdraw_funds", r"Market is closed",
             "Money can be taken out only while the market is open. It cannot be opened with a tool.",
             examples=example(_money("", 1.0)[1], market_status="Closed", release="current")),
        typed("trading.account.type", "make_transaction", "Account with ID", "account_id",
              example("make_transaction(account_id='5', xact_type='deposit', amount=1.0)", release="paper")),
        hint("trading.account.id", _DEPENDENCY, "make_transaction", r"Account with ID",
             "account_id is not that of the user's account.",
             next=NextCall("get_account_info", "Call {call} to see it.", {}),
             examples=example(_money("deposit", 1.0, 6)[0], release="paper")),
        hint("trading.amount", _CONSTRAINT, "make_transaction withdraw_funds fund_account", r"amount must be positive",
             "amount must be greater than 0.", retry={"amount": 1.0},
             examples=(example("fund_account(amount=0.0)"), example(_money("deposit", 0.0)[0], release="paper"),
                       example(_money("", -1.0)[1], release="current"))),
        hint("trading.funds", _DEPENDENCY, "make_transaction withdraw_funds", r"Insufficient funds",
             "The account has less than this. Take out less.", next=_ACCOUNT,
             examples=(example(_money("withdrawal", 1e6)[0], release="paper"),
                       example(_money("", 1e6)[1], release="current"))),
        hint("trading.transaction", _CONSTRAINT, "make_transaction", r"Invalid transaction type",
             "xact_type is deposit or withdrawal.", one_of("xact_type", ("deposit", "withdrawal")), retry=Of("changed"),
             examples=example(_money("withdraw", 1.0)[0], release="paper")),
        hint("trading.watchlist.none", _DEPENDENCY, "remove_stock_from_watchlist", r"not found in watchlist",
             "The watchlist does not have {symbol}.",
             next=NextCall("get_watchlist", "Call {call} to see what it has; it takes symbols.", {}),
             examples=example("remove_stock_from_watchlist(symbol='AAPL')")),
        typed("trading.watchlist.type", "add_to_watchlist", r'^\{"(symbol|watchlist)"', "stock",
              example("add_to_watchlist(stock=5)"), silent=True),
        hint("trading.watchlist.capitals", _CONSTRAINT, "add_to_watchlist", r'^\{"(symbol|watchlist)"',
             "Nothing was put on the watchlist. Symbols are in capitals: {symbol}.", _if_ignored(_capitals("stock")),
             retry=Of("changed"), silent=True, examples=example("add_to_watchlist(stock='aapl')")),
        hint("trading.watchlist.company", _DEPENDENCY, "add_to_watchlist", r'^\{"(symbol|watchlist)"',
             "Nothing was put on the watchlist: {parameter} is a stock's symbol, not the name of the company.",
             _if_ignored(_company("stock")), next=NextCall("get_symbol_by_name", "Get it with {call}.", {"name": Of("name")}),
             silent=True, examples=example("add_to_watchlist(stock='Apple')")),
        hint("trading.watchlist.unknown", _DEPENDENCY, "add_to_watchlist", r'^\{"(symbol|watchlist)"',
             "Nothing was put on the watchlist: no stock has the symbol {stock}.", _if_ignored(lambda _: {}), next=_SYMBOL,
             silent=True, examples=example("add_to_watchlist(stock='ZZZ')")),
        hint("trading.company.spelling", _CONSTRAINT, "get_symbol_by_name", r'"Stock not found"',
             "Give the company's name alone: {known}.", _company_alone, retry={"name": Of("known")}, silent=True,
             examples=example("get_symbol_by_name(name='Apple Inc.')")),
        hint("trading.company.unknown", _CONSTRAINT, "get_symbol_by_name", r'"Stock not found"',
             "No company is known by this very name. Where the user gave the symbol itself, use that.", silent=True,
             examples=example("get_symbol_by_name(name='Initech')")),
        hint("trading.sector", _CONSTRAINT, "get_available_stocks", r'^\{"stock_list": \[\]\}$',
             "No stock is listed for {sector}. The sectors are " + " and ".join(SECTORS) + ".", retry={"sector": SECTORS[0]},
             silent=True, examples=example("get_available_stocks(sector='Tech')")),
        hint("trading.price.new", _CONSTRAINT, "update_stock_price", r"must be a positive value",
             "new_price must be greater than 0.", retry={"new_price": 1.0},
             examples=example("update_stock_price(symbol='AAPL', new_price=0.0)", release="paper")),
        hint("trading.time", _CONSTRAINT, "update_market_status", r"does not match format|unconverted data",
             "current_time_str is a time of day such as get_current_time gives: HH:MM AM or HH:MM PM.",
             retry={"current_time_str": "10:30 AM"}, needs="get_current_time",
             examples=example("update_market_status(current_time_str='25:00')", release="paper")),
        hint("trading.time.form", _CONSTRAINT, "update_market_status", r"does not match format|unconverted data",
             "current_time_str is a time of day, written HH:MM AM or HH:MM PM.", retry={"current_time_str": "10:30 AM"},
             examples=example("update_market_status(current_time_str='25:00')", release="paper",
                              held_out="get_current_time")),
        hint("trading.dates", _CONSTRAINT, "get_transaction_history",
             r"does not match format|unconverted data|out of range for month",
             "start_date and end_date are days that exist, written YYYY-MM-DD.", _wrong_date, retry=Of("changed"),
             examples=example("get_transaction_history(start_date='June 1st')")),
        hint("trading.dates.real", _CONSTRAINT, "get_transaction_history",
             r"does not match format|unconverted data|out of range for month",
             "start_date and end_date are days that exist, written YYYY-MM-DD.", _unreal_date,
             retry={"start_date": "2024-01-01", "end_date": "2024-12-31"},
             examples=example("get_transaction_history(start_date='2024-02-31')")),
    ),
    MappingProxyType(
        {
            "orders": {"7": _ORDER}, "authenticated": True, "market_status": "Open", "order_counter": 8,
            "account_info": {"account_id": 5, "balance": 100.0, "binding_card": 1}, "watch_list": [],
            "stocks": {"AAPL": {"price": 10.0, "percent_change": 0.1, "volume": 1.0, "MA(5)": 1.0, "MA(20)": 1.0}},
            "transaction_history": [],
        }
    ),
)  # fmt: skip
