"""The words of the recipe teacher. Every list holds ways to say one thing; `Voice` picks by a name alone.

In braces stand measured values and true factors; recipe.py fills them in.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from components.diagnosis import DegradationType


class Voice:
    """Picks wordings: the same name gives the same picks, on every machine and in every version of Python."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)

    def pick(self, ways: Sequence[str]) -> str:
        # only `random()` promises the same sequence for ever, `choice` does not
        return ways[int(self._random.random() * len(ways))]


SCENE = (
    "The scene looks like {scene}{objects}.",
    "This is a picture of kind {scene}{objects}.",
    "I see a {scene} scene{objects}.",
    "First the content: {scene}{objects}.",
    "What was photographed: {scene}{objects}.",
)
NO_SCENE = ("The scene is not certain{objects}.", "What the photo shows is not clear{objects}.")
WITH_OBJECTS = (", with {names}", ", and in it {names}", "; to be made out: {names}", ", showing {names}")

OVERALL = (
    "Over the whole picture brightness is {brightness}, contrast {contrast}, the dark channel {dark_channel}.",
    "Measured over all: brightness {brightness}, contrast {contrast}, dark channel {dark_channel}.",
    "The picture as a whole has brightness {brightness} and contrast {contrast}; its dark channel is {dark_channel}.",
    "Before any detail: brightness {brightness}, contrast {contrast}, darkest spots at {dark_channel}.",
)
DETAIL = (
    "In the detail grain is {grain}, texture {texture}, streakiness {streakiness}, blockiness {blockiness}.",
    "Fine structure: texture {texture}, grain {grain}, blockiness {blockiness}, streakiness {streakiness}.",
    "Close up I measure grain {grain}, texture {texture}, streakiness {streakiness} and blockiness {blockiness}.",
)

PLACES: dict[str, tuple[str, ...]] = {
    "everywhere": ("everywhere", "all over the picture", "evenly over the whole picture"),
    "upper left": ("in the upper left", "towards the upper left corner"),
    "top centre": ("at the top, in the middle", "at the centre of the upper edge"),
    "upper right": ("in the upper right", "towards the upper right corner"),
    "left": ("at the left, half-way up", "in the middle of the left side"),
    "centre": ("in the centre", "in the middle of the picture"),
    "right": ("at the right, half-way up", "in the middle of the right side"),
    "lower left": ("in the lower left", "towards the lower left corner"),
    "bottom centre": ("at the bottom, in the middle", "at the centre of the lower edge"),
    "lower right": ("in the lower right", "towards the lower right corner"),
    "upper edge": ("along the upper edge", "in the upper third"),
    "middle band": ("across the middle", "in a band across the middle"),
    "lower edge": ("along the lower edge", "in the lower third"),
    "left edge": ("along the left edge", "in the left third"),
    "middle column": ("down the middle", "in the middle third, from top to bottom"),
    "right edge": ("along the right edge", "in the right third"),
    "upper two thirds": ("in the upper two thirds", "in all but the lower third"),
    "lower two thirds": ("in the lower two thirds", "in all but the upper third"),
    "left two thirds": ("in the left two thirds", "in all but the right third"),
    "right two thirds": ("in the right two thirds", "in all but the left third"),
    "borders": ("around the borders", "all around the centre"),
}
VERSUS = (" ({inside} there, {outside} elsewhere)", " ({inside} against {outside} in the rest)")
THROUGHOUT = (" ({inside} on average)", " (a mean of {inside})")

# What is seen of each type; {place} is one of PLACES, {versus} the values there and elsewhere. What stands in angle
# brackets is left out when the place is everywhere.
EVIDENCE: dict[DegradationType, tuple[str, ...]] = {
    "haze": (
        "Even the darkest spots are lifted by scattered light, <most of all> {place}{versus}.",
        "A grey veil lies over the dark parts, <strongest> {place}{versus}.",
        "No spot is truly black: the dark channel is <highest> {place}{versus}.",
    ),
    "rain": (
        "Thin bright strokes share one direction; they stand <mostly> {place}{versus}.",
        "Parallel streaks brighter than what is behind them show up {place}{versus}.",
        "I find narrow bright lines of one slant, <densest> {place}{versus}.",
    ),
    "snow": (
        "Bright specks of several sizes cover the scene, <most> {place}{versus}.",
        "Soft white spots stand before the scene, <densest> {place}{versus}.",
        "Round bright flakes stick out from their surroundings, <above all> {place}{versus}.",
    ),
    "low_light": (
        "Too little light reached the sensor; the picture is dark, <most of all> {place}{versus}.",
        "The tones crowd at the dark end, <deepest> {place}{versus}.",
        "Shadows have swallowed detail, <most of all> {place}{versus}.",
    ),
    "blur": (
        "Edges are wider than a sharp lens draws them, even where they are strongest, {place}{versus}.",
        "The steepest edges, {place}, are still soft{versus}.",
        "Fine texture is smeared; what edges remain stand {place}{versus}.",
    ),
    "noise": (
        "Flat areas are grainy, <most> {place}{versus}.",
        "Neighbouring pixels differ at random, <strongest> {place}{versus}.",
        "A grain that belongs to no surface covers the picture, <plainest> {place}{versus}.",
    ),
    "jpeg": (
        "Steps stand on the 8-pixel grid of the codec, <plainest> {place}{versus}.",
        "Square blocks of 8 pixels show, <above all> {place}{versus}.",
        "Brightness jumps at the borders of 8-pixel blocks, <most> {place}{versus}.",
    ),
}

