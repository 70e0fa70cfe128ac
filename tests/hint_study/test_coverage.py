"""Every place where a tool can fail has a hint of `full`; `authors` has those of the authors' release and no others."""

from __future__ import annotations

from collections import Counter

from envtune.bfcl.failure_sites import SiteKind
from envtune.hint_study import coverage

# what the authors' release changed: tool -> places of failure, by a count by hand (24 of 176, 13.6 %)
AUTHORS = {
    "cd": 2, "mkdir": 2, "touch": 2, "echo": 1, "wc": 1, "sort": 1, "grep": 1, "tail": 1, "diff": 1, "mv": 4, "rm": 1,
    "rmdir": 1, "cp": 2, "get_flight_cost": 1, "compute_exchange_rate": 1,
    "get_outside_temperature_from_weather_com": 1, "estimate_distance": 1,
}  # fmt: skip


def test_full_covers_every_place_that_a_call_can_end_at(release: str) -> None:
    rows = coverage(release)
    assert [row.site.id for row in rows if not row.unreachable and not row.covered("full")] == []
    assert sum(bool(row.unreachable) for row in rows) < 12
    general = Counter(row.given["full"].id for row in rows if row.covered("full"))
    assert not {id for id in general if id in ("call.any", "call.value")}


def test_authors_covers_what_the_authors_release_changed(release: str) -> None:
    rows = [row for row in coverage(release) if row.site.kind is not SiteKind.OTHER]
    covered = Counter(row.site.method for row in rows if row.covered("authors"))
    if release == "paper":
        assert covered == AUTHORS and len(rows) == 176
        assert f"{100 * covered.total() / len(rows):.1f}" == "13.6"
    else:  # the release after theirs says cd's error in a helper
        assert covered - Counter(AUTHORS) == {"_navigate_to_directory": 1} and len(rows) == 183


def test_a_list_of_hints_covers_what_it_names() -> None:
    rows = coverage("paper", ["ticket.closed,ticket.fields", "none"])
    assert {row.site.id for row in rows if row.covered("ticket.closed,ticket.fields")} == {
        "TicketAPI.close_ticket.2", "TicketAPI.edit_ticket.2",
    }  # fmt: skip
    assert not any(row.covered("none") for row in rows)
