"""Hints of TravelAPI: the access token, cards, bookings, airports, currencies, the traveller."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.arguments import closest, one_of, typed
from envtune.environment.hints.hint import Domain, HintKind, NextCall, Of, Situation, Values, example, hint

_CLASS = "TravelAPI"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
# The results of list_all_airports, and what get_nearest_airport_by_city takes; a test holds both to the API.
AIRPORTS = frozenset(
    [
        "RMS",
        "SBK",
        "MPC",
        "SVP",
        "SHD",
        "CDG",
        "LHR",
        "SSV",
        "OKD",
        "WLB",
        "PEK",
        "HND",
        "HKG",
        "CIA",
        "CRH",
        "ATV",
        "PHV",
        "GFD",
        "SFO",
        "LAX",
        "JFK",
        "ORD",
        "BOS",
    ]
)
CITIES = (
    "Rivermist", "Stonebrook", "Maplecrest", "Silverpine", "Shadowridge", "London", "Paris", "Sunset Valley",
    "Oakendale", "Willowbend", "Crescent Hollow", "Autumnville", "Pinehaven", "Greenfield", "San Francisco",
    "Los Angeles", "New York", "Chicago", "Boston", "Beijing", "Hong Kong", "Rome", "Tokyo",
)  # fmt: skip
CURRENCIES = ("USD", "RMB", "EUR", "JPY", "GBP", "CAD", "AUD", "INR", "RUB", "BRL", "MXN")
_CLASSES = ("economy", "business", "first")
_FLIGHT = "get_flight_cost book_flight"
_NO_ROUTE = r'("error": "|^Error during execution: )(No available route|Invalid (departure|destination) airport code)'
_WITH_TOKEN = (
    "register_credit_card get_credit_card_balance book_flight retrieve_invoice cancel_booking set_budget_limit "
    "purchase_insurance get_booking_history"
)
_LOGIN = NextCall("authenticate_travel", "Log in with {call}, whose result has the token.")
_CARDS = NextCall("get_all_credit_cards", "Call {call} to see the registered cards and their ids.", {})
_BALANCES = NextCall("get_all_credit_cards", "Call {call} to see what each card has.", {})
_BOOKED = NextCall("book_flight", "The id is in the result of the {call} call that booked it.")
_AIRPORTS = NextCall("list_all_airports", "Call {call} to see the codes.", {})


def _state(s: Situation, name: str) -> Any:
    return s.api(_CLASS).get(name)


def _logged_out(s: Situation) -> Values | None:
    return {} if _state(s, "token_expires_in") is None or _state(s, "access_token") is None else None


def _last_use(s: Situation) -> Values | None:
    """In the older release a wrong token uses up the right one (the newer one has a table of costs, the older has not)."""
    older = "_flight_cost_lookup" not in s.api(_CLASS)
    return {} if older and _state(s, "token_expires_in") == 1 and s.call.name != "register_credit_card" else None


def _token_at_hand(s: Situation) -> Values | None:
    """The failed call had the access token. One that it did not have is not said: it is the user's or a result's."""
    token = s.argument("access_token")
    return {} if token is not None and token == _state(s, "access_token") else None


def _cards(s: Situation) -> Mapping[str, Any]:
    found = _state(s, "credit_card_list")
    return found if isinstance(found, Mapping) else {}


def _no_cards(s: Situation) -> Values | None:
    return None if _cards(s) else {}


def _number_for_id(s: Situation) -> Values | None:
    """The number of a registered card where its id is needed."""
    given = s.argument("card_id")
    numbers = [card.get("card_number") for card in _cards(s).values() if isinstance(card, Mapping)]
    return {} if given is not None and given in numbers else None


def _city(s: Situation) -> Values | None:
    """A city where an airport's code is needed."""
    for name in ("travel_from", "travel_to"):
        value = s.argument(name)
        if not isinstance(value, str) or value in AIRPORTS:
            continue
        city = _known_city(value)
        if city is not None:
            return {"parameter": name, "value": value, "city": city}
    return None


def _known_city(text: str) -> str | None:
    """The city that the text names, as the API spells it: "san francisco, CA" is San Francisco."""
    words = re.sub(r"[\W_]+", " ", text[:100]).lower().strip()
    return next((city for city in CITIES if re.search(rf"\b{city.lower()}\b", words)), None)


