"""Locks: one run at a time works on a dataset. A run waits for the other one, and names it if it does not end."""

import getpass
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from dlt.common.pipeline import get_dlt_pipelines_dir
from filelock import FileLock, Timeout

from sources.insightly.errors import BadSetting, InsightlyError

logger = logging.getLogger(__name__)
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.2


class Busy(InsightlyError):
    """Another run uses the destination."""

    transient = True


TryLock = Callable[[], str | None]
"""Tries to lock once; returns None if it did, else who holds the lock."""


def wait_for(
    try_lock: TryLock,
    locked: object,
    wait: float,
    who: str = "another run",
    fix: str = "let it finish, or run less often",
) -> None:
    """Tries to lock until it succeeds.

    Args:
        try_lock: tries once.
        locked: what is locked, for messages.
        wait: seconds to try.
        who: what may hold the lock.
        fix: what to do if it does not end.

    Raises:
        Busy: another run still has the lock after `wait` seconds.
    """
    until, holder = time.monotonic() + wait, try_lock()
    if holder is not None:
        logger.warning("%s (%s) is using %s; waiting up to %d s for it", who, holder, locked, wait)
    while holder is not None:
        left = until - time.monotonic()
        if left <= 0:
            raise Busy(f"{who} ({holder}) is still using {locked} after {wait:.0f} s; {fix}")
        time.sleep(min(POLL_SECONDS, left))
        holder = try_lock()


@contextmanager
def file_lock(path: Path, locked: object, wait: float) -> Iterator[None]:
    """A lock for the processes of this machine that use the same working folder. A file beside it names the holder.

    Raises:
        Busy: another run still has the lock after `wait` seconds.
        BadSetting: the file cannot be written.
    """
    lock, holder = FileLock(path), path.with_suffix(".holder")

    def try_lock() -> str | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            with suppress(OSError):
                return holder.read_text(encoding="utf-8")
            return "which has just started"
        except OSError as error:
            fix = f"the folder for working files cannot be written ({error.strerror}); set it to one that can"
            raise BadSetting("DLT_DATA_DIR", str(path.parent), fix) from None
        return None

    wait_for(try_lock, locked, wait)
    try:
        with suppress(OSError):
            holder.write_text(this_run(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def working_folder_id() -> str:
    """Names the working folder of this run among those of all machines."""
    path = Path(get_dlt_pipelines_dir()) / "insightly.id"
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(uuid4().hex)
    return path.read_text(encoding="utf-8")


@contextmanager
def private_files() -> Iterator[None]:
    """In the block of a `with` statement, new files and folders can be used by their owner only.

    They have personal data: the DuckDB file, its log, and the load packages in the working folder.
    """
    umask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(umask)


def this_run() -> str:
    """What names this process, and since when, to a run that waits for it."""
    return f"{this_process()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def this_process() -> str:
    """What names this process to another one, on this or another machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return f"pid {os.getpid()} of {user} on {platform.node()}"


def describe_process(pid: int) -> str | None:
    """The program of a process and its script or module, such as `python3 -m ipykernel_launcher`; None if unknown.

    Leaves out all other arguments: they may contain a secret.
    """
    try:
        program, *words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:  # it has ended, belongs to another user, or the system has no /proc
        return None
    shown = words[:2] if words[:1] == ["-m"] else [Path(word).name for word in words[:1] if not word.startswith("-")]
    return " ".join([Path(program).name, *shown]).strip() or None
