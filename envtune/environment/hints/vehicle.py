"""Hints of VehicleControlAPI: what has to be done before the engine starts, and the values that each control takes."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.arguments import one_of, typed
from envtune.environment.hints.hint import Domain, HintKind, NextCall, Of, Said, Situation, Values, example, hint

_CLASS = "VehicleControlAPI"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
DOORS = ("driver", "passenger", "rear_left", "rear_right")
OPTIONS = ("fuel", "battery", "doors", "climate", "headlights", "parkingBrake", "brakePedal", "engine")
# The cities that get_zipcode_based_on_city knows; a test holds them to the API.
CITIES = (
    "Rivermist", "Stonebrook", "Maplecrest", "Silverpine", "Shadowridge", "Sunset Valley", "Oakendale", "Willowbend",
    "Crescent Hollow", "Autumnville", "San Francisco",
)  # fmt: skip
_BRAKE = NextCall("pressBrakePedal", "Press it fully with {call}.", {"pedalPosition": 1})
_FUEL = NextCall("displayCarStatus", "{call} shows how much there is.", {"option": "fuel"})


def _locked() -> dict[str, str]:
    return dict.fromkeys(DOORS, "locked")


def _stopping(s: Situation) -> Values | None:
    return {} if s.argument("ignitionMode") == "STOP" else None


def _open_doors(s: Situation) -> Values | None:
    status: Any = s.api(_CLASS).get("doorStatus")
    doors = [door for door, state in status.items() if state == "unlocked"] if isinstance(status, dict) else []
    return {"doors": doors} if doors else None


def _brake_free(s: Situation) -> Values | None:
    vehicle = s.api(_CLASS)
    pressed = vehicle.get("brakePedalStatus") == "pressed" and vehicle.get("_brakePedalForce") == 1000.0
    return None if pressed else {}


def _can_start(s: Situation) -> Values | None:
    return {} if _open_doors(s) is None and _brake_free(s) is None else None


def _too_far(s: Situation) -> Values | None:
    distance = s.argument("distance")
    return {} if isinstance(distance, (int, float)) and distance > 1000 else None  # 50 gallons, 20 miles a gallon


def _room(s: Situation) -> Values | None:
    level = s.api(_CLASS).get("fuelLevel")
    return {"room": max(0.0, 50.0 - level)} if isinstance(level, (int, float)) else {"room": 0.0}


def _speed(s: Situation) -> Values | None:
    speed = s.argument("speed")
    near = 5 * round(min(max(speed, 0), 120) / 5) if isinstance(speed, (int, float)) and speed == speed else 60
    return {"near": float(near)}


def _doors(s: Situation) -> Values | None:
    doors = s.argument("door")
    listed = list(doors) if isinstance(doors, (list, tuple)) else [doors]
    if isinstance(doors, (list, tuple)) and all(door in DOORS for door in doors):
        return None
    legal = [door for door in listed if door in DOORS]
    return {"changed": {"door": legal} if legal else None}


def _city(s: Situation) -> Values | None:
    """A city that is known where a zip code is needed."""
    for name in ("cityA", "cityB"):
        value = s.argument(name)
        if isinstance(value, str) and (city := _known(value)) is not None:
            return {"parameter": Said(name), "city": city}
    return None


def _no_code(s: Situation) -> Values | None:
    for name in ("cityA", "cityB"):
        value = s.argument(name)
        if not (isinstance(value, str) and re.fullmatch(r"\d{5}", value)):
            return {"parameter": Said(name)}
    return None


def _known(text: str) -> str | None:
    words = re.sub(r"[\W_]+", " ", text[:100]).lower()
    return next((city for city in CITIES if re.search(rf"\b{city.lower()}\b", words)), None)


def _spelling(s: Situation) -> Values | None:
    value = s.argument("city")
    city = _known(value) if isinstance(value, str) else None
    return None if city is None else {"known": city}


VEHICLE = Domain(
    "vehicle",
    _CLASS,
    (
        hint("vehicle.engine.stopped", _CONSTRAINT, "startEngine", r'"error"',
             "The engine is off all the same: STOP is done first, and the result is about starting.", _stopping,
             next=NextCall("displayCarStatus", "{call} shows it.", {"option": "engine"}),
             examples=(example("startEngine(ignitionMode='STOP')"),
                       example("startEngine(ignitionMode='STOP')", doorStatus=_locked(),
                               brakePedalStatus="pressed", brakePedalForce=1000.0))),
        hint("vehicle.engine.doors", _DEPENDENCY, "startEngine", r"All doors must be locked",
             "All doors must be locked first.", _open_doors,
             next=NextCall("lockDoors", "Lock the open ones with {call}.", {"unlock": False, "door": Of("doors")}),
             examples=example("startEngine(ignitionMode='START')")),
        hint("vehicle.engine.doors.all", _DEPENDENCY, "startEngine", r"All doors must be locked",
             "All four doors must be locked first.",
             next=NextCall("displayCarStatus", "{call} shows which are not.", {"option": "doors"}),
             examples=example("startEngine(ignitionMode='START')", doorStatus={"driver": "locked"})),
        hint("vehicle.engine.brake", _DEPENDENCY, "startEngine", r"Brake pedal needs|press the brake fully",
             "The brake pedal must be pressed fully while the engine is started.", next=_BRAKE,
             examples=(example("lockDoors(unlock=False, door=['driver', 'passenger', 'rear_left', 'rear_right'])",
                               "startEngine(ignitionMode='START')"),
                       example("lockDoors(unlock=False, door=['driver', 'passenger', 'rear_left', 'rear_right'])",
                               "pressBrakePedal(pedalPosition=0.5)", "startEngine(ignitionMode='START')"))),
        hint("vehicle.engine.fuel", _DEPENDENCY, "startEngine", r"Fuel tank is empty", "There is no fuel in the tank.",
             next=NextCall("fillFuelTank", "Fill it with {call} first."),
             examples=example("startEngine(ignitionMode='START')", doorStatus=_locked(),
                              brakePedalStatus="pressed", brakePedalForce=1000.0, fuelLevel=-1.0)),
        hint("vehicle.engine.mode", _CONSTRAINT, "startEngine", r"Invalid ignition mode",
             "ignitionMode is START or STOP, in capitals.", one_of("ignitionMode", ("START", "STOP")), retry=Of("changed"),
             examples=example("startEngine(ignitionMode='start')", doorStatus=_locked(),
                              brakePedalStatus="pressed", brakePedalForce=1000.0)),
        hint("vehicle.fuel.negative", _CONSTRAINT, "fillFuelTank", r"cannot be negative",
             "fuelAmount is what is to be put in, in gallons: 0 or more.", retry={"fuelAmount": 0.0},
             examples=example("fillFuelTank(fuelAmount=-1.0)")),
        hint("vehicle.fuel.capacity", _CONSTRAINT, "fillFuelTank", r"above the tank capacity",
             "The tank holds 50 gallons, what is in it included.", _room, next=_FUEL, retry={"fuelAmount": Of("room")},
             examples=example("fillFuelTank(fuelAmount=49.0)")),
        hint("vehicle.fuel.level", _CONSTRAINT, "fillFuelTank", r"Min fuel level",
             "That would leave less than nothing in the tank. Put in more.", retry={"fuelAmount": 10.0},
             examples=example("fillFuelTank(fuelAmount=1.0)", fuelLevel=-5.0)),
        hint("vehicle.drive.far", _CONSTRAINT, "estimate_drive_feasibility_by_mileage", '"canDrive": false',
             "Even a full tank of 50 gallons is not enough for this distance.", _too_far, silent=True,
             examples=example("estimate_drive_feasibility_by_mileage(distance=9999.0)")),
        hint("vehicle.drive", _DEPENDENCY, "estimate_drive_feasibility_by_mileage", r'"canDrive": false',
             "The fuel in the tank is not enough for this distance.",
             next=(NextCall("fillFuelTank", "Where the user wants to go there, fill up with {call}."), _FUEL), silent=True,
             examples=example("estimate_drive_feasibility_by_mileage(distance=500.0)")),
        hint("vehicle.doors", _CONSTRAINT, "lockDoors", r"^Error during execution: ['\"]",
             "door is a list of any of: driver, passenger, rear_left, rear_right.", _doors, retry=Of("changed"),
             examples=(example("lockDoors(unlock=False, door=['front'])"), example("lockDoors(unlock=True, door='driver')"))),
        hint("vehicle.doors.car", _CONSTRAINT, "lockDoors", r"^Error during execution: ['\"]",
             "This car does not have all of these doors.",
             next=NextCall("displayCarStatus", "{call} shows the ones that it has.", {"option": "doors"}),
             examples=example("lockDoors(unlock=False, door=['rear_left'])", doorStatus={"driver": "locked"})),
        hint("vehicle.fan", _CONSTRAINT, "adjustClimateControl", r"Fan speed must be",
             "fanSpeed is a number from 0 to 100.", retry={"fanSpeed": 50},
             examples=example("adjustClimateControl(temperature=20.0, fanSpeed=101)")),
        hint("vehicle.weather", _DEPENDENCY, "get_outside_temperature_from_weather_com", r"404",
             "This service never answers.",
             next=NextCall("get_outside_temperature_from_google", "Call {call} instead.", {}), authors=(47,),
             examples=example("get_outside_temperature_from_weather_com()")),
        hint("vehicle.headlights", _CONSTRAINT, "setHeadlights", r"Invalid headlight mode", "mode is on, off or auto.",
             one_of("mode", ("on", "off", "auto")), retry=Of("changed"),
             examples=example("setHeadlights(mode='high')")),
        hint("vehicle.status.option", _CONSTRAINT, "displayCarStatus", r"Invalid option",
             "option is one of: " + ", ".join(OPTIONS) + ".", one_of("option", OPTIONS, "fuel"), retry=Of("changed"),
             examples=(example("displayCarStatus(option='brakePadle')"), example("displayCarStatus(option='tires')"))),
        hint("vehicle.parking_brake", _CONSTRAINT, "activateParkingBrake", r"Invalid mode", "mode is engage or release.",
             one_of("mode", ("engage", "release")), retry=Of("changed"),
             examples=example("activateParkingBrake(mode='engaged')")),
        hint("vehicle.pedal", _CONSTRAINT, "pressBrakePedal", r"Pedal position must be",
             "pedalPosition is a share from 0 (not pressed) to 1 (fully pressed).", retry={"pedalPosition": 1},
             examples=example("pressBrakePedal(pedalPosition=100)")),
        hint("vehicle.cruise.off", _CONSTRAINT, "setCruiseControl", "Start the engine",
             "The engine is off, and so is the cruise control: there is nothing to switch off.",
             lambda s: {} if s.argument("activate") is False else None,
             examples=example("setCruiseControl(speed=0, activate=False, distanceToNextVehicle=100)")),
        hint("vehicle.cruise.doors", _DEPENDENCY, "setCruiseControl", r"Start the engine",
             "The engine must be running first, and before that all doors must be locked.", _open_doors,
             next=NextCall("lockDoors", "Lock the open ones with {call}.", {"unlock": False, "door": Of("doors")}),
             examples=example("setCruiseControl(speed=60, activate=True, distanceToNextVehicle=100)")),
        hint("vehicle.cruise.brake", _DEPENDENCY, "setCruiseControl", r"Start the engine",
             "The engine must be running first, and before that the brake pedal must be pressed.", _brake_free, next=_BRAKE,
             examples=example("setCruiseControl(speed=60, activate=True, distanceToNextVehicle=100)", doorStatus=_locked())),
        hint("vehicle.cruise.engine", _DEPENDENCY, "setCruiseControl", r"Start the engine",
             "The engine must be running first.", _can_start,
             next=NextCall("startEngine", "Start it with {call}.", {"ignitionMode": "START"}),
             examples=example("setCruiseControl(speed=60, activate=True, distanceToNextVehicle=100)", doorStatus=_locked(),
                              brakePedalStatus="pressed", brakePedalForce=1000.0)),
        hint("vehicle.cruise.speed", _CONSTRAINT, "setCruiseControl", r"Invalid speed",
             "speed is from 0 to 120, and a multiple of 5.", _speed, retry={"speed": Of("near")},
             examples=example("setCruiseControl(speed=63, activate=True, distanceToNextVehicle=100)",
                              engineState="running")),
        typed("vehicle.distance.type", "estimate_distance", "distance not found", "cityA cityB",
              example("estimate_distance(cityA=83214, cityB=74532)")),
        hint("vehicle.distance.city", _DEPENDENCY, "estimate_distance", r"distance not found",
             "{parameter} is a zip code, not the name of a city.", _city,
             next=NextCall("get_zipcode_based_on_city", "Get it with {call}.", {"city": Of("city")}), authors=(48,),
             examples=example("estimate_distance(cityA='Rivermist', cityB='74532')")),
        hint("vehicle.distance.code", _CONSTRAINT, "estimate_distance", "distance not found",
             "{parameter} is a zip code of five digits.", _no_code,
             next=NextCall("get_zipcode_based_on_city", "{call} gives those of the cities that are known."), authors=(48,),
             examples=example("estimate_distance(cityA='Berlin', cityB='74532')")),
        hint("vehicle.distance.pair", _DEPENDENCY, "estimate_distance", r"distance not found",
             "No distance is known between these two zip codes. Check that they are those of the two cities.",
             next=NextCall("get_zipcode_based_on_city", "{call} gives the zip code of a city."), authors=(48,),
             examples=example("estimate_distance(cityA='83214', cityB='11111')")),
        hint("vehicle.city.spelling", _CONSTRAINT, "get_zipcode_based_on_city", r'"00000"',
             "Give the name of the city alone: {known}.", _spelling, retry={"city": Of("known")}, silent=True,
             examples=example("get_zipcode_based_on_city(city='San Francisco, CA')")),
        hint("vehicle.city.unknown", _CONSTRAINT, "get_zipcode_based_on_city", r'"00000"',
             "No zip code is known for {city}: 00000 is no place.", silent=True,
             examples=example("get_zipcode_based_on_city(city='Berlin')")),
    ),
    MappingProxyType(
        {"fuelLevel": 5.0, "engineState": "stopped", "doorStatus": dict.fromkeys(DOORS, "unlocked"),
         "brakePedalStatus": "released", "brakePedalForce": 0.0}
    ),
)  # fmt: skip