def _no_airport(s: Situation) -> Values | None:
    for name in ("travel_from", "travel_to"):
        value = s.argument(name)
        if not isinstance(value, str) or value not in AIRPORTS:
            return {"value": value}
    return None


def _no_currency(s: Situation) -> Values | None:
    wrong, changed = [], {}
    for name, other in (("base_currency", "USD"), ("target_currency", "EUR")):
        value = s.argument(name)
        if not isinstance(value, str) or value not in CURRENCIES:
            wrong.append(value)
            changed[name] = (closest(value, CURRENCIES, 0.5) if isinstance(value, str) else None) or other
    return {"value": wrong[0], "changed": changed} if wrong else None


def _same_currency(s: Situation) -> Values | None:
    return {} if s.argument("base_currency") == s.argument("target_currency") else None


def _broken_record(*keys: str) -> Callable[[Situation], Values | None]:
    """A key of a stored record that is missing."""

    def match(s: Situation) -> Values | None:
        key = s.text.removeprefix("Error during execution: ").strip("'")
        record = (_state(s, "booking_record") or {}).get(s.argument("booking_id"))
        return {} if isinstance(record, Mapping) and key not in record and key in keys else None

    return match


def _card_gone(s: Situation) -> Values | None:
    record = (_state(s, "booking_record") or {}).get(s.argument("booking_id"))
    card = record.get("card_id") if isinstance(record, Mapping) else None
    return {} if card is not None and card not in _cards(s) else None


def _user(s: Situation) -> Values | None:
    first, last = _state(s, "user_first_name"), _state(s, "user_last_name")
    return None if first is None or last is None else {"first": first, "last": last}


def _city_in(s: Situation) -> Values | None:
    value = s.argument("location")
    city = _known_city(value) if isinstance(value, str) else None
    return None if city is None else {"city": city}


_TOKEN = {"access_token": "852763", "token_expires_in": 3, "token_type": "Bearer", "token_scope": "read_write"}
_BOOKING = {
    "card_id": "11", "travel_date": "2026-01-02", "travel_from": "SFO", "travel_to": "LAX", "travel_class": "economy",
    "travel_cost": 100.0, "transaction_id": "7",
}  # fmt: skip


def _flight(release: str, **changed: Any) -> Any:
    """A call of book_flight as the release has it, with some arguments changed."""
    arguments = {
        "access_token": "852763", "card_id": "11", "travel_date": "2026-01-02", "travel_from": "SFO", "travel_to": "LAX",
        "travel_class": "economy", **({"travel_cost": 100.0} if release == "paper" else {}), **changed,
    }  # fmt: skip
    state = {name: arguments.pop(name) for name in list(arguments) if name in ("credit_card_list", "budget_limit")}
    call = f"book_flight({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
    return example(call, release=release, **state)


def _cost(**changed: str) -> Any:
    arguments = {"travel_from": "SFO", "travel_to": "LAX", "travel_date": "2026-01-02", "travel_class": "economy"}
    return example(f"get_flight_cost({', '.join(f'{k}={v!r}' for k, v in (arguments | changed).items())})")


def _both(**changed: Any) -> tuple[Any, ...]:
    return tuple(_flight(release, **changed) for release in ("paper", "current"))


