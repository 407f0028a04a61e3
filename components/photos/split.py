"""Which photo trains, which validates, which tests: fixed by the photos' content, shared out scene by scene."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

SPLITS = ("train", "val", "test")
SMALLEST_SHARED_SCENE = 3  # a scene of this many photos is seen in training and in the test


def assign_splits(
    scenes: Mapping[str, str], val_fraction: float, test_fraction: float, recorded: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Split of each photo_id, given the scene of each ("" where unknown, a group of its own).

    Photos of `recorded` keep the split that it names; the others fill up what is missing. Where nothing is recorded,
    with at least 3 photos no split is empty; every scene with at least 3 photos has one in train and one in test,
    which on few photos outweighs the fractions (val_fraction <= 0.4, test_fraction <= 0.5).
    """
    splits = {photo: split for photo, split in (recorded or {}).items() if photo in scenes}
    groups: dict[str, list[str]] = {}
    # the hash, not the id itself: the order of ids must not favour any kind of picture
    for identity in sorted(scenes, key=lambda photo: hashlib.sha256(photo.encode()).hexdigest()):
        groups.setdefault(scenes[identity], []).append(identity)
    sizes = {scene: len(groups[scene]) for scene in sorted(groups)}
    total = sum(sizes.values())
    shared = {scene: size >= SMALLEST_SHARED_SCENE for scene, size in sizes.items()}
    fixed = {
        split: {scene: sum(splits.get(photo) == split for photo in photos) for scene, photos in groups.items()}
        for split in SPLITS
    }

    test = share_out(
        total=min(max(1, round(test_fraction * total)), total - 2),
        wanted={scene: test_fraction * size for scene, size in sizes.items()},
        least={scene: max(int(shared[scene]), fixed["test"][scene]) for scene in sizes},
        # two stay behind, one to train and one to validate
        most={
            scene: max(
                fixed["test"][scene],
                min(size - 2 * shared[scene], size - fixed["train"][scene] - fixed["val"][scene]),
            )
            for scene, size in sizes.items()
        },
    )
    left = total - sum(test.values())
    val = share_out(
        total=min(max(1, round(val_fraction * total)), left - 1),
        wanted={scene: val_fraction * size for scene, size in sizes.items()},
        least=fixed["val"],
        most={
            scene: max(fixed["val"][scene], size - test[scene] - max(int(shared[scene]), fixed["train"][scene]))
            for scene, size in sizes.items()
        },
    )
    for scene, photos in groups.items():
        first = test[scene] - fixed["test"][scene]
        second = first + val[scene] - fixed["val"][scene]
        for place, photo in enumerate(photo for photo in photos if photo not in splits):
            splits[photo] = "test" if place < first else "val" if place < second else "train"
    return splits


def share_out(
    total: int, wanted: Mapping[str, float], least: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, int]:
    """Whole numbers near `wanted` that add up to `total` (or to what `least` and `most` allow): largest remainder."""
    given = {key: min(max(least[key], int(wanted[key])), most[key]) for key in wanted}
    while sum(given.values()) < total:
        open_keys = [key for key in given if given[key] < most[key]]
        if not open_keys:
            break
        given[max(open_keys, key=lambda key: (wanted[key] - given[key], key))] += 1
    return given
