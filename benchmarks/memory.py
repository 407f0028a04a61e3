"""How much memory `rnr restore` takes for a photo of so many megapixels: peak of the whole process.

    python -m benchmarks.memory --model FOLDER [--megapixels 24 100] [--format jpg]

The photos are a built-in one, enlarged. The second look may send a result back, so the photo is given twice: once as
it comes, once darkened, which is surely restored. Prints one JSON object a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PHOTO = Path(__file__).resolve().parents[1] / "data/photos/stone-palace-square.jpg"
RUN = """
import resource, sys
from rnr import cli
code = cli.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def enlarged(path: Path, megapixels: float, brightness: float) -> tuple[int, int]:
    """Write the built-in photo at this size, all values times `brightness`; returns width and height."""
    with Image.open(PHOTO) as photo:
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * scale), round(photo.height * scale))
        photo.convert("RGB").point(lambda v: round(v * brightness)).resize(size, Image.Resampling.BICUBIC).save(path)
    return size


def peak_mib(photo: Path, out: Path, model: str) -> float:
    """Peak resident memory in MiB of one `rnr restore` in a process of its own."""
    command = [sys.executable, "-c", RUN, "restore", str(photo), "-o", str(out), "--model", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"memory: rnr restore failed: {done.stderr.strip().splitlines()[-2:]}")
    return int(done.stderr.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the peak memory of rnr restore")
    parser.add_argument("--model", required=True, help="folder with reasoner/ and restorer/")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[24, 100])
    parser.add_argument("--format", default="jpg", help="suffix of the photo (default: jpg)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            for name, brightness in (("as it is", 1.0), ("darkened", 0.2)):
                photo, out = Path(folder) / f"photo.{args.format}", Path(folder) / "out"
                width, height = enlarged(photo, megapixels, brightness)
                peak = peak_mib(photo, out, args.model)
                told = json.loads((out / f"{photo.name}.diagnosis.json").read_text(encoding="utf-8"))
                row = {"photo": f"{width}x{height} {args.format}, {name}", "peak_mib": round(peak)}
                print(json.dumps({**row, "strength": told["strength"], "kept": told["kept"]}), flush=True)


if __name__ == "__main__":
    main()
