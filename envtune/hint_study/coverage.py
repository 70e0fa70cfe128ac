"""Which failures a hint set covers: each place where a BFCL tool can fail is reached, and the set is asked for a hint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envtune.bfcl.failure_sites import UNREACHABLE, FailureSite, failure_sites
from envtune.environment.calls import tool_call
from envtune.environment.hints import Given, Situation, hint_set, offer_in
from envtune.hint_study.witnesses import calls_to

LAST_TURN = 99  # by then nothing is held out


@dataclass(frozen=True)
class SiteCoverage:
    """One place of failure. reachable: why no call ends there, "" when one does; given: hint set -> what it says there."""

    site: FailureSite
    unreachable: str
    given: Mapping[str, Given | None]

    def covered(self, name: str) -> bool:
        """Whether the set of that name has a hint here."""
        return self.given.get(name) is not None


def coverage(release: str, sets: Sequence[str] = ("authors", "full")) -> tuple[SiteCoverage, ...]:
    """Every place of failure of the release's API classes, in source order, with what each set says there."""
    rows = []
    for site in failure_sites(release):
        reason = UNREACHABLE[release].get(site.id, "")
        rows.append(SiteCoverage(site, reason, {} if reason else _given(release, site, sets)))
    return tuple(rows)


def _given(release: str, site: FailureSite, sets: Sequence[str]) -> dict[str, Given | None]:
    api, call, task = calls_to(release, site.id)
    offer = offer_in(task, LAST_TURN)
    json_call = tool_call(call, offer.parameters)
    state = api.snapshot(json_call.name)
    (result,) = api.run([call])
    situation = Situation(json_call, result.text, state, offer)
    return {name: hint_set(name).give(situation, result.error) for name in sets}
