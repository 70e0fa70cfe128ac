"""The records that are committed of a run: what its new records are held to.

`envtune tables` writes a run's records over results/<run>/records, so the files on the disk are no baseline for it.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envtune.errors import EnvtuneError
from envtune.gate.errors import Incomparable


@contextmanager
def committed_records(results: Path) -> Iterator[tuple[Path, str]]:
    """The records below `results` (results/<run>) at git's HEAD, as (a temporary folder, what git calls it:
    <commit>:<path>). In what is raised within, the folder has that name too.

    Raises Incomparable where there are none.
    """
    where = next(folder for folder in (results, *results.parents) if folder.is_dir())
    top = _git(where, "rev-parse", "--show-toplevel")
    commit = _git(where, "rev-parse", "HEAD")
    if top is None or commit is None:
        raise Incomparable(
            f"{results} is in no git repository with a commit, whose records a run is held to; name others with --baseline"
        )
    path = (results / "records").resolve().relative_to(Path(top.decode().strip()).resolve())
    name = f"{commit.decode().strip()[:12]}:{path.as_posix()}"
    packed = _git(Path(top.decode().strip()), "archive", "--format=tar", "HEAD", "--", str(path))
    if packed is None:
        raise Incomparable(f"{name}: no records of this run are committed; commit some, or name others with --baseline")
    with tempfile.TemporaryDirectory(prefix="envtune-baseline-") as folder:
        place = Path(folder).resolve()
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for member in archive:
                if member.isfile() and (stream := archive.extractfile(member)) is not None:
                    file = place / Path(member.name).relative_to(path)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(stream.read())
        try:
            yield place, name
        except EnvtuneError as error:
            raise Incomparable(str(error).replace(str(place), name)) from error


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Its output; None where it fails, or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
