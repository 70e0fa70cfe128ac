"""Files: written whole or not at all, read line by line with the line's number in every complaint."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from envtune.errors import EnvtuneError


def cache_dir() -> Path:
    """Folder for what is fetched once (wheels, unpacked releases): `ENVTUNE_CACHE`, or ~/.cache/envtune."""
    return Path(os.environ.get("ENVTUNE_CACHE") or Path.home() / ".cache" / "envtune")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and rename it over `path` when the block ends without an error.

    A reader never sees half a file, and an error leaves the old one as it was. `mode` is "w" (UTF-8) or "wb".
    A name ending in .gz is compressed, without a time stamp, so that equal content gives equal bytes. A link stays one:
    what it points to is written. Raises EnvtuneError where there can be no such file.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise EnvtuneError(f"{path}: is a folder; name a file to write")
    if path.exists() and not path.is_file():
        raise EnvtuneError(f"{path}: is no ordinary file; name one to write")
    temporary = path.parent / f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = open(temporary, "wb")  # noqa: SIM115 - closed below; only opening it may fail by its name
    except OSError as error:
        raise EnvtuneError(f"{path}: cannot be written ({error.strerror}); name another place") from error
    try:
        with opened as raw:
            with _encoded(raw, compressed=path.suffix == ".gz", text="b" not in mode) as stream:
                yield stream
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def refuse_overwriting(out: Path, sources: Iterable[Path]) -> None:
    """Raise EnvtuneError when `out` is one of the files that it is made from."""
    if out.exists() and any(source.exists() and out.samefile(source) for source in sources):
        raise EnvtuneError(f"{out}: is what is read; name another file with --out")


@contextlib.contextmanager
def _encoded(raw: IO[bytes], compressed: bool, text: bool) -> Iterator[IO[Any]]:
    """The stream to write to on top of the raw file; leaving the block flushes it and leaves `raw` open."""
    stream: Any = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if compressed else raw
    writer = io.TextIOWrapper(stream, encoding="utf-8") if text else None
    yield writer or stream
    if writer:
        writer.detach()  # flushes; closing it would close `raw` before its fsync
    if compressed:
        stream.close()


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, parsed value) for each non-blank line of a JSON Lines file (.gz or plain).

    Raises EnvtuneError, naming the line, where a line is not JSON or the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise EnvtuneError(f"{path}: is a folder; name a file in it")
    if not path.is_file():
        raise EnvtuneError(f"{path}: there is no such file; check the path")
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, _parse_line(path, number, line.strip())
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise EnvtuneError(f"{path}: cannot be read after line {number}: {error}") from error


def _parse_line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EnvtuneError(f"{path}, line {number}: not valid JSON ({error}); mend or remove that line") from error


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[Any]) -> None:
    """Write one JSON value a line, the whole file or nothing; compressed when the name ends in .gz."""
    with atomic_write(path) as stream:
        for row in rows:
            stream.write(json.dumps(row) + "\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write one JSON value, indented, the whole file or nothing."""
    with atomic_write(path) as stream:
        stream.write(json.dumps(value, indent=2) + "\n")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a value's canonical JSON (sorted keys, no spaces, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_weights(model: Path) -> str:
    """Hex SHA-256 over the names and hashes of a model folder's .safetensors files: what a checkpoint is known by.

    Raises EnvtuneError for a folder that holds no model.
    """
    files = sorted(model.glob("*.safetensors"))
    if not files or not (model / "config.json").is_file():
        raise EnvtuneError(f"{model} holds no model (config.json and .safetensors files); name another folder")
    lines = "".join(f"{path.name} {sha256_file(path)}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
