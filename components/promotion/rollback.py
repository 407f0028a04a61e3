"""Give the @champion back to the version before, or to any other.

python -m components.promotion.rollback [--to VERSION]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from components import tracking
from components.promotion import versions
from components.promotion.versions import CHAMPION, PREVIOUS, PromotionError


@dataclass(frozen=True)
class Rollback:
    """The champion before and after; the same when there was nothing to do."""

    before: str
    after: str


def rollback(to: str | int | None = None) -> Rollback:
    """Move @champion to version `to`, by default to @previous_champion; the one left becomes @previous_champion.

    The version left is marked, so that the next run does not promote it again. Raises PromotionError, NoSuchModel.
    """
    with versions.one_at_a_time():
        named = versions.aliases()
        if CHAMPION not in named:
            raise PromotionError(f"{tracking.MODEL_NAME}: there is no @{CHAMPION} to roll back; `rnr run` makes one")
        before, after = named[CHAMPION], str(to) if to is not None else named.get(PREVIOUS)
        if after is None:
            have = f"`rnr models` lists versions, `rnr rollback --to VERSION` takes any but {before}"
            raise PromotionError(
                f"{tracking.MODEL_NAME}: version {before} is the first champion, none before it; {have}"
            )
        versions.version_tags(after)
        if after == before:
            return Rollback(before, after)
        # a version whose files are gone must not become the champion
        tracking.fetch_model(f"models:/{tracking.MODEL_NAME}/{after}")
        versions.point(PREVIOUS, before)
        versions.point(CHAMPION, after)
        versions.tag(before, {"rolled_back": versions.now()})
        versions.tag(after, {"rolled_back": ""})
        versions.audit("rolled back", version=after, champion_before=before, champion_after=after)
    return Rollback(before, after)


def main() -> None:
    parser = argparse.ArgumentParser(description="Give the champion back to an earlier version.")
    parser.add_argument("--to", help="a version; by default the champion before")
    arguments = parser.parse_args()
    tracking.telemetry_off()
    try:
        done = rollback(arguments.to)
    except (PromotionError, tracking.TrackingError) as error:
        sys.exit(f"rollback: {error}")
    print(f"@{CHAMPION}: version {done.before} -> {done.after}")


if __name__ == "__main__":
    main()
