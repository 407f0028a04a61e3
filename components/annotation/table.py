"""The running table of an asked teacher: requests, retries, tokens, latency."""

from __future__ import annotations

import statistics
import sys
import time

COLUMNS = ("pairs", "requests", "retries", "again", "aside", "tokens in", "tokens out", "median s", "p95 s", "left")
WIDTH = 10
EVERY_S = 10.0


class Table:
    """Counts of this run; a row is printed now and then."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = self.from_journal = self.requests = self.questions = self.again = self.aside = 0
        self.tokens_in = self.tokens_out = 0
        self.latencies: list[float] = []
        self._begun = time.monotonic()
        self._headed = False

    @property
    def retries(self) -> int:
        """Requests beyond one a question: after 429, 5xx, silence, a lost connection, or a field that was refused."""
        return max(0, self.requests - self.questions)

    def answered(self, tokens_in: int, tokens_out: int, seconds: float) -> None:
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.latencies.append(seconds)

    def latency(self) -> tuple[float, float]:
        """Median and 95th percentile in seconds; 0 before the first answer."""
        if len(self.latencies) < 2:
            return (self.latencies * 2 or [0.0, 0.0])[0], (self.latencies or [0.0])[0]
        return statistics.median(self.latencies), statistics.quantiles(self.latencies, n=20, method="inclusive")[-1]

    def print_row(self) -> None:
        if not self._headed:
            print("annotate: " + " ".join(f"{name:>{WIDTH}}" for name in COLUMNS), file=sys.stderr)
            self._headed = True
        median, p95 = self.latency()
        fresh = self.done - self.from_journal
        left = (time.monotonic() - self._begun) / fresh * (self.total - self.done) if fresh else None
        cells = [
            f"{self.done}/{self.total}", self.requests, self.retries, self.again, self.aside, self.tokens_in,
            self.tokens_out, f"{median:.2f}", f"{p95:.2f}", "?" if left is None else f"{left / 60:.0f} min",
        ]  # fmt: skip
        print("annotate: " + " ".join(f"{cell:>{WIDTH}}" for cell in cells), file=sys.stderr, flush=True)

    def metrics(self) -> dict[str, float]:
        """For MLflow: this run's requests and times, which no hashed output holds."""
        median, p95 = self.latency()
        return {
            "teacher_requests": float(self.requests),
            "teacher_retries": float(self.retries),
            "teacher_asked_again": float(self.again),
            "teacher_tokens_in": float(self.tokens_in),
            "teacher_tokens_out": float(self.tokens_out),
            "teacher_latency_median_s": median,
            "teacher_latency_p95_s": p95,
        }
