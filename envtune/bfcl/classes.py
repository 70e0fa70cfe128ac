"""Loading a release's API classes (GorillaFileSystem, TravelAPI, ...) from the unpacked wheel.

Both releases share one package name and import their long-context padding by its absolute name, so each is loaded
under a private module name of its own, with that one import redirected while it loads. Padding that upstream writes
to in place is shared by all instances of a process; here each call gets a copy of its own.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from envtune.bfcl.releases import get_release

_SOURCE = Path("eval_checker/multi_turn_eval/func_source_code")
_LONG_CONTEXT = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code.long_context"
_LOADING = threading.Lock()
# The one padding that tools write to: in long context the weather's temperature is set in it, and all of it returned.
_WRITTEN_PADDING = "LONG_WEATHER_EXTENSION"

# class -> the file that holds it; the file of its tool docs has the same stem
CLASS_FILES: Mapping[str, str] = MappingProxyType(
    {
        "GorillaFileSystem": "gorilla_file_system",
        "MathAPI": "math_api",
        "MessageAPI": "message_api",
        "TwitterAPI": "posting_api",
        "TicketAPI": "ticket_api",
        "TradingBot": "trading_bot",
        "TravelAPI": "travel_booking",
        "VehicleControlAPI": "vehicle_control",
    }
)
# Upstream does not give this class its scenario: it has no state.
STATELESS = frozenset({"MathAPI"})


@dataclass(frozen=True)
class ApiClasses:
    """The eight API classes of one release.

    classes: name -> class; methods: class name -> names of its public methods (the tools).
    """

    release: str
    classes: Mapping[str, type]
    methods: Mapping[str, frozenset[str]]

    def new(self, class_name: str, scenario: dict[str, Any], long_context: bool) -> Any:
        """A fresh instance in its initial state. `scenario` is taken over: the caller passes a copy."""
        instance = self.classes[class_name]()
        if class_name not in STATELESS:
            instance._load_scenario(scenario, long_context=long_context)
        return instance


@functools.cache
def load_api_classes(release: str) -> ApiClasses:
    """The API classes of the release named `release` ("paper" or "current"), loaded once a process."""
    folder = get_release(release).folder() / _SOURCE
    prefix = f"_envtune_bfcl_{release}"
    with _LOADING:
        before = sys.modules.get(_LONG_CONTEXT)
        sys.modules[_LONG_CONTEXT] = _load(f"{prefix}_long_context", folder / "long_context.py")
        try:
            modules = {name: _load(f"{prefix}_{stem}", folder / f"{stem}.py") for name, stem in CLASS_FILES.items()}
        finally:
            if before is None:
                del sys.modules[_LONG_CONTEXT]
            else:
                sys.modules[_LONG_CONTEXT] = before
    classes = {name: getattr(module, name) for name, module in modules.items()}
    for cls in classes.values():
        _unshare_padding(cls)
    methods = {
        name: frozenset(m for m, _ in inspect.getmembers(cls, inspect.isfunction) if not m.startswith("_"))
        for name, cls in classes.items()
    }
    return ApiClasses(release, MappingProxyType(classes), MappingProxyType(methods))


def _unshare_padding(cls: type) -> None:
    """Let each call of a method that names the written padding see a copy of it, so that nothing of one episode shows
    in another, on one thread or on several."""
    for name, function in list(vars(cls).items()):
        if isinstance(function, FunctionType) and _WRITTEN_PADDING in function.__code__.co_names:
            setattr(cls, name, _with_own_padding(function))


def _with_own_padding(function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(*args: Any, **kwargs: Any) -> Any:
        scope = {**function.__globals__, _WRITTEN_PADDING: dict(function.__globals__[_WRITTEN_PADDING])}
        return FunctionType(function.__code__, scope, function.__name__, function.__defaults__)(*args, **kwargs)

    return method


def _load(name: str, path: Path) -> ModuleType:
    """Import the file as the module `name`; registered, so that copying and pickling find its classes."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
