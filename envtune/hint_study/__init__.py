"""How good the hints are, measured: which failures have one, and what the model does after one.

witnesses.py  for every place where a tool can fail, calls that end there
coverage.py   which of these places each hint set covers
outcomes.py   in trajectories: how often each hint was given, and whether the next step then succeeded
"""

from envtune.hint_study.coverage import SiteCoverage, coverage
from envtune.hint_study.outcomes import HintOutcomes, Outcomes, hint_outcomes

__all__ = ["HintOutcomes", "Outcomes", "SiteCoverage", "coverage", "hint_outcomes"]
