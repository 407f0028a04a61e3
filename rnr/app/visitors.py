"""Who is here: an album each, in folders of their own that vanish with them.

A page that was closed may only have been reloaded or put to sleep by a phone: its photos are kept for GRACE_S.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from pathlib import Path

from rnr.app.album import Album
from rnr.app.picture import Darkroom

GRACE_S = 600.0
SWEEP_S = 30.0


class Visitors:
    """Albums by the key of a page that is open in a browser.

    `root` is a new folder for this process, gone when it ends; Gradio serves what lies in `root/served`, by its path,
    in which a random name of 128 bits stands for the visitor.
    """

    def __init__(self, darkroom: Darkroom, grace_s: float = GRACE_S) -> None:
        self.darkroom, self.grace_s = darkroom, grace_s
        self._folder = tempfile.TemporaryDirectory(prefix="rnr-app-", ignore_cleanup_errors=True)
        self.root = Path(self._folder.name)
        self.served = self.root / "served"
        self.served.mkdir()
        self._albums: dict[str, Album] = {}
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def album(self, key: str) -> Album:
        """The album of a page; it counts as present again."""
        with self._lock:
            self._left.pop(key, None)
            if key not in self._albums:
                name = secrets.token_hex(16)
                self._albums[key] = Album(self.root / "private" / name, self.served / name, self.darkroom)
            return self._albums[key]

    def leave(self, key: str) -> None:
        """A page was closed."""
        with self._lock:
            if key in self._albums:
                self._left[key] = time.monotonic()

    def sweep(self) -> None:
        """Close the albums of those who have been gone for long enough."""
        with self._lock:
            gone = [key for key, since in self._left.items() if time.monotonic() - since >= self.grace_s]
            albums = [self._albums.pop(key) for key in gone]
            for key in gone:
                del self._left[key]
        for album in albums:
            album.close()

    def keep_sweeping(self) -> None:
        """Sweep now and then, in a thread, until `close`."""

        def sweep() -> None:
            while not self._closing.wait(SWEEP_S):
                self.sweep()

        threading.Thread(target=sweep, name="sweep", daemon=True).start()

    def close(self) -> None:
        """End all work and delete every file."""
        self._closing.set()
        with self._lock:
            albums = list(self._albums.values())
            self._albums.clear()
        for album in albums:
            album.close()
        self._folder.cleanup()
