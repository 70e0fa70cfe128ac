"""A profile's section `evaluation`, checked before anything is started: each setting's kind, and what it may be.

evaluation:
  temperature: 0.0        # top_p, max_tokens, seed: of decoding
  max_model_len: 8192     # of the server; server: more of its options; start_s: how long it may take to start
  concurrency: 8          # items at once; request_timeout_s: of one request
  format: kit             # or fc
  repeats: 1              # runs of a suite, each with a seed of its own from `seed` on
  suites: {bfcl-v3: {}}   # see `envtune.evaluation.suites.read_choices`
  user: self              # or {base_url, model, decoding}: the model that plays users
  baselines: []           # hub ids, or folders
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import slug
from envtune.evaluation.reply_formats import FORMATS


def is_whole(value: Any, least: int = 0) -> bool:
    """Whether a value is a whole number from `least` up."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any, least: float = 0.0) -> bool:
    """Whether a value is a finite number from `least` up."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= least


def _is_user(value: Any) -> bool:
    if value is None or value == "self":
        return True
    if not isinstance(value, Mapping) or not {"base_url", "model"} <= set(value) <= {"base_url", "model", "decoding"}:
        return False
    named = isinstance(value["base_url"], str) and isinstance(value["model"], str)
    return named and isinstance(value.get("decoding", {}), Mapping)


def _are_baselines(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(model, str) and model.strip() for model in value):
        return False
    return len({slug(model) for model in value}) == len(value)


_POSITIVE = ("a whole number from 1 up", lambda value: is_whole(value, 1))
_SECONDS = ("a number of seconds above 0", lambda value: is_number(value) and value > 0)
# Of these nothing (null) is said as well as leaving them out.
_MAY_BE_NOTHING = frozenset({"max_model_len", "server", "suites", "user", "baselines"})
# setting -> what it has to be, and whether a value is that
_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "temperature": ("a number from 0 up", is_number),
        "top_p": ("a number above 0, at most 1", lambda value: is_number(value) and 0 < value <= 1),
        "max_tokens": _POSITIVE,
        "seed": ("a whole number from 0 up", is_whole),
        "concurrency": _POSITIVE,
        "max_model_len": _POSITIVE,
        "request_timeout_s": _SECONDS,
        "server": ("options of `vllm serve`, name: value", lambda value: isinstance(value, Mapping)),
        "start_s": _SECONDS,
        "suites": ("suites by name, each with its settings", lambda value: isinstance(value, Mapping)),
        "format": (" or ".join(FORMATS), lambda value: value in FORMATS),
        "repeats": _POSITIVE,
        "user": ("self, or {base_url, model, decoding}", _is_user),
        "baselines": ("a list of hub ids or folders whose names differ", _are_baselines),
    }
)


def check_settings(evaluation: Mapping[str, Any], where: str) -> None:
    """Raise EnvtuneError, beginning with `where`, on a setting that there is not or a value that it cannot have."""
    for name, value in evaluation.items():
        if name not in _KINDS:
            raise EnvtuneError(f"{where}: unknown evaluation setting {name!r}; there are: {', '.join(_KINDS)}")
        kind, is_one = _KINDS[name]
        if not (value is None and name in _MAY_BE_NOTHING) and not is_one(value):
            raise EnvtuneError(f"{where}: evaluation.{name} is {kind}, not {value!r}")
