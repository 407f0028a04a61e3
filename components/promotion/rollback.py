"""Give the @champion back to the version before, or to any earlier champion.

python -m components.promotion.rollback [--to VERSION]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from components import tracking
from components.promotion import record, turns, versions
from components.promotion.versions import CHAMPION, PREVIOUS, PromotionError


@dataclass(frozen=True)
class Rollback:
    """The champion before and after; the same when there was nothing to do."""

    before: str
    after: str


def rollback(to: str | int | None = None) -> Rollback:
    """Move @champion to an earlier champion `to`, by default @previous_champion; the one left becomes that.

    The version left is marked, so that the next run does not promote it again. Raises PromotionError, NoSuchModel.
    """
    with turns.one_at_a_time("rolling back") as turn:
        named = versions.aliases()
        record.note_moves_by_hand(named.get(CHAMPION))
        if CHAMPION not in named:
            raise PromotionError(f"{tracking.MODEL_NAME}: there is no @{CHAMPION} to roll back; `rnr run` makes one")
        before, after = named[CHAMPION], str(to) if to is not None else named.get(PREVIOUS)
        if after is None:
            raise PromotionError(
                f"{tracking.MODEL_NAME}: version {before} is the first champion, none before it; `rnr run` makes others"
            )
        versions.version_tags(after)
        if after == before:
            return Rollback(before, after)
        earlier = (record.been_champion() | {named.get(PREVIOUS)}) - {before, None}
        if after not in earlier:
            have = ", ".join(sorted((version for version in earlier if version), key=int)) or "none"
            raise PromotionError(
                f"version {after} never was the champion: `rnr promote` is the way for it; earlier champions: {have}"
            )
        # a version whose files are gone or changed must not become the champion
        versions.fetch_whole(after)
        turn.still_mine()
        # first: killed after this, it is still the champion, and is given up by the next call
        versions.tag(before, {"rolled_back": record.now()})
        versions.tag(after, {"rolled_back": ""})
        versions.point(PREVIOUS, before)
        versions.point(CHAMPION, after)
        record.append("rolled back", version=after, champion_before=before, champion_after=after)
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
