"""A lease: a lock in a folder or bucket, for destinations without locks of their own.

Its holder writes a file again and again. A file that has become old belongs to a run that was killed.
"""

import logging
import posixpath
import random
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from dlt.common.storages.fsspec_filesystem import MTIME_DISPATCH
from dlt.common.storages.transactional_file import Heartbeat

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

BEAT_SECONDS, EXPIRY_SECONDS = 10.0, 45.0


class Lease:
    """A lease on what a folder stands for. Times are those of the store, so the clocks of machines do not matter.

    Args:
        files: the store.
        folder: where the files of all runs are.
        name: of the file. Runs of one working folder use the same, because another lock keeps them apart: so the file
            of a killed run is not in the way of the next one.
        holder: what names this run to others.
    """

    def __init__(self, files: "AbstractFileSystem", folder: str, name: str, holder: str) -> None:
        self._files, self._folder, self._name, self._holder = files, folder, name, holder
        self._own = posixpath.join(folder, name)
        protocol = files.protocol if isinstance(files.protocol, str) else files.protocol[0]
        self._modified = MTIME_DISPATCH.get(protocol, MTIME_DISPATCH["file"])
        self._heartbeat: Heartbeat | None = None
        self._renewed = 0.0

    def try_lock(self) -> str | None:
        """Takes the lease if no other run has it, and returns None, else who has it.

        Two runs that write their files at the same time both see the other one's, and both step back.
        """
        self._files.makedirs(self._folder, exist_ok=True)
        self._write()
        other = self._other()
        if other is not None:
            self._files.rm_file(self._own)
            time.sleep(random.random() / 10)
            return other
        self._heartbeat = Heartbeat(BEAT_SECONDS, self._renew)
        self._heartbeat.start()
        return None

    def is_held(self) -> bool:
        """False if the lease may have expired, as after a long sleep of the machine."""
        return time.monotonic() - self._renewed < EXPIRY_SECONDS and bool(self._files.exists(self._own))

    def release(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat.join()
        try:
            self._files.rm_file(self._own)
        except OSError as error:
            logger.warning("the lease %s could not be removed; it expires: %s", self._own, error)

    def _write(self) -> None:
        started = time.monotonic()
        self._files.pipe_file(self._own, self._holder.encode())
        self._renewed = started

    def _renew(self) -> None:
        try:
            if self._files.exists(self._own):
                self._write()
        except OSError as error:
            logger.warning("the lease %s could not be renewed: %s", self._own, error)

    def _other(self) -> str | None:
        """Who else has a file that is not old."""
        listed = self._files.ls(self._folder, detail=True, refresh=True)
        times = {posixpath.basename(file["name"]): self._modified(file) for file in listed}
        now = times.pop(self._name)
        for name, modified in times.items():
            path = posixpath.join(self._folder, name)
            with suppress(FileNotFoundError):  # its run has just ended
                if now is None or modified is None or now - modified <= timedelta(seconds=EXPIRY_SECONDS):
                    return str(self._files.cat_file(path).decode())
                self._files.rm_file(path)
        return None
