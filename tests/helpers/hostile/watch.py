"""What a payload must not do, watched while it runs: audit events, and the state that the whole process shares."""

from __future__ import annotations

import decimal
import inspect
import os
import random
import signal
import sys
import threading
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import mpmath

# Python raises an audit event for whatever reaches out of the interpreter (open, os.*, subprocess.*, socket.*,
# ctypes.*, shutil.*, import of a module that is not loaded, ...) and for running code ("exec": exec, eval and import).
# All are forbidden but these, which the executor's own work raises:
_ALLOWED = frozenset(
    {
        "compile",  # ast.parse compiles to a tree; to run what was compiled is "exec"
        "builtins.id",  # copying a structure keeps account of what it has seen
        "marshal.dumps",  # results are keyed by their own bytes
        "marshal.loads",
        "object.__getattr__",  # bfcl/classes.py gives a method its own copy of a padding table: it reads __code__ and
        "function.__new__",  # __globals__ of BFCL's function and makes a function of the same code
    }
)


class Watch:
    """The process's audit hook. A hook cannot be removed, so this one records only while it is armed, and only what its
    own thread does."""

    def __init__(self) -> None:
        self._seen: list[str] | None = None
        self._thread = 0
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._seen is None or threading.get_ident() != self._thread or event in _ALLOWED:
            return
        if event == "pickle.find_class" and _is_own(*arguments):
            return
        if event == "sys._getframe" and arguments[0].f_code.co_filename == typing.__file__:
            return  # annotations of functions inside BFCL's functions
        self._seen.append(f"{event}{arguments!r}"[:300])

    @contextmanager
    def armed(self) -> Iterator[list[str]]:
        """The forbidden events in the block, as they come."""
        self._thread, self._seen = threading.get_ident(), []
        try:
            yield self._seen
        finally:
            self._seen = None


def _is_own(module: str, name: str) -> bool:
    """Fresh API objects are unpickled from bytes that this process wrote, of BFCL's classes and what they hold."""
    return module.startswith("_envtune_bfcl_") or (module, name) in {
        ("datetime", "datetime"),
        ("envtune.environment.executor", "_random"),
    }


def settings() -> dict[str, str]:
    """What all episodes of a process share outside the API modules, as text."""
    context = decimal.getcontext()
    return {
        "decimal": repr((context.prec, context.rounding, context.Emin, context.Emax, context.traps)),
        "mpmath": repr((mpmath.mp.dps, mpmath.mp.prec)),
        "random": repr(random.getstate()),
        "limits": repr((sys.getrecursionlimit(), sys.get_int_max_str_digits())),
        "environment": repr(dict(os.environ)),
        "folder": os.getcwd(),
        "threads": repr(threading.active_count()),
        "warnings": repr(warnings.filters),
        "interrupt": repr(signal.getsignal(signal.SIGINT)),
    }


def tables() -> dict[str, str]:
    """Tables, class attributes and defaults of the loaded API modules, as text (some megabytes)."""
    state: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("_envtune_bfcl_"):
            state |= _tables(name, module)
    return state


def _tables(name: str, module: ModuleType) -> dict[str, str]:
    found = {f"{name}.{key}": repr(value) for key, value in vars(module).items() if key.isupper()}
    for class_name, cls in inspect.getmembers(module, inspect.isclass):
        if cls.__module__ == module.__name__:
            attributes = {k: v for k, v in vars(cls).items() if not callable(v) and not k.startswith("__")}
            found[f"{name}.{class_name}"] = repr(attributes)
            for method_name, method in inspect.getmembers(cls, inspect.isfunction):
                found[f"{name}.{class_name}.{method_name}"] = repr(inspect.unwrap(method).__defaults__)
    return found
