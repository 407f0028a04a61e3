"""The figures that must not be bought with others: each with its limit and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from components.diagnosis import TYPES
from components.promotion.gate import PromotionParams, Verdict
from components.report.evidence import Evidence

# a pair counts as made worse from this loss on; less is not seen
VISIBLE_LOSS_DB = 0.5


@dataclass(frozen=True)
class Guard:
    """`limit`: in words, with the parameter that sets it; `holds`: None where nothing limits the figure."""

    name: str
    value: str
    limit: str = ""
    holds: bool | None = None


def guards(evidence: Evidence, limits: PromotionParams, verdict: Verdict | None = None) -> list[Guard]:
    """The floors of the gate, what a champion may lose where there is one, and the harm that was done."""
    return [*_floors(evidence, limits), *_against_champion(limits, verdict), *_harm(evidence)]


def _floors(evidence: Evidence, limits: PromotionParams) -> Iterator[Guard]:
    def gain(case: str) -> float:
        before, after = (evidence.number(f"restoration.{case}.psnr_{side}") for side in ("degraded", "restored"))
        return (after or 0.0) - (before or 0.0)

    improved = sum(gain(kind) > 0 for kind in TYPES)
    clean = evidence.number("restoration.clean.psnr_restored") or 0.0
    macro = evidence.number("reasoner.macro_f1") or 0.0
    yield Guard(
        "gain over all degraded pairs",
        f"{gain('all'):+.2f} dB",
        f"at least {limits.min_psnr_gain_db:+.2f} dB (promotion.min_psnr_gain_db)",
        gain("all") >= limits.min_psnr_gain_db,
    )
    yield Guard(
        "types that gain",
        f"{improved} of {len(TYPES)}",
        f"at least {limits.min_types_improved} (promotion.min_types_improved)",
        improved >= limits.min_types_improved,
    )
    yield Guard(
        "clean photos keep",
        f"{clean:.2f} dB",
        f"at least {limits.clean_psnr_floor_db:.2f} dB (promotion.clean_psnr_floor_db)",
        clean >= limits.clean_psnr_floor_db,
    )
    yield Guard(
        "macro F1 of the reasoner",
        f"{macro:.3f}",
        f"at least {limits.min_macro_f1:.3f} (promotion.min_macro_f1)",
        macro >= limits.min_macro_f1,
    )


def _against_champion(limits: PromotionParams, verdict: Verdict | None) -> Iterator[Guard]:
    figures = verdict.figures if verdict else {}
    changes = {name.split(".", 1)[1]: value for name, value in figures.items() if name.startswith("psnr_change_db.")}
    if changes:
        worst = min(changes, key=lambda case: changes[case])
        yield Guard(
            "worst case against the champion",
            f"{worst.replace('_', ' ')} {changes[worst]:+.2f} dB",
            f"a loss of at most {limits.max_psnr_loss_db:.2f} dB (promotion.max_psnr_loss_db)",
            -changes[worst] <= limits.max_psnr_loss_db,
        )
    if "macro_f1_change" in figures:
        yield Guard(
            "macro F1 against the champion",
            f"{figures['macro_f1_change']:+.3f}",
            f"a loss of at most {limits.max_f1_loss:.3f} (promotion.max_f1_loss)",
            -figures["macro_f1_change"] <= limits.max_f1_loss,
        )
    if "seconds_per_megapixel" in figures:
        yield Guard(
            "seconds per megapixel",
            f"{figures['seconds_per_megapixel']:.2f} s",
            f"at most {limits.max_seconds_per_megapixel:.2f} s (promotion.max_seconds_per_megapixel)",
            figures["seconds_per_megapixel"] <= limits.max_seconds_per_megapixel,
        )


def _harm(evidence: Evidence) -> Iterator[Guard]:
    table = evidence.table
    loss = table["psnr_degraded"] - table["psnr_restored"]
    clean = table["case"] == "clean"
    worse = int((loss > VISIBLE_LOSS_DB)[~clean].sum())
    touched = int((loss > 0)[clean].sum())
    held = int(((table["kept"] != "") & (table["kept"] != "no degradation to remove")).sum())
    weakened = int(((table["weakened"] != "") & (table["kept"] == "")).sum())
    yield Guard(f"degraded pairs made worse by more than {VISIBLE_LOSS_DB} dB", f"{worse} of {int((~clean).sum())}")
    yield Guard("clean pairs that were changed", f"{touched} of {int(clean.sum())}")
    yield Guard("results held back by the second look", f"{held} of {len(table)}")
    yield Guard("results weakened by the second look", f"{weakened} of {len(table)}")
    parse = evidence.number("reasoner.parse_rate")
    if parse is not None:
        yield Guard("answers that parse", f"{parse:.1%}", "all of them", parse >= 1)
