"""envtune: Environment Tuning (arXiv 2510.10197) as a reproducible kit on the verl RL engine.

Data flows one way: tasks -> episodes -> trajectories -> scores -> records -> tables.
Importing this package is light: no torch, no pandas, no verl.
"""

from typing import Any

__version__ = "0.1.0"

# `verifiers` finds an environment by a top-level module and what its __all__ names; it is loaded when it is asked for.
_FOR_VERIFIERS = ("BfclEnv", "BfclHarness", "BfclTaskset", "load_environment")
__all__ = ["__version__", *_FOR_VERIFIERS]


def __getattr__(name: str) -> Any:
    if name in _FOR_VERIFIERS:
        from envtune.adapters import verifiers_env

        return getattr(verifiers_env, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
