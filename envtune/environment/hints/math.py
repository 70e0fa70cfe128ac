"""Hints of MathAPI: it keeps no state, so all of them are about values."""

from __future__ import annotations

from envtune.environment.hints.arguments import retyped
from envtune.environment.hints.hint import Domain, HintKind, Of, Situation, Values, example, hint

_CONSTRAINT = HintKind.CONSTRAINT
_TOOLS = (
    "logarithm mean standard_deviation si_unit_conversion imperial_si_conversion add subtract multiply divide power "
    "square_root absolute_value round_number percentage min_value max_value sum_values"
)
_LISTS = "mean standard_deviation min_value max_value sum_values"
_UNITS = "km, m, cm, mm, um or nm"
_PAIRS = "cm and in, m and ft, m and yd, km and miles, kg and lb, celsius and fahrenheit"
_TOO_LARGE = r"too large|out of range|Exceeds the limit|[Oo]verflow|cannot fit|int too (large|big)|not convertible"


def _negative(s: Situation) -> Values | None:
    number = s.argument("number")
    return {"positive": abs(number)} if isinstance(number, (int, float)) else {"positive": 1}


def _logarithm(s: Situation) -> Values | None:
    """Numbers that have no logarithm; where another argument is no number at all, that is said first."""
    numbers = [s.argument("value"), s.argument("base")]
    outside = any(isinstance(number, (int, float)) and number <= 0 for number in numbers) or numbers[1] == 1
    return {} if outside or retyped(s) is None else None


MATH = Domain(
    "math",
    "MathAPI",
    (
        hint("math.types", _CONSTRAINT, _TOOLS, r"must be (a )?numbers?|must be an integer|Input must be a number",
             "{wrong}.", retyped, retry=Of("changed"),
             examples=(example("multiply(a='2', b=3)"), example("mean(numbers=['1', '2'])"),
                       example("round_number(number=1.5, decimal_places='1')"))),
        hint("math.list.empty", _CONSTRAINT, _LISTS, r"empty list", "numbers needs at least one number.",
             retry={"numbers": [1]}, examples=(example("mean(numbers=[])"), example("sum_values(numbers=[])"))),
        hint("math.divisor", _CONSTRAINT, "divide", r"divide by zero", "b, the divisor, must not be 0.", retry={"b": 1},
             examples=example("divide(a=1, b=0)")),
        hint("math.whole", _CONSTRAINT, "percentage", r"cannot be zero", "whole must not be 0.", retry={"whole": 1},
             examples=example("percentage(part=1, whole=0)")),
        hint("math.root.negative", _CONSTRAINT, "square_root", r"negative number", "number must be 0 or more.", _negative,
             retry={"number": Of("positive")}, examples=example("square_root(number=-4, precision=3)")),
        hint("math.root.precision", _CONSTRAINT, "square_root", r"valid range for prec|invalid operation|prec",
             "number must be 0 or more and finite, and precision a whole number from 1 to 1000.",
             retry={"number": 1, "precision": 3},
             examples=(example("square_root(number=4, precision=0)"), example("square_root(number=4, precision=-1)"))),
        hint("math.units.si", _CONSTRAINT, "si_unit_conversion", r"is not supported",
             "unit_in and unit_out are lengths, as symbols: " + _UNITS + ".", retry={"unit_in": "km", "unit_out": "m"},
             examples=example("si_unit_conversion(value=1, unit_in='kilometers', unit_out='m')")),
        hint("math.units.imperial", _CONSTRAINT, "imperial_si_conversion", r"is not supported",
             "The pairs of units, each way: " + _PAIRS + ".", retry={"unit_in": "km", "unit_out": "miles"},
             examples=example("imperial_si_conversion(value=1, unit_in='miles', unit_out='m')")),
        hint("math.log", _CONSTRAINT, "logarithm", '{"error"',
             "value and base must be greater than 0, base not 1, and precision a whole number from 1 to 1000.",
             _logarithm, retry={"value": 8, "base": 2, "precision": 5},
             examples=(example("logarithm(value=8, base=1, precision=5)"),)),
        hint("math.zero.power", _CONSTRAINT, "power", r"negative power|zero", "0 has no negative exponents.",
             retry={"exponent": 1}, examples=example("power(base=0, exponent=-1)")),
        hint("math.size", _CONSTRAINT, _TOOLS, _TOO_LARGE,
             "The numbers are too large for this: the result could not be written. Use smaller ones.",
             examples=(example("power(base=10, exponent=100000)"), example("power(base=10.5, exponent=1000)"))),
    ),
)  # fmt: skip
