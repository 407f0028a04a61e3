"""Blur undone by its physics: a kernel read from the photo's spectrum and from what the diagnosis says of it.

The kernel that fits the photo's spectrum best (`components/reasoner/pointspread.py`) is right to a few per cent where
blur is all there is, and wrong where noise or a codec's blocks fill its zeros. A small network hears the fit, the
spectrum's fingerprint and the diagnosis, and says which kind of kernel it is, how far to trust the fit, and how much
doubt is left; `sharpened` applies the linear filter of least error for a kernel that is known so well. The restorer
sees the result beside the photo and takes what it can use.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from components.degradations.blur import EXTENTS
from components.degradations.light import to_linear, to_srgb
from components.diagnosis import BLUR_KINDS
from components.reasoner import pointspread, spectrum
from components.reasoner.answer import FACTOR_SCALES
from components.restorer.conditioning import BLUR_KIND, CONDITION, FACTOR_NAMES, FACTORS

# what is told of a photo's spectrum: its fingerprint, and the columns of the fitted kernels
FITTED = slice(spectrum.FINGERPRINT, spectrum.FINGERPRINT + len(pointspread.COLUMNS))
PRINTS = FITTED.stop
# noise to signal of the two filters: one bold, one careful; and how often what the careful one left is filtered again
NOISE = (0.003, 0.03)
AGAIN = 2
# shares of linear red, green and blue in the brightness (ITU-R BT.709)
BRIGHTNESS = (0.2126, 0.7152, 0.0722)
SHARPENED = 3 * (len(NOISE) + 1)
# how far a filter reaches, and how far a picture is reflected past its borders for it, px
FADE = REACH = 48
KINDS = ("none", *BLUR_KINDS)
# of a guess: log-odds of KINDS, logarithms of the extent in px if it is of each kind, cosine and sine of twice the
# angle of a motion, and the doubt: mean errors of the extent (relative) and of the angle (radians)
ODDS = slice(0, len(KINDS))
WIDE = slice(ODDS.stop, ODDS.stop + len(BLUR_KINDS))
TURN = slice(WIDE.stop, WIDE.stop + 2)
DOUBT = slice(TURN.stop, TURN.stop + 2)
GUESS = DOUBT.stop
LEAST_DOUBT, MOST_DOUBT = (0.01, 0.01), (0.2, 0.2)
# three kernels stand for all that are possible: at twice the mean error to either side the variance is that of a
# Laplace distribution of this mean error
SPREAD = ((-2.0, 0.25), (0.0, 0.5), (2.0, 0.25))
# a shaken hand's path looks like strokes of any direction, shorter than its extent
STROKES, STROKE = 6, 0.6
# where a blur is less likely than this the photo is taken as sharp
LEAST_BLUR = 0.05
# and a kind that is less likely than this is not thought of: kernels are a third of the cost
LEAST_KIND = 0.02
_COS2 = pointspread.COLUMNS.index("width_cos2")
# the fitted kinds come first: extents are concatenated in this order
assert BLUR_KINDS[: len(pointspread.KINDS)] == pointspread.KINDS
_EXTENT, _ANGLE = (FACTORS.start + FACTOR_NAMES.index(("blur", name)) for name in ("extent_px", "angle_deg"))
_LEAST, _MOST = min(low for low, _ in EXTENTS.values()), max(high for _, high in EXTENTS.values())


def prints(photo: torch.Tensor) -> torch.Tensor:
    """(PRINTS,) of a photo (3, H, W) in [0, 1]."""
    side, corners = spectrum.places(*photo.shape[-2:])
    return of_windows([photo[:, top : top + side, left : left + side] for top, left in corners])


def of_windows(windows: list[torch.Tensor]) -> torch.Tensor:
    """(PRINTS,) of the windows (3, s, s) of one photo that `spectrum.places` names; zeros where there are none."""
    if not windows:
        return torch.zeros(PRINTS)
    together = torch.stack(windows).cpu()
    return torch.cat([spectrum.of_windows(together), pointspread.fit(together, together=True).columns()[0]])


class Guesser(nn.Module):
    """A guess of the kernel, (B, GUESS), from conditions (B, CONDITION) and prints (B, PRINTS)."""

    def __init__(self) -> None:
        super().__init__()
        # the odds, an extent and an angle without the fit, the trust in the fit's, and the doubts
        self.layers = nn.Sequential(
            nn.Linear(CONDITION + PRINTS, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, len(KINDS) + 7)
        )

    def forward(self, condition: torch.Tensor, prints: torch.Tensor) -> torch.Tensor:
        told = self.layers(torch.cat([condition, prints], 1))
        odds, wide, turn, trust, doubt = told.split([len(KINDS), 1, 2, 2, 2], 1)
        fitted = prints[:, FITTED]
        extents, turned = fitted[:, : len(pointspread.KINDS)], fitted[:, _COS2 : _COS2 + 2]
        trust = trust.sigmoid()
        extents = wide + trust[:, :1] * (extents - wide)
        turn = turn + trust[:, 1:] * (turned - turn)
        low, high = (doubt.new_tensor(bound).log() for bound in (LEAST_DOUBT, MOST_DOUBT))
        doubt = (low + (high - low) * doubt.sigmoid()).exp()
        # of a shake there is no fit
        return torch.cat([odds, extents, wide, turn, doubt], 1)


def guess_loss(guess: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """How far guesses (B, GUESS) are from the kernels that true conditions (B, CONDITION) name; a mean over B.

    Cross entropy of the kind, and the negative logarithm of the likelihood of a Laplace distribution, whose scale is
    the doubt, of extent and angle.
    """
    told = truth[:, BLUR_KIND]
    blurred = told.sum(1)
    kind = torch.cat([1 - blurred[:, None], told], 1).argmax(1)
    low, high, _ = FACTOR_SCALES["blur", "extent_px"]
    extent = (low + (high - low) * truth[:, _EXTENT]).log()
    low, high, _ = FACTOR_SCALES["blur", "angle_deg"]
    twice = 2 * torch.deg2rad(low + (high - low) * truth[:, _ANGLE])
    moved = (kind == KINDS.index("motion")).float()
    doubt = guess[:, DOUBT]
    named = F.cross_entropy(guess[:, ODDS], kind, reduction="none")
    wide = ((guess[:, WIDE] - extent[:, None]).abs() * told).sum(1)
    cosine, sine = guess[:, TURN].unbind(1)
    turned = (cosine - twice.cos()).square() + (sine - twice.sin()).square()
    # the angle itself, apart from how far its vector is from the circle
    apart = 0.5 * torch.atan2(sine * twice.cos() - cosine * twice.sin(), cosine * twice.cos() + sine * twice.sin())
    unsure = torch.stack([wide, apart.detach().abs() * moved], 1) / doubt
    unsure = unsure + torch.stack([blurred, moved], 1) * doubt.log()
    return (named + unsure.sum(1) + turned * moved).mean()


def sharpened(image: torch.Tensor, guess: torch.Tensor, inside: tuple[slice, slice] | None = None) -> torch.Tensor:
    """(B, SHARPENED, H, W): what three restorations would add to pictures (B, 3, H, W) in [0, 1].

    For a kernel of spectrum K that is known by its probabilities alone, the linear filter of least mean square error
    is W = conj(E[K]) / (E[|K|^2] + noise / signal) (Wiener; the mean over kernels is taken before the quotient), which
    leaves alone what the possible kernels disagree about. Where it divides by next to nothing it rings without end:
    what it answers to a point is faded out over FADE px (a Hann window), which gains the bold one up to 3 dB and
    lets tiles agree with the whole. Two of them are applied, in linear light, borders reflected.
    A reflected border is not what a slanted motion saw: the third goes on from the careful one, x + W (y - K x)
    (Van Cittert 1931, Landweber 1951), which puts that right and keeps to what can be light.
    Only the brightness goes through all three. Of the colours red and blue go through the careful one, green is what
    is left of the brightness, and the other two add to each colour what they add to the brightness.

    `inside`: rows and columns that are wanted, where the rest is only there to be filtered with.
    """
    wanted = (..., *(inside or (slice(None), slice(None))))
    kinds = guess[:, ODDS].softmax(1)
    blurred = ((1 - kinds[:, 0]) > LEAST_BLUR).nonzero()[:, 0]
    nothing = image.new_zeros(()).expand(len(image), SHARPENED, *image[wanted].shape[-2:])
    if not len(blurred):
        return nothing
    added = nothing.clone(memory_format=torch.contiguous_format)
    size = image.shape[-2] + 2 * REACH, image.shape[-1] + 2 * REACH
    kinds = kinds[blurred]
    kinds = torch.where(kinds < LEAST_KIND, 0.0, kinds)
    mean, power = _spectra(kinds / kinds.sum(1, keepdim=True), guess[blurred], *size)
    bold, careful = (_faded_out(mean / (power + noise), size) for noise in NOISE)
    # what sharpens is in the brightness: 15 transforms instead of 33
    brightness = torch.zeros_like(image[blurred, 0])
    for number, share in enumerate(BRIGHTNESS):
        brightness += share * to_linear(_colour(image, blurred, number))
    seen = _spectrum(brightness)
    base = _picture(seen * careful, size)
    again = base.clamp(0, 1)
    for _ in range(AGAIN):
        left = brightness - _picture(_spectrum(again) * mean, size)
        again = (again + _picture(_spectrum(left) * careful, size)).clamp(0, 1)
    lifts = [(found - base)[wanted] for found in (_picture(seen * bold, size), base, again)]
    rest = base[wanted].clone()
    for number in (0, 2, 1):
        own = _colour(image, blurred, number)
        if number == 1:
            light = rest / BRIGHTNESS[1]
        else:
            light = _picture(_spectrum(to_linear(own)) * careful, size)[wanted]
            rest -= BRIGHTNESS[number] * light
        for place, lift in enumerate(lifts):
            added[blurred, 3 * place + number] = to_srgb((light + lift).clamp(0, 1)) - own[wanted]
    return added


def _colour(image: torch.Tensor, chosen: torch.Tensor, number: int) -> torch.Tensor:
    """(b, H, W): one colour of some pictures, in [0, 1]."""
    return image[chosen, number].clamp(0, 1)


def _spectrum(light: torch.Tensor) -> torch.Tensor:
    """Of fields (B, H, W), their borders reflected over REACH px."""
    return torch.fft.rfft2(F.pad(light, [REACH] * 4, mode="reflect" if min(light.shape[-2:]) > REACH else "replicate"))


def _picture(spectra: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The fields (B, H, W) of such spectra, without what was reflected."""
    return torch.fft.irfft2(spectra, s=size)[..., REACH:-REACH, REACH:-REACH]


