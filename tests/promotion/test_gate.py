"""The gate on figures alone: what it lets pass, and what a refusal says."""

from __future__ import annotations

import copy
import math

import pytest

from components import params
from components.promotion.gate import CASES, PromotionParams, Smoke, judge
from tests.flows.toy import PROMOTION, metrics

LIMITS = params.parse("promotion", PROMOTION, PromotionParams)
FAST = Smoke(2.0)


def changed(path: str, value: object, start: dict | None = None) -> dict:
    """Metrics with one value replaced."""
    figures = copy.deepcopy(start or metrics(25.0))
    *way, last = path.split(".")
    inner = figures
    for key in way:
        inner = inner[key]
    inner[last] = value
    return figures


def test_good_figures_pass_with_and_without_a_champion() -> None:
    assert judge(metrics(25.0), None, FAST, LIMITS).accepted
    verdict = judge(metrics(25.0), metrics(25.2), FAST, LIMITS)
    assert verdict.accepted
    assert verdict.figures["psnr_change_db.rain"] == pytest.approx(-0.2)
    assert verdict.figures["psnr_gain_db"] == 5.0
    assert verdict.figures["seconds_per_megapixel"] == 2.0


@pytest.mark.parametrize(
    ("figures", "parts"),
    [
        (changed("restoration.all.psnr_restored", 20.4), ["all", "+0.400 dB", "+0.500 dB", "min_psnr_gain_db"]),
        (changed("restoration.snow.psnr_restored", 19.75), ["6 of 7", "snow -0.250 dB", "min_types_improved"]),
        (changed("restoration.clean.psnr_restored", 38.5), ["clean", "38.50 dB", "40.00 dB", "clean_psnr_floor_db"]),
        (changed("reasoner.macro_f1", 0.41), ["macro F1 0.410", "0.500", "min_macro_f1"]),
        (changed("restoration.all.psnr_restored", math.nan), ["all", "nan"]),
        (changed("reasoner", {}), ["reasoner.macro_f1 is missing"]),
        (changed("restoration.blur", None), ["restoration.blur.psnr_restored is missing"]),
    ],
)
def test_every_floor_refuses_with_its_name_and_figures(figures: dict, parts: list[str]) -> None:
    verdict = judge(figures, None, FAST, LIMITS)
    assert not verdict.accepted
    assert len(verdict.reasons) == 1
    for part in parts:
        assert part in verdict.reasons[0]


@pytest.mark.parametrize("case", CASES)
def test_a_loss_in_any_case_refuses_and_names_it(case: str) -> None:
    worse = changed(f"restoration.{case}.psnr_restored", 24.5)
    (reason,) = judge(worse, metrics(25.0), FAST, LIMITS).reasons
    assert reason.startswith(
        f"{case}: 24.500 dB against the champion's 25.000 dB, a loss of 0.500 dB; at most 0.300 dB"
    )
    # within the tolerance it passes, and without a champion there is nothing to lose
    assert judge(changed(f"restoration.{case}.psnr_restored", 24.75), metrics(25.0), FAST, LIMITS).accepted
    assert judge(worse, None, FAST, LIMITS).accepted


def test_the_reasoner_may_not_get_worse_either() -> None:
    (reason,) = judge(changed("reasoner.macro_f1", 0.7), metrics(25.0), FAST, LIMITS).reasons
    assert "macro F1 0.700 against the champion's 0.800, a loss of 0.100; at most 0.050" in reason


def test_slow_or_broken_models_are_refused() -> None:
    (slow,) = judge(metrics(25.0), None, Smoke(61.5), LIMITS).reasons
    assert slow.startswith("latency: 61.50 s per megapixel, at most 60.00")
    (broken,) = judge(metrics(25.0), None, Smoke(None, "exit code 1: no weights"), LIMITS).reasons
    assert broken == "smoke test: exit code 1: no weights"


def test_all_reasons_are_given_at_once() -> None:
    bad = changed("reasoner.macro_f1", 0.1, changed("restoration.rain.psnr_restored", 10.0))
    verdict = judge(bad, metrics(25.0), Smoke(99.0), LIMITS)
    assert len(verdict.reasons) == 5


@pytest.mark.parametrize(
    ("key", "value"), [("min_types_improved", 8), ("max_psnr_loss_db", -0.1), ("min_macro_f1", 1.5)]
)
def test_limits_out_of_range_name_the_key(key: str, value: float) -> None:
    with pytest.raises(params.ParamsError, match=rf"promotion\.{key}"):
        params.parse("promotion", PROMOTION | {key: value}, PromotionParams)
