"""Files are written whole or not at all, and complaints name the line."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from envtune.errors import EnvtuneError
from envtune.files import atomic_write, read_jsonl, refuse_overwriting, sha256_file, write_jsonl


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_jsonl_round_trip(tmp_path: Path, name: str) -> None:
    rows = [{"a": 1}, ["é", "\ud800"], None]
    write_jsonl(tmp_path / "new" / name, rows)
    assert [row for _, row in read_jsonl(tmp_path / "new" / name)] == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_gzip_bytes_do_not_depend_on_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(tmp_path / "a.jsonl.gz", [1])
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_jsonl(tmp_path / "b.jsonl.gz", [1])
    assert sha256_file(tmp_path / "a.jsonl.gz") == sha256_file(tmp_path / "b.jsonl.gz")


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as stream:
        stream.write("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_complaints_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(EnvtuneError, match=r"bad\.jsonl, line 3: not valid JSON"):
        list(read_jsonl(path))


def test_a_cut_gzip_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:60])
    with pytest.raises(EnvtuneError, match="cannot be read"):
        list(read_jsonl(path))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(EnvtuneError, match="no such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(EnvtuneError, match="is a folder"), atomic_write(tmp_path):
        pass


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(EnvtuneError, match="no ordinary file"), atomic_write(pipe):
        pass
    assert pipe.is_fifo()
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvtuneError, match="cannot be written"), atomic_write(tmp_path / "file" / "below"):
        pass


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as stream:
        stream.write("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_an_input_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text("x")
    (tmp_path / "link").symlink_to(source)
    for out in (source, tmp_path / "link"):
        with pytest.raises(EnvtuneError, match="is what is read"):
            refuse_overwriting(out, [source])
    refuse_overwriting(tmp_path / "other", [source, tmp_path / "none"])
