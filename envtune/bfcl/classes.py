"""Loading a release's API classes (GorillaFileSystem, TravelAPI, ...) from the unpacked wheel.

Both releases share one package name and import their long-context padding by its absolute name, so each is loaded
under a private module name of its own, with that one import redirected while it loads. What upstream shares between
all instances of a process and writes to (a table of padding, default arguments, the precision of decimal and mpmath)
is each call's own here, so no episode sees another.
"""

from __future__ import annotations

import contextlib
import copy
import decimal
import functools
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from envtune.bfcl.releases import get_release

SOURCE = Path("eval_checker/multi_turn_eval/func_source_code")
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

    classes: name -> class; methods: class name -> its public methods (the tools) -> the names of their parameters.
    """

    release: str
    classes: Mapping[str, type]
    methods: Mapping[str, Mapping[str, tuple[str, ...]]]

    def new(self, class_name: str, scenario: dict[str, Any], long_context: bool) -> Any:
        """A fresh instance in its initial state. `scenario` is taken over: the caller passes a copy."""
        instance = self.classes[class_name]()
        if class_name not in STATELESS:
            instance._load_scenario(scenario, long_context=long_context)
        return instance


@functools.cache
def load_api_classes(release: str) -> ApiClasses:
    """The API classes of the release named `release` ("paper" or "current"), loaded once a process."""
    folder = get_release(release).folder() / SOURCE
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
        _unshare(cls)
    methods = {name: _methods(cls) for name, cls in classes.items()}
    return ApiClasses(release, MappingProxyType(classes), MappingProxyType(methods))


def _methods(cls: type) -> Mapping[str, tuple[str, ...]]:
    public = (item for item in inspect.getmembers(cls, inspect.isfunction) if not item[0].startswith("_"))
    return MappingProxyType({name: tuple(inspect.signature(function).parameters)[1:] for name, function in public})


@contextlib.contextmanager
def own_precision() -> Iterator[None]:
    """MathAPI sets the process's precision of decimal and mpmath; within this context it is changed for nobody else."""
    import mpmath  # takes a while to import, and is there already when MathAPI is

    with decimal.localcontext(), mpmath.workdps(mpmath.mp.dps):
        yield


def _unshare(cls: type) -> None:
    """Give each call of a method its own copy of the padding that it writes to, and of defaults that can be written."""
    for name, function in list(vars(cls).items()):
        if not isinstance(function, FunctionType):
            continue
        written = any(isinstance(default, (list, dict, set)) for default in function.__defaults__ or ())
        if written or _WRITTEN_PADDING in function.__code__.co_names:
            setattr(cls, name, _unshared(function))


def _unshared(function: FunctionType) -> Callable[..., Any]:
    padding = function.__globals__.get(_WRITTEN_PADDING)

    @functools.wraps(function)
    def method(*args: Any, **kwargs: Any) -> Any:
        scope = function.__globals__ if padding is None else {**function.__globals__, _WRITTEN_PADDING: dict(padding)}
        own = FunctionType(function.__code__, scope, function.__name__, copy.deepcopy(function.__defaults__))
        return own(*args, **kwargs)

    return method


def _load(name: str, path: Path) -> ModuleType:
    """Import the file as the module `name`; registered, so that copying and pickling find its classes."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
