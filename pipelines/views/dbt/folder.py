"""A folder with files of this program and of others: writes and removes its own, and touches no other."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sources.insightly.errors import BadSetting

OPTION = "--dbt"
MODELS = "models"
NOTE = "Written by insightly marts --dbt, which replaces it; put changes in a file of your own. sha256"
MARK = re.compile(rb"\W*" + re.escape(NOTE.encode()) + rb" (\w+)")
COMMENTS = {".sql": "-- {}", ".md": "<!-- {} -->"}


@dataclass
class Written:
    """The files that were written, because they are new or differ; those that were removed; how many stayed."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0


def write(folder: Path, files: Mapping[str, str]) -> Written:
    """Makes the files of this program in a folder those of `files`: path -> text.

    The first line of each says who wrote it, with a digest of the rest. A file without this line is of another author,
    and one with another digest was changed by hand: neither is ever replaced or removed.

    Raises:
        BadSetting: such a file is in the way, or the folder cannot be written.
    """
    try:
        return _write(folder, {name: _marked(name, text) for name, text in files.items()})
    except OSError as error:
        fix = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise BadSetting(OPTION, str(folder), fix) from None


def _write(folder: Path, files: Mapping[str, bytes]) -> Written:
    if folder.exists() and not folder.is_dir():
        raise BadSetting(OPTION, str(folder), "is a file: name a folder")
    existing = {name: (folder / name).read_bytes() for name in files if os.path.lexists(folder / name)}
    gone = {name: content for name, content in _generated(folder) if name not in files}
    for name, content in {**existing, **gone}.items():
        if (mark := MARK.match(content)) is None:
            fix = f"{name} was not written by insightly: name another folder, such as {folder / 'insightly'}"
            raise BadSetting(OPTION, str(folder), fix)
        if mark[1].decode() != _digest(content.partition(b"\n")[2]):
            fix = f"{name} was changed since it was written: keep the change in a file of your own, and delete this one"
            raise BadSetting(OPTION, str(folder), fix)
    result = Written(removed=sorted(gone))
    for name, content in files.items():
        if existing.get(name) == content:
            result.unchanged += 1
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(content)
        temporary.replace(path)
        result.written.append(name)
    for name in gone:
        (folder / name).unlink()
    return result


def _generated(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The models that carry the line, whether or not they are still written."""
    for path in sorted((folder / MODELS).rglob("*")):
        if path.suffix in (".sql", ".yml") and path.is_file() and MARK.match(content := path.read_bytes()):
            yield path.relative_to(folder).as_posix(), content


def _marked(name: str, text: str) -> bytes:
    comment = COMMENTS.get(Path(name).suffix, "# {}").format(f"{NOTE} {_digest(text.encode())}")
    return f"{comment}\n{text}".encode()


def _digest(content: bytes) -> str:
    """The digest of a text; it stays the same if git converts the ends of lines."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:16]
