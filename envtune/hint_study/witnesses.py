"""For every place where a BFCL tool can fail, calls that end there: on a real task wherever one leads to it.

`failure_sites.py` has the places; a test holds the two together. The last call of each entry is the one that fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from envtune.environment import ApiState
from envtune.tasks import Task, find_task

# Where the calls of a class start, unless the first says "@task id"; "?name" overrides the scenario there.
STARTS = MappingProxyType({
    "GorillaFileSystem": "multi_turn_base_0", "TwitterAPI": "multi_turn_base_0", "TicketAPI": "multi_turn_base_2",
    "MessageAPI": "multi_turn_base_14", "MathAPI": "multi_turn_base_15", "VehicleControlAPI": "multi_turn_base_50",
    "TradingBot": "multi_turn_base_101", "TravelAPI": "multi_turn_base_150",
})  # fmt: skip
OVERRIDES = MappingProxyType({
    "no token": {"token_expires_in": None, "access_token": None}, "expired": {"token_expires_in": 0},
    "no balance": {"credit_card_list": {"1234-5678-9012-3456": {}}},
})  # fmt: skip
# What the start states hold or ask for.
TOKEN, CARD = "'abc123token'", "'1234-5678-9012-3456'"
AUTH = "authenticate_travel('c', 's', 'r', 'read_write', 'Ann', 'Lee')"
EXPIRE = (AUTH, "set_budget_limit('wrong', 1)", "set_budget_limit('wrong', 1)")
TWITTER = "authenticate_twitter('analyst_pro', 'Kj8#mP9$vL2')"
LOCK = "lockDoors(unlock=False, door=['driver', 'passenger', 'rear_left', 'rear_right'])"
HUGE = "1" + "0" * 350  # an int that no float holds


def _fly(release: str, *, token: str = TOKEN, card: str = CARD, date: str = "2024-11-11", route: str = "'SFO', 'LAX'",
         seat: str = "economy", cost: float = 200) -> str:  # fmt: skip
    last = f", {cost}" if release == "paper" else ""
    return f"book_flight({token}, {card}, '{date}', {route}, '{seat}'{last})"


def _booked(release: str) -> tuple[str, str]:
    return f"set_budget_limit({TOKEN}, 100)", _fly(release)


# Site -> the calls that end there: its own is the last. "BOOKING" stands for the id of the last booking.
BOTH: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "GorillaFileSystem._add_file.1": ('touch("f\\n\'")', "mkdir('d')", *('cp("f\\n\'", \'d\')',) * 2),
    "GorillaFileSystem._add_directory.1": ("mkdir('s')", "mkdir('d')", *("cp('s', 'd')",) * 2),
    "GorillaFileSystem.mkdir.1": ("mkdir('a/b')",),
    "GorillaFileSystem.mkdir.2": ("mkdir('d')", "mkdir('d')"),
    "GorillaFileSystem.touch.1": ("touch('a/b')",),
    "GorillaFileSystem.touch.2": ("touch('f')", "touch('f')"),
    "GorillaFileSystem.echo.1": ("echo('text', 'a/b')",),
    "GorillaFileSystem.cat.1": ("cat('a/b')",),
    "GorillaFileSystem.cat.2": ("mkdir('d')", "cat('d')"),
    "GorillaFileSystem.cat.3": ('cat("\'. Is a directory\\n\\u00e9")',),
    "GorillaFileSystem.wc.1": ("wc('f', 'z')",),
    "GorillaFileSystem.wc.2": ("wc('f')",),
    "GorillaFileSystem.sort.1": ("sort('f')",),
    "GorillaFileSystem.grep.1": ("grep('f', 'x')",),
    "GorillaFileSystem.tail.1": ("tail('f')",),
    "GorillaFileSystem.diff.1": ("diff('a or b', 'c')",),
    "GorillaFileSystem.mv.1": ("mv('f', 'g')",),
    "GorillaFileSystem.mv.3": ("touch('f')", "mv('f', 'a/b')"),
    "GorillaFileSystem.mv.4": ("touch('f')", "mkdir('d')", "cp('f', 'd')", "mv('f', 'd')"),
    "GorillaFileSystem.mv.5": ("touch('f')", "touch('g')", "mv('f', 'g')"),
    "GorillaFileSystem.rm.2": ("rm('f')",),
    "GorillaFileSystem.rmdir.1": ("touch('f')", "mkdir('d')", "mv('f', 'd')", "rmdir('d')"),
    "GorillaFileSystem.rmdir.2": ("touch('f')", "rmdir('f')"),
    "GorillaFileSystem.rmdir.3": ("rmdir('d')",),
    "GorillaFileSystem.cp.1": ("cp('f', 'g')",),
    "GorillaFileSystem.cp.3": ("touch('f')", "cp('f', 'a/b')"),
    "GorillaFileSystem.cp.5": ("touch('f')", "touch('g')", "cp('f', 'g')"),
    "MathAPI.logarithm.1": ("logarithm('x', 10, 5)",),
    **{f"MathAPI.{tool}.1": (f"{tool}([])",) for tool in (
        "mean", "standard_deviation", "min_value", "max_value", "sum_values")},
    **{f"MathAPI.{tool}.2": (f"{tool}([1, 'x'])",) for tool in (
        "mean", "standard_deviation", "min_value", "max_value", "sum_values")},
    "MathAPI.si_unit_conversion.1": ("si_unit_conversion('1', 'm', 'km')",),
    "MathAPI.si_unit_conversion.2": ("si_unit_conversion(1, 'm', 'mile')",),
    "MathAPI.si_unit_conversion.3": (f"si_unit_conversion({HUGE}, 'cm', 'm')",),
    "MathAPI.imperial_si_conversion.1": ("imperial_si_conversion('1', 'm', 'ft')",),
    "MathAPI.imperial_si_conversion.2": ("imperial_si_conversion(1, 'm', 'mile')",),
    "MathAPI.imperial_si_conversion.3": (f"imperial_si_conversion({HUGE}, 'm', 'ft')",),
    **{f"MathAPI.{tool}.1": (f"{tool}('x', 1)",) for tool in ("add", "subtract", "multiply", "power")},
    **{f"MathAPI.{tool}.1": (f"{tool}(1, 0)",) for tool in ("divide", "percentage")},
    **{f"MathAPI.{tool}.2": (f"{tool}(1, 'x')",) for tool in ("divide", "percentage")},
    "MathAPI.square_root.1": ("square_root(-1, 5)",),
    "MathAPI.square_root.2": ("square_root('x', 5)",),
    "MathAPI.absolute_value.1": ("absolute_value('x')",),
    "MathAPI.round_number.1": ("round_number('x')",),
    "MessageAPI.get_user_id.1": ("get_user_id('Nobody')",),
    "MessageAPI.message_login.1": ("message_login('USR999')",),
    "MessageAPI.send_message.1": ("send_message('USR001', 'hi')",),
    "MessageAPI.send_message.2": ("message_login('USR001')", "send_message('USR999', 'hi')"),
    "MessageAPI.delete_message.1": ("delete_message('USR001')",),
    "MessageAPI.delete_message.2": ("message_login('USR001')", "delete_message('USR999')"),
    "MessageAPI.view_messages_sent.1": ("view_messages_sent()",),
    "MessageAPI.add_contact.1": ("add_contact('Alice')",),
    "MessageAPI.add_contact.2": ("@multi_turn_base_72", "add_contact('Nobody')"),
    "MessageAPI.search_messages.1": ("search_messages('x')",),
    "MessageAPI.get_message_stats.1": ("get_message_stats()",),
    "TwitterAPI.authenticate_twitter.1": ("authenticate_twitter('a', 'b')",),
    "TwitterAPI.post_tweet.1": ("post_tweet('x')",),
    "TwitterAPI.retweet.1": ("retweet(0)",),
    "TwitterAPI.retweet.2": (TWITTER, "retweet(99)"),
    "TwitterAPI.retweet.3": (TWITTER, "retweet(0)", "retweet(0)"),
    "TwitterAPI.comment.1": ("comment(0, 'x')",),
    "TwitterAPI.comment.2": (TWITTER, "comment(99, 'x')"),
    "TwitterAPI.mention.1": ("mention(99, ['@x'])",),
    "TwitterAPI.follow_user.1": ("follow_user('x')",),
    "TwitterAPI.follow_user.2": (TWITTER, "follow_user('x')", "follow_user('x')"),
    "TwitterAPI.list_all_following.1": ("list_all_following()",),
    "TwitterAPI.unfollow_user.1": ("unfollow_user('x')",),
    "TwitterAPI.unfollow_user.2": (TWITTER, "unfollow_user('x')"),
    "TwitterAPI.get_tweet.1": ("get_tweet(99)",),
    "TwitterAPI.get_tweet_comments.1": ("get_tweet_comments(99)",),
    "TicketAPI.create_ticket.1": ("create_ticket('x')",),
    "TicketAPI.create_ticket.2": ("ticket_login('a', 'b')", "create_ticket('x', priority=6)"),
    "TicketAPI.get_ticket.1": ("get_ticket(99)",),
    "TicketAPI.close_ticket.1": ("close_ticket(99)",),
    "TicketAPI.close_ticket.2": ("ticket_login('a', 'b')", "create_ticket('x')", "close_ticket(1)", "close_ticket(1)"),
    "TicketAPI.resolve_ticket.1": ("resolve_ticket(99, 'x')",),
    "TicketAPI.resolve_ticket.2": ("ticket_login('a', 'b')", "create_ticket('x')", *("resolve_ticket(1, 'x')",) * 2),
    "TicketAPI.edit_ticket.1": ("edit_ticket(99, {})",),
    "TicketAPI.edit_ticket.2": ("ticket_login('a', 'b')", "create_ticket('x')", "edit_ticket(1, {'owner': 'x'})"),
    "TicketAPI.ticket_login.1": ("ticket_login('', '')",),
    "TicketAPI.logout.1": ("logout()",),
    "TicketAPI.get_user_tickets.1": ("get_user_tickets()",),
    "TradingBot.get_symbol_by_name.1": ("get_symbol_by_name('Nobody')",),
    "TradingBot.get_stock_info.1": ("get_stock_info('NONE')",),
    "TradingBot.get_order_details.1": ("get_order_details(1)",),
    "TradingBot.cancel_order.1": ("cancel_order(1)",),
    "TradingBot.cancel_order.2": ("cancel_order(12345)",),
    "TradingBot.place_order.1": ("trading_logout()", "place_order('Buy', 'AAPL', 1, 1)"),
    "TradingBot.place_order.2": ("place_order('Buy', 'NONE', 1, 1)",),
    "TradingBot.place_order.3": ("place_order('Buy', 'AAPL', 0, 1)",),
    "TradingBot.get_account_info.1": ("trading_logout()", "get_account_info()"),
    "TradingBot.add_to_watchlist.1": ("add_to_watchlist('NONE')",),
    "TradingBot.trading_login.1": ("trading_login('a', 'b')",),
    "TradingBot.trading_logout.1": ("trading_logout()", "trading_logout()"),
    "TradingBot.fund_account.1": ("trading_logout()", "fund_account(1)"),
    "TradingBot.fund_account.2": ("fund_account(0)",),
    "TradingBot.remove_stock_from_watchlist.1": ("trading_logout()", "remove_stock_from_watchlist('AAPL')"),
    "TradingBot.remove_stock_from_watchlist.2": ("remove_stock_from_watchlist('NONE')",),
    "TradingBot.get_watchlist.1": ("trading_logout()", "get_watchlist()"),
    "TradingBot.get_order_history.1": ("trading_logout()", "get_order_history()"),
    "TradingBot.get_transaction_history.1": ("trading_logout()", "get_transaction_history()"),
    "TradingBot.get_available_stocks.1": ("@multi_turn_long_context_101", "get_available_stocks('Space')"),
    "TravelAPI.register_credit_card.1": ("?no token", "register_credit_card('x', '1', '1/30', 'A', 1)"),
    "TravelAPI.register_credit_card.3": ("register_credit_card('x', '1', '1/30', 'A', 1)",),
    "TravelAPI.register_credit_card.4": (f"register_credit_card({TOKEN}, {CARD}, '1/30', 'A', 1)",),
    "TravelAPI.get_flight_cost.1": ("get_flight_cost('SFO', 'XXX', '2024-11-11', 'first')",),
    "TravelAPI.get_flight_cost.2": ("get_flight_cost('SFO', 'LAX', '2024-11-11', 'window')",),
    "TravelAPI.get_credit_card_balance.2": (f"get_credit_card_balance('x', {CARD})",),
    "TravelAPI.get_credit_card_balance.3": (f"get_credit_card_balance({TOKEN}, 'x')",),
    "TravelAPI.retrieve_invoice.2": ("retrieve_invoice('x')",),
    "TravelAPI.retrieve_invoice.3": (f"retrieve_invoice({TOKEN}, 'x')",),
    "TravelAPI.cancel_booking.2": ("cancel_booking('x', 'x')",),
    "TravelAPI.cancel_booking.3": (f"cancel_booking({TOKEN}, 'x')",),
    "TravelAPI.compute_exchange_rate.1": ("compute_exchange_rate('EUR', 'GBP', 1)",),
    "TravelAPI.verify_traveler_information.1": ("verify_traveler_information('A', 'B', '2000-01-01', 'US1')",),
    "TravelAPI.verify_traveler_information.2": (AUTH, "verify_traveler_information('Ann', 'Lee', '1/1/2000', 'US1')"),
    "TravelAPI.verify_traveler_information.3": (AUTH, "verify_traveler_information('Ann', 'Lee', '2999-01-01', 'US1')"),
    "TravelAPI.verify_traveler_information.4": (AUTH, "verify_traveler_information('Ann', 'Lee', '2000-01-01', 'UK1')"),
    "TravelAPI.set_budget_limit.2": ("set_budget_limit('x', 1)",),
    "TravelAPI.get_nearest_airport_by_city.1": ("get_nearest_airport_by_city('Nowhere')",),
    "TravelAPI.purchase_insurance.2": (f"purchase_insurance('x', 't', 'x', 1, {CARD})",),
    "TravelAPI.purchase_insurance.3": (f"purchase_insurance({TOKEN}, 't', 'x', 10000000, {CARD})",),
    "TravelAPI.purchase_insurance.4": (f"purchase_insurance({TOKEN}, 't', 'x', 1, {CARD})",),
    "TravelAPI.contact_customer_support.1": ("contact_customer_support('x', 'help')",),
    "VehicleControlAPI.startEngine.1": ("lockDoors(unlock=True, door=['driver'])", "startEngine('START')"),
    "VehicleControlAPI.startEngine.2": (LOCK, "releaseBrakePedal()", "startEngine('START')"),
    "VehicleControlAPI.startEngine.3": (LOCK, "pressBrakePedal(0.5)", "startEngine('START')"),
    "VehicleControlAPI.startEngine.5": (LOCK, "pressBrakePedal(1)", "startEngine('STOP')"),
    "VehicleControlAPI.fillFuelTank.1": ("fillFuelTank(-1)",),
    "VehicleControlAPI.fillFuelTank.2": ("fillFuelTank(100)",),
    "VehicleControlAPI.adjustClimateControl.1": ("adjustClimateControl(20, fanSpeed=101)",),
    "VehicleControlAPI.get_outside_temperature_from_weather_com.1": ("get_outside_temperature_from_weather_com()",),
    "VehicleControlAPI.setHeadlights.1": ("setHeadlights('dim')",),
    "VehicleControlAPI.displayCarStatus.1": ("displayCarStatus('x')",),
    "VehicleControlAPI.activateParkingBrake.1": ("activateParkingBrake('x')",),
    "VehicleControlAPI.pressBrakePedal.1": ("pressBrakePedal(2)",),
    "VehicleControlAPI.setCruiseControl.1": ("startEngine('STOP')", "setCruiseControl(50, True, 10)"),
    "VehicleControlAPI.setCruiseControl.2": (
        LOCK, "pressBrakePedal(1)", "startEngine('START')", "setCruiseControl(7, True, 10)"),
    "VehicleControlAPI.estimate_drive_feasibility_by_mileage.1": ("estimate_drive_feasibility_by_mileage(1000000)",),
    "VehicleControlAPI.estimate_distance.1": ("estimate_distance('1', '2')",),
    "VehicleControlAPI.get_zipcode_based_on_city.1": ("get_zipcode_based_on_city('Nowhere')",),
})  # fmt: skip
# What only one release has, or where the two differ in the number or in the way there.
ONE: Mapping[str, dict[str, tuple[str, ...]]] = MappingProxyType({
    "paper": {
        "GorillaFileSystem.cd.1": ("cd('..')",),
        "GorillaFileSystem.cd.3": ("cd('a/b')",),
        "TradingBot.make_transaction.1": ("trading_logout()", "make_transaction(12345, 'deposit', 1)"),
        "TradingBot.make_transaction.2": ("update_market_status('08:00 PM')", "make_transaction(12345, 'deposit', 1)"),
        "TradingBot.make_transaction.3": ("make_transaction(1, 'deposit', 1)",),
        "TradingBot.make_transaction.4": ("make_transaction(12345, 'deposit', 0)",),
        "TradingBot.make_transaction.5": ("make_transaction(12345, 'withdrawal', 10000000)",),
        "TradingBot.make_transaction.6": ("make_transaction(12345, 'gift', 1)",),
        "TradingBot.update_stock_price.1": ("update_stock_price('NONE', 1)",),
        "TradingBot.update_stock_price.2": ("update_stock_price('AAPL', 0)",),
        "TravelAPI.register_credit_card.2": (*EXPIRE, "register_credit_card('x', '1', '1/30', 'A', 1)"),
        "TravelAPI.get_credit_card_balance.1": (*EXPIRE, f"get_credit_card_balance('x', {CARD})"),
        "TravelAPI.book_flight.1": (*EXPIRE, _fly("paper")),
        "TravelAPI.book_flight.5": (_fly("paper", cost=100000),),
        "TravelAPI.book_flight.6": (_fly("paper"),),
        "TravelAPI.retrieve_invoice.1": (*EXPIRE, "retrieve_invoice('x')"),
        "TravelAPI.cancel_booking.1": (*EXPIRE, "cancel_booking('x', 'x')"),
        "TravelAPI.set_budget_limit.1": (*EXPIRE, "set_budget_limit('x', 1)"),
        "TravelAPI.purchase_insurance.1": (*EXPIRE, f"purchase_insurance('x', 't', 'x', 1, {CARD})"),
    },
    "current": {
        "GorillaFileSystem._navigate_to_directory.1": ("cd('x\"y')",),
        "GorillaFileSystem.cd.1": ("cd('a/b')",),
        "GorillaFileSystem.cd.2": ("cd('..')",),
        "GorillaFileSystem.echo.2": ("echo('text', 'new.txt')",),
        "GorillaFileSystem.find.1": ("find('nowhere')",),
        "TradingBot.place_order.4": ("place_order('Buy', 'AAPL', 10000000, 1)",),
        "TradingBot.withdraw_funds.1": ("trading_logout()", "withdraw_funds(1)"),
        "TradingBot.withdraw_funds.2": ("@multi_turn_base_100", "withdraw_funds(1)"),
        "TradingBot.withdraw_funds.3": ("withdraw_funds(0)",),
        "TradingBot.withdraw_funds.4": ("withdraw_funds(10000000)",),
        "TravelAPI.register_credit_card.2": ("?expired", "register_credit_card('x', '1', '1/30', 'A', 1)"),
        "TravelAPI.get_credit_card_balance.1": ("?expired", f"get_credit_card_balance('x', {CARD})"),
        "TravelAPI.book_flight.1": ("?expired", _fly("current")),
        "TravelAPI.book_flight.5": (_fly("current", route="'Rome', 'LAX'"),),
        "TravelAPI.book_flight.6": (_fly("current", route="'SFO', 'Rome'"),),
        "TravelAPI.book_flight.7": (_fly("current", date="11/11/2024"),),
        "TravelAPI.book_flight.8": (_fly("current", seat="window"),),
        "TravelAPI.book_flight.10": (_fly("current", route="'CDG', 'RMS'"),),
        "TravelAPI.book_flight.11": (_fly("current", route="'JFK', 'PEK'", date="2024-10-10", seat="first"),),
        "TravelAPI.book_flight.12": (_fly("current"),),
        "TravelAPI.retrieve_invoice.1": ("?expired", "retrieve_invoice('x')"),
        "TravelAPI.get_booking_history.1": ("?expired", "get_booking_history('x')"),
        "TravelAPI.get_booking_history.2": ("get_booking_history('x')",),
        "TravelAPI.cancel_booking.1": ("?expired", "cancel_booking('x', 'x')"),
        "TravelAPI.set_budget_limit.1": ("?expired", "set_budget_limit('x', 1)"),
        "TravelAPI.purchase_insurance.1": ("?expired", f"purchase_insurance('x', 't', 'x', 1, {CARD})"),
    },
})  # fmt: skip


def witnesses(release: str) -> dict[str, tuple[str, ...]]:
    """Site -> calls of which the last one ends there; the first may say where they start (see `start_of`)."""
    travel = {
        "TravelAPI.book_flight.2": (_fly(release, token="'x'"),),
        "TravelAPI.book_flight.3": (_fly(release, card="'x'"),),
        "TravelAPI.book_flight.4": ("?no balance", _fly(release)),
        "TravelAPI.purchase_insurance.5": (
            *_booked(release),
            f"purchase_insurance({TOKEN}, 't', 'BOOKING', 1, 'x')",
        ),
    }
    return {**BOTH, **ONE[release], **travel}


def start_of(release: str, class_name: str, how: str) -> Task:
    """The task that an entry's calls start from; `how`: the entry's first item."""
    task = find_task(how[1:] if how.startswith("@") else STARTS[class_name], release)
    if not how.startswith("?"):
        return task
    scenario = {**task.initial_config[class_name], **OVERRIDES[how[1:]]}
    return dataclasses.replace(task, id=f"{task.id}{how}", initial_config={class_name: scenario})


def calls_to(release: str, site: str) -> tuple[ApiState, str, Task]:
    """The state in which the entry's last call fails, that call, and the task."""
    calls = witnesses(release)[site]
    task = start_of(release, site.split(".")[0], calls[0])
    state, last = ApiState(task), ""
    for call in calls[1:] if calls[0][0] in "@?" else calls:
        if last:
            state.run([last])
        last = call
        if "BOOKING" in call:
            last = call.replace("BOOKING", list(state.attributes("TravelAPI")["booking_record"])[-1])
    return state, last, task
