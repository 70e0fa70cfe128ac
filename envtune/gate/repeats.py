"""What the gate refuses, and what it reads by `envtune.evaluation.repeat`: a repeat, refused unless every part of it agrees
with every other, and all of its items were run.
"""

from __future__ import annotations

from envtune.errors import EnvtuneError
from envtune.evaluation.repeat import Repeat, Summary, read_object, read_repeat, read_summary

__all__ = ["Incomparable", "Repeat", "Summary", "read_object", "read_repeat", "read_summary"]


class Incomparable(EnvtuneError):
    """The inputs cannot be compared. The message names the file and says what to do."""
