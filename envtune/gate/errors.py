"""What the gate refuses."""

from __future__ import annotations

from envtune.errors import EnvtuneError


class Incomparable(EnvtuneError):
    """The inputs cannot be compared, or cannot be trusted. The message names the file and says what to do."""
