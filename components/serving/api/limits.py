"""What one request may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bytes of one photo's file, its pixels, and seconds.

    `request_s` runs from the end of the upload to the beginning of the answer; `upload_s` is the longest upload, of
    which every moment must have brought `slowest` bytes a second after `grace_s`. The same holds for the answer's way
    back.
    """

    max_bytes: int = 25 * MIB
    max_pixels: int = 50_000_000
    request_s: float = 300
    upload_s: float = 120
    grace_s: float = 10
    slowest: float = 32 * 1024

    @property
    def json_bytes(self) -> int:
        """The largest body with a photo in base64: four characters for three bytes, and line breaks."""
        return self.max_bytes * 4 // 3 + self.max_bytes // 30 + self.extra_bytes

    @property
    def form_bytes(self) -> int:
        return self.max_bytes + self.extra_bytes

    @property
    def extra_bytes(self) -> int:
        """What may stand around the photo."""
        return 64 * 1024

    def due(self, began: float, carried: int, longest: float = float("inf")) -> float:
        """When the next bytes are due of a transfer that began then and has carried so many."""
        return began + min(longest, self.grace_s + carried / self.slowest)