# why: the physics behind the evidence, by the true factors of the recipe
CAUSES: dict[DegradationType, tuple[str, ...]] = {
    "haze": (
        "about {transmission:.0%} of the light of the scene still arrives through air of brightness {airlight:.2f}",
        "the air scatters, at transmission {transmission:.2f} and airlight {airlight:.2f}",
    ),
    "rain": (
        "drops drew streaks of some {length_px:.0f} px, {angle_deg:z.0f} degrees from the vertical, over {density:.1%} "
        "of the pixels",
        "streaks {length_px:.0f} px long lean by {angle_deg:z.0f} degrees and cover {density:.1%} of the picture",
    ),
    "snow": (
        "flakes of about {flake_px:.1f} px cover {density:.1%} of the pixels",
        "{density:.1%} of the picture lies behind flakes some {flake_px:.1f} px wide",
    ),
    "low_light": (
        "the exposure is {exposure_ev:+.1f} EV with a response gamma of {gamma:.2f}",
        "{exposure_ev:+.1f} stops of light are missing, gamma {gamma:.2f}",
    ),
    "blur": (
        "{kind} blur spreads every point over {extent_px:.0f} px",
        "a point becomes a spot of {extent_px:.0f} px, as {kind} blur makes it",
    ),
    "noise": (
        "shot noise of gain {shot:.2g} and read noise of variance {read:.2g} in linear light",
        "the sensor adds read noise (variance {read:.2g}) and shot noise (gain {shot:.2g})",
    ),
    "jpeg": (
        "the file was compressed at quality {quality:.0f}",
        "a quality setting of {quality:.0f} threw fine coefficients away",
    ),
}
VERDICTS = (
    "So there is {name} ({cause}); it is {degree}, severity {severity:.0f} of 100.",
    "That is {name} ({cause}). It is {degree}: severity {severity:.0f} of 100.",
    "This points to {name}, {degree} at severity {severity:.0f} of 100, because {cause}.",
    "{Name}, then: {cause}. Severity {severity:.0f} of 100, {degree}.",
)
NAMES = {"low_light": "low light", "jpeg": "JPEG compression"}
# upper end of the severity, words
DEGREES = (
    (12.0, ("barely visible", "slight")),
    (30.0, ("mild", "light")),
    (55.0, ("plain", "moderate")),
    (78.0, ("strong", "heavy")),
    (100.0, ("severe", "extreme")),
)

# a clean photo with a high measurement: the scene explains the value
RULED_OUT: dict[DegradationType, tuple[str, ...]] = {
    "haze": (
        "A dark channel of {value} comes from the bright scene itself, not from haze.",
        "The scene has few black spots (dark channel {value}), yet no veil lies over it.",
    ),
    "rain": (
        "A streakiness of {value} comes from lines of the scene, not from rain.",
        "Its lines share a direction (streakiness {value}) because they belong to things, not to drops.",
    ),
    "noise": (
        "A grain of {value} is fine detail of the scene, not noise.",
        "What looks grainy ({value}) is texture of surfaces; flat parts are quiet.",
    ),
    "jpeg": (
        "A blockiness of {value} stems from edges of the scene, not from the codec.",
        "Steps on the 8-pixel grid ({value}) fall on edges of the scene by chance.",
    ),
}
SUGGESTIVE = 0.2  # a measurement above this asks for a word
CLEAN = (
    "No degradation is visible: leave the photo as it is.",
    "Nothing needs repair; the photo is clean and should be left alone.",
    "None of the seven degradations shows: the best restoration is none, leave it.",
)
TOGETHER = (
    "The strongest is {worst}; in the order of nature {chain} lie over one another and hide detail from each other.",
    "From air to codec {chain} add up; {worst} does most damage and should be judged first.",
    "Together ({chain}) they hide detail from each other; most comes from {worst}.",
)