def _faded_out(spectra: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Real spectra (B, h, w) of filters that reach no further than FADE px, and keep the mean of a picture."""
    device = spectra.device
    down, right = (torch.fft.fftfreq(side, 1 / side, device=device) for side in size)
    window = 0.5 + 0.5 * torch.cos(math.pi * (down[:, None].hypot(right) / FADE).clamp(max=1))
    # symmetric in space, so real here
    short = torch.fft.rfft2(torch.fft.irfft2(spectra, s=size) * window).real
    return short / short[:, :1, :1]


def _spectra(kinds: torch.Tensor, guess: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """E[K] and E[|K|^2], (B, height, width // 2 + 1) each; kernels are symmetric, so K is real."""
    device = kinds.device
    down = torch.fft.fftfreq(height, device=device)[:, None].expand(-1, width // 2 + 1)
    right = torch.fft.rfftfreq(width, device=device).expand(height, -1)
    mean = kinds[:, 0, None, None].expand(-1, height, width // 2 + 1).clone()
    power = mean.clone()
    angle = torch.rad2deg(0.5 * torch.atan2(*guess[:, TURN].flip(1).unbind(1)))
    wide_doubt, turn_doubt = guess[:, DOUBT].unbind(1)

    def take(kind: str, extents: torch.Tensor, angles: torch.Tensor, share: torch.Tensor) -> None:
        spectra = pointspread.transfer(kind, extents, angles, down, right)
        mean.add_(spectra * share[:, None, None])
        power.add_(spectra.square() * share[:, None, None])

    for number, kind in enumerate(BLUR_KINDS):
        share, centre = kinds[:, 1 + number], guess[:, WIDE][:, number]
        if not share.any():
            continue
        if kind == "shake":
            for i in range(STROKES):
                turn = torch.full_like(angle, 180.0 * i / STROKES)
                take("motion", STROKE * centre.exp().clamp(_LEAST, _MOST), turn, share / STROKES)
            continue
        for step, likely in SPREAD:
            extents = (centre + step * wide_doubt).exp().clamp(_LEAST, _MOST)
            for turn_step, turn_likely in SPREAD if kind == "motion" else ((0.0, 1.0),):
                turns = angle + torch.rad2deg(turn_step * turn_doubt)
                take(kind, extents, turns, share * likely * turn_likely)
    return mean, power