TRAVEL = Domain(
    "travel",
    _CLASS,
    (
        hint("travel.token.none", _DEPENDENCY, _WITH_TOKEN,
             r'"error": "(Token not initialized|Invalid access token)"|^Error during execution: unsupported operand type',
             "No access token is in force yet.", _logged_out, next=_LOGIN,
             examples=(example("cancel_booking(access_token='1', booking_id='5')", access_token=None,
                               token_expires_in=None),
                       example("register_credit_card(access_token='1', card_number='4', expiration_date='01/2030', "
                               "cardholder_name='A', card_verification_number=1)", access_token=None,
                               token_expires_in=None))),
        typed("travel.token.type", _WITH_TOKEN, '"error": "Invalid access token"', "access_token",
              example("retrieve_invoice(access_token=852763, booking_id='5')")),
        hint("travel.token.used_up", _DEPENDENCY, _WITH_TOKEN, '"error": "Invalid access token"',
             "This is not the access token in force, and with this failure that one has expired.", _last_use,
             next=NextCall("authenticate_travel", "{call} gives a new one."),
             examples=example("set_budget_limit(access_token='1', budget_limit=3.0)", token_expires_in=1, release="paper")),
        hint("travel.token.expired", _DEPENDENCY, _WITH_TOKEN, '"error": "Token expired"', "The access token has expired.",
             next=NextCall("authenticate_travel", "{call} gives a new one."),
             examples=example("set_budget_limit(access_token='852763', budget_limit=5.0)", token_expires_in=0)),
        hint("travel.token.wrong", _DEPENDENCY, _WITH_TOKEN, '"error": "Invalid access token"',
             "This is not the access token in force: that is the one of the last log-in, or the one the user gave.",
             next=NextCall("authenticate_travel", "Where there is none at hand, {call} gives a new one."),
             examples=example("retrieve_invoice(access_token='1', booking_id='5')")),
        hint("travel.card.registered", _CONSTRAINT, "register_credit_card", '"error": "Card already registered"',
             "This is the id of a card that is registered: it can be used as card_id as it is.", next=_CARDS,
             examples=example("register_credit_card(access_token='852763', card_number='11', expiration_date='01/2030', "
                              "cardholder_name='A', card_verification_number=1)")),
        typed("travel.card.type", "book_flight purchase_insurance get_credit_card_balance",
              r'"error": "(Credit c|C)ard not registered', "card_id",
              example("get_credit_card_balance(access_token='852763', card_id=11)")),
        hint("travel.card.number", _CONSTRAINT, "book_flight purchase_insurance get_credit_card_balance",
             r'"error": "(Credit c|C)ard not registered', "card_id is not the card's number but the id that it was registered under.",
             _number_for_id, next=_CARDS,
             examples=example("get_credit_card_balance(access_token='852763', card_id='4444')")),
        hint("travel.card.none", _DEPENDENCY, "book_flight purchase_insurance get_credit_card_balance",
             r'"error": "(Credit c|C)ard not registered', "No card is registered yet.", _no_cards,
             next=NextCall("register_credit_card", "Register the user's card with {call}; its result has the card_id."),
             examples=example("get_credit_card_balance(access_token='852763', card_id='4')", credit_card_list={})),
        hint("travel.card.unknown", _DEPENDENCY, "book_flight purchase_insurance get_credit_card_balance",
             r'"error": "(Credit c|C)ard not registered', "No card is registered under {card_id}.", next=_CARDS,
             examples=(example("get_credit_card_balance(access_token='852763', card_id='4')"), *_both(card_id="12"))),
        hint("travel.card.balance", _CONSTRAINT, "book_flight", '"error": "Balance not found"',
             "Nothing is known of what this card has. Pay with another one.", next=_CARDS,
             examples=_both(credit_card_list={"11": {"card_number": "4444"}})),
        hint("travel.card.funds", _DEPENDENCY, "book_flight", '"error": "Insufficient funds"',
             "The card has less than this costs. Pay with another one.", next=_BALANCES,
             examples=_both(credit_card_list={"11": {"card_number": "4444", "balance": 5.0}})),
        hint("travel.budget.balance", _CONSTRAINT, "book_flight", '"error": "Balance is less than budget limit"',
             "The card must have at least the budget limit. Pay with another card.",
             next=(NextCall("set_budget_limit", "Or, where the user wants it, lower the limit with {call}."), _BALANCES),
             examples=_both(budget_limit=10_000_000.0)),
        hint("travel.budget.insurance", _CONSTRAINT, "purchase_insurance", '"error": "Exceeded budget limit"',
             "The insurance costs more than the budget limit.",
             next=NextCall("set_budget_limit", "Where the user wants it, raise the limit with {call}."),
             examples=example("purchase_insurance(access_token='852763', insurance_type='a', booking_id='5', "
                              "insurance_cost=50.0, card_id='11')", budget_limit=10.0)),
        typed("travel.booking.type", "retrieve_invoice cancel_booking purchase_insurance contact_customer_support",
              '"error": "Booking not found"', "booking_id", example("cancel_booking(access_token='852763', booking_id=5)")),
        hint("travel.booking.missing", _CONSTRAINT, "retrieve_invoice", '"error": "Booking not found"',
             "booking_id is needed: an invoice is looked up by it alone.",
             lambda s: {} if s.argument("booking_id") is None else None,
             next=(NextCall("get_booking_history", "{call} gives the ids of all bookings."), _BOOKED),
             examples=example("retrieve_invoice(access_token='852763', insurance_id='6')")),
        hint("travel.booking.unknown", _DEPENDENCY, "retrieve_invoice cancel_booking purchase_insurance",
             '"error": "Booking not found"',
             "There is no booking with this id: booking_id is the one that was given when the flight was booked.",
             _token_at_hand,
             next=(NextCall("get_booking_history", "{call} gives the ids of all bookings.",
                            {"access_token": Of("access_token")}), _BOOKED),
             examples=example("cancel_booking(access_token='852763', booking_id='6')")),
        hint("travel.booking.unknown.support", _DEPENDENCY,
             "retrieve_invoice cancel_booking purchase_insurance contact_customer_support", '"error": "Booking not found"',
             "There is no booking with this id: booking_id is the one that was given when the flight was booked.",
             next=(NextCall("get_booking_history", "{call} gives the ids of all bookings."), _BOOKED),
             examples=example("contact_customer_support(booking_id='6', message='m')")),
        hint("travel.booking.card", _CONSTRAINT, "cancel_booking", r"^Error during execution: '",
             "The card that this booking was paid with is not registered any more, so it cannot be cancelled.",
             _card_gone, next=_CARDS,
             examples=example("cancel_booking(access_token='852763', booking_id='5')",
                              credit_card_list={"12": {"balance": 5.0}})),
        hint("travel.booking.record", _CONSTRAINT, "cancel_booking retrieve_invoice", r"^Error during execution: '\w+'$",
             "The record of this booking is incomplete, so this cannot be done with it.",
             _broken_record(*_BOOKING), examples=example("retrieve_invoice(access_token='852763', booking_id='5')",
                                                         booking_record={"5": {"card_id": "11"}})),
        hint("travel.card.record", _CONSTRAINT, "purchase_insurance get_credit_card_balance cancel_booking",
             r"^Error during execution: 'balance'$", "Nothing is known of what this card has.", next=_CARDS,
             examples=example("get_credit_card_balance(access_token='852763', card_id='11')",
                              credit_card_list={"11": {"card_number": "4444"}})),
        hint("travel.airport.city", _DEPENDENCY, _FLIGHT, _NO_ROUTE,
             "{parameter} is the three-letter code of an airport, and {value} is a city.", _city,
             next=(NextCall("get_nearest_airport_by_city", "Get its airport with {call}.", {"location": Of("city")}),
                   _AIRPORTS),
             authors=(44,), examples=(_cost(travel_from="San Francisco"), _cost(travel_to="boston, MA"),
                                      _flight("current", travel_to="Rome"))),
        hint("travel.airport.code", _DEPENDENCY, _FLIGHT, _NO_ROUTE,
             "{value} is not the three-letter code of an airport.", _no_airport,
             next=(_AIRPORTS, NextCall("get_nearest_airport_by_city", "{call} gives the code for a city.")),
             authors=(44,), examples=(_cost(travel_from="XYZ"), _flight("current", travel_from="lax"))),
        hint("travel.route", _CONSTRAINT, _FLIGHT, _NO_ROUTE,
             "Both codes are right, but nothing flies from {travel_from} to {travel_to}. Not every pair has a flight.",
             next=_AIRPORTS, authors=(45,),
             examples=(_cost(travel_from="LHR", travel_to="SFO"), _flight("current", travel_to="HKG"))),
        hint("travel.class", _CONSTRAINT, _FLIGHT, r'("error": "|^Error during execution: )Invalid travel class',
             "travel_class is economy, business or first, in small letters.", one_of("travel_class", _CLASSES, "economy"), retry=Of("changed"),
             examples=(_cost(travel_class="Business"), _flight("current", travel_class="coach"))),
        hint("travel.date", _CONSTRAINT, "book_flight", '"error": "Invalid date format',
             "travel_date is a day that exists, written YYYY-MM-DD.", retry={"travel_date": "2026-01-02"},
             examples=_flight("current", travel_date="January 2nd")),
        hint("travel.currency.same", _CONSTRAINT, "compute_exchange_rate", r"No available exchange rate",
             "Both currencies are the same: there is nothing to exchange.", _same_currency,
             examples=example("compute_exchange_rate(base_currency='USD', target_currency='USD', value=1.0)")),
        hint("travel.currency.code", _CONSTRAINT, "compute_exchange_rate", r"No available exchange rate",
             "{value} is no currency here. The currencies are " + ", ".join(CURRENCIES) + ".", _no_currency, retry=Of("changed"),
             authors=(46,),
             examples=example("compute_exchange_rate(base_currency='USD', target_currency='euro', value=1.0)")),
        hint("travel.currency.pair", _CONSTRAINT, "compute_exchange_rate", r"No available exchange rate",
             "There are rates only between USD and another currency. Exchange to USD first, then from USD.",
             retry={"target_currency": "USD"}, authors=(46,),
             examples=example("compute_exchange_rate(base_currency='EUR', target_currency='JPY', value=1.0)")),
        hint("travel.traveler.logged_out", _DEPENDENCY, "verify_traveler_information", r"for another user",
             "No user's name is known yet, and only the user who is logged in can be verified.",
             lambda s: {} if _user(s) is None else None, next=NextCall("authenticate_travel", "Log in with {call} first."),
             silent=True,
             examples=example("verify_traveler_information(first_name='A', last_name='B', date_of_birth='1990-01-02', "
                              "passport_number='US1')", user_first_name=None, user_last_name=None)),
        hint("travel.traveler.name", _CONSTRAINT, "verify_traveler_information", r"for another user",
             "Only the user who is logged in can be verified: the result says which name that is.", _user,
             retry={"first_name": Of("first"), "last_name": Of("last")}, silent=True,
             examples=example("verify_traveler_information(first_name='A', last_name='B', date_of_birth='1990-01-02', "
                              "passport_number='US1')")),
        hint("travel.traveler.birth", _CONSTRAINT, "verify_traveler_information", r"Invalid date of birth",
             "date_of_birth is a day that exists, written YYYY-MM-DD.", retry={"date_of_birth": "1990-01-02"},
             silent=True,
             examples=example("verify_traveler_information(first_name='Ann', last_name='Lee', date_of_birth='1/2/1990', "
                              "passport_number='US1')")),
        hint("travel.traveler.age", _CONSTRAINT, "verify_traveler_information", r"at least 18",
             "Nobody under 18 can be verified. Check the date of birth that the user gave.", silent=True,
             examples=example("verify_traveler_information(first_name='Ann', last_name='Lee', "
                              "date_of_birth='2026-01-02', passport_number='US1')")),
        hint("travel.traveler.passport", _CONSTRAINT, "verify_traveler_information", r"issued by the United States",
             "Only passport numbers that begin with US are accepted.", lambda s: {"us": f"US{s.argument('passport_number')}"},
             retry={"passport_number": Of("us")}, silent=True,
             examples=example("verify_traveler_information(first_name='Ann', last_name='Lee', "
                              "date_of_birth='1990-01-02', passport_number='X1')")),
        hint("travel.city.spelling", _CONSTRAINT, "get_nearest_airport_by_city", r'"Unknown"',
             "Give the name of the city alone: {city}.", _city_in, retry={"location": Of("city")}, silent=True,
             examples=example("get_nearest_airport_by_city(location='San Francisco, CA')")),
        hint("travel.city.unknown", _CONSTRAINT, "get_nearest_airport_by_city", r'"Unknown"',
             "No airport is known for {location}. The documentation of this tool names the cities that it knows.",
             next=_AIRPORTS, silent=True, examples=example("get_nearest_airport_by_city(location='Berlin')")),
    ),
    MappingProxyType(
        {
            **_TOKEN, "user_first_name": "Ann", "user_last_name": "Lee", "budget_limit": None,
            "credit_card_list": {"11": {"card_number": "4444", "balance": 5000.0}}, "booking_record": {"5": _BOOKING},
        }
    ),
)  # fmt: skip
