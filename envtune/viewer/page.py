"""`envtune view`: stored trajectories as one HTML page that needs nothing else, no network and no server.

    envtune view TRAJECTORIES.jsonl [...] [--out PAGE.html]

The page is view.html with view.css, episode.js, list.js and the data put in. The data are JSON in a script element of a
type that is never run, with every "<", ">" and "&" escaped, so no text can end that element; the script writes text only
as text. A content security policy allows exactly this style and this script, and no request at all.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import envtune
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, refuse_overwriting
from envtune.stored import Stored, read_stored
from envtune.viewer.replay import episode_view
from envtune.viewer.text import visible

if TYPE_CHECKING:
    from envtune.evaluation.records import Record

MAX_CHARACTERS = 8000


def write_page(
    files: Sequence[Path], out: Path, release: str | None = None, limit: int | None = MAX_CHARACTERS
) -> dict[str, int]:
    """Write the page of all trajectories in `files`; gives the number of episodes of each outcome.

    release: BFCL release of lines that do not say it; limit: characters of one text that the page holds, None for all.
    Raises EnvtuneError, naming file and line, on what is no trajectory; nothing is written then.
    """
    refuse_overwriting(out, files)
    data = page_data(files, release, limit)
    if not data["episodes"]:
        raise EnvtuneError(f"{', '.join(map(str, files))}: no trajectory in there; nothing to show")
    text = render(data)
    with atomic_write(out) as stream:
        stream.write(text)
    return dict(Counter(episode["outcome"] for episode in data["episodes"]))


def default_page(file: Path) -> Path:
    """The page beside a file of trajectories: results.jsonl.gz -> results.html."""
    return file.with_name(file.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json") + ".html")


def page_data(files: Sequence[Path], release: str | None = None, limit: int | None = MAX_CHARACTERS) -> dict[str, Any]:
    """{"made", "version", "limit", "files": [provenance of each], "episodes": [see `episode_view`, and `_episode`]}."""
    described, episodes, seen = [], [], Counter[str]()
    for place, (path, label) in enumerate(zip(files, _labels(files), strict=True)):
        of_file = [_episode(stored, place, limit, seen) for stored in read_stored(path, release)]
        episodes += of_file
        described.append({"label": label, **_file(path, of_file)})
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"made": now, "version": envtune.__version__, "limit": limit, "files": described, "episodes": episodes}


def _episode(stored: Stored, place: int, limit: int | None, seen: Counter[str]) -> dict[str, Any]:
    """`episode_view`, and key: unique in the page, for links; file, line: where it is stored; kind: as in `Stored`;
    record: what evaluation's record adds."""
    view = episode_view(stored.task, stored.trajectory, limit, stored.calls)
    seen[view["id"]] += 1
    key = view["id"] if seen[view["id"]] == 1 else f"{view['id']}~{seen[view['id']]}"
    extra = len(stored.calls) - len(view["turns"])
    if extra > 0:
        view["notes"].append(f"The line has {extra} more turns than the task; they are not shown.")
    where = {"key": key, "file": place, "line": stored.line, "kind": stored.kind}
    return {**view, **where, "record": {}, **_reported(view, stored.record)}


def _reported(view: dict[str, Any], record: Record | None) -> dict[str, Any]:
    """What evaluation's record says in place of `view`: the verdict as it was reported, its notes, and its figures."""
    if record is None or record.passed is None:
        return {}
    notes = [visible(note) for note in record.notes]
    if record.passed != (view["error_type"] == ""):
        notes.append("The record's verdict is not the one that these calls get here.")
    outcome = "passed" if record.passed else "failed" if view["outcome"] == "passed" else view["outcome"]
    return {
        "outcome": outcome,
        "error_type": visible((record.error_type or "").removeprefix("multi_turn:")),
        "error_message": visible(record.error_message or ""),
        "notes": view["notes"] + notes,
        "record": {name: getattr(record, name) for name in ("tokens_in", "tokens_out", "seconds", "truncated")},
    }


def _labels(files: Sequence[Path]) -> list[str]:
    """Each path without the folder that all share, and without the name where that is the same everywhere."""
    common = os.path.commonpath([path.absolute().parent for path in files])
    paths = [path.absolute().relative_to(common) for path in files]
    same_name = len({path.name for path in paths}) == 1
    return [visible(str(path.parent if same_name and path.parent.name else path)) for path in paths]


def _file(path: Path, episodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where episodes came from: name, when it was written, and what each of them says of itself."""
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).isoformat(timespec="seconds")
    said = {name: sorted({episode[name] for episode in episodes}) for name in ("kind", "release", "rules", "feedback")}
    return {"name": visible(str(path)), "written": written, "episodes": len(episodes), **said, **_summary(path)}


def _summary(path: Path) -> dict[str, Any]:
    """Model, protocol and commit from the summary.json that evaluation writes beside its trajectories."""
    beside = path.with_name("summary.json")
    if not path.name.startswith("trajectories.jsonl") or not beside.is_file():
        return {}
    try:
        summary = json.loads(beside.read_text(encoding="utf-8"))
        found = {
            "model": summary["identity"]["model"],
            "protocol": summary["identity"]["protocol"]["name"],
            "commit": summary["provenance"]["commit"],
        }
    except (ValueError, KeyError, TypeError) as error:
        raise EnvtuneError(f"{beside}: not the summary of an evaluation ({error}); mend or remove it") from error
    return {name: visible(str(value)) for name, value in found.items() if value is not None}


def render(data: dict[str, Any]) -> str:
    """The page. `data` may hold any text."""
    folder = resources.files("envtune.viewer")
    names = ("view.html", "view.css", "episode.js", "list.js")
    page, style, *scripts = (folder.joinpath(name).read_text("utf-8") for name in names)
    script = "".join(scripts)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    embedded = json.dumps(data, separators=(",", ":"))  # ASCII
    for character in "<>&":
        embedded = embedded.replace(character, f"\\u{ord(character):04x}")
    # one pass: what was put in is never searched again
    before, rest = page.split("{{policy}}")
    between, rest = rest.split("{{style}}")
    after_style, rest = rest.split("{{data}}")
    after_data, end = rest.split("{{script}}")
    return "".join([before, policy, between, style, after_style, embedded, after_data, script, end])


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
