"""The episode as an environment of other trainers' libraries. No trainer is part of this: adapters only publish.

verifiers_env.py   for `verifiers` (Prime Intellect): vf-eval envtune; extra "verifiers"
openenv_server.py  an OpenEnv server (reset, step, state over WebSocket): envtune openenv-server; extra "openenv"

Each needs the library of its extra, and the extras exclude each other and "cpu" (they pin different releases of mcp
and openai), so each has an environment of its own. Importing this package imports neither library.
"""

from envtune.errors import EnvtuneError


def missing_extra(extra: str, error: ModuleNotFoundError) -> EnvtuneError:
    """What to raise when a library of `extra` cannot be imported: which one, and how to install it."""
    return EnvtuneError(f"{error.name} is not installed; in envtune's folder: pip install '.[{extra}]'")
