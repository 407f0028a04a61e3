"""Where the depth of a scene comes from: made up, a map beside the photos, or a depth model.

`synthesize.depth` is "generated" (components/degradations/depth.py makes a plausible one), a folder with one map
per photo (`<name of the photo>.png` or the same stem, 8 or 16 bits, near is dark), or a TorchScript file that
takes (1, 3, H, W) sRGB in [0, 1] and gives (1, 1, H, W), near is small.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from components import params

GENERATED = "generated"
MODEL_SUFFIXES = (".pt", ".pth", ".torchscript")
DEEPEST = 65535


class DepthSource:
    """`of` gives the depth of one region, or None where the physics shall make it up."""

    def __init__(self, source: str) -> None:
        self.folder: Path | None = None
        self.model = None
        if source == GENERATED:
            return
        path = Path(source).expanduser()
        if path.is_dir():
            self.folder = path
        elif path.is_file() and path.suffix in MODEL_SUFFIXES:
            try:
                self.model = torch.jit.load(str(path), map_location="cpu").eval()
            except RuntimeError as error:
                raise params.ParamsError(f"{source}: not a TorchScript model: {str(error).splitlines()[0]}") from None
        else:
            raise params.ParamsError(
                f"{params.PARAMS_FILE}: synthesize.depth: {source}: neither {GENERATED}, a folder of depth maps nor a "
                f"TorchScript file ({', '.join(MODEL_SUFFIXES)})"
            )

    def of(self, name: str, region: np.ndarray, box: list[int], size: tuple[int, ...]) -> np.ndarray | None:
        """(h, w) float32 in [0, 1] of a region (h, w, 3) cut at `box` from the photo `name` of (height, width) `size`.

        Rounded to 16 bits, as it is stored. Raises ParamsError for a missing or constant map.
        """
        if self.folder is not None:
            depth = self._mapped(name, region, box, size)
        elif self.model is not None:
            with torch.inference_mode():
                image = torch.from_numpy(region.copy()).permute(2, 0, 1)[None].float() / 255
                depth = self.model(image)[0, 0].float().numpy()
        else:
            return None
        least, most = float(depth.min()), float(depth.max())
        if not np.isfinite(depth).all() or depth.shape != region.shape[:2]:
            raise params.ParamsError(f"synthesize.depth: {name}: {depth.shape} values, some may not be finite")
        share = (depth - least) / max(1e-6, most - least)
        return (np.round(share * DEEPEST) / DEEPEST).astype(np.float32)

    def _mapped(self, name: str, region: np.ndarray, box: list[int], size: tuple[int, ...]) -> np.ndarray:
        assert self.folder is not None
        for path in (self.folder / f"{name}.png", self.folder / f"{Path(name).stem}.png"):
            if path.is_file():
                break
        else:
            raise params.ParamsError(f"{self.folder}: no depth map {Path(name).stem}.png for photo {name}")
        with Image.open(path) as picture:
            whole = picture.convert("F").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        left, top, side = box
        part = whole.crop((left, top, left + side, top + side))
        return np.asarray(part.resize((region.shape[1], region.shape[0]), Image.Resampling.BILINEAR))

    @staticmethod
    def stored(depth: np.ndarray) -> bytes:
        """16-bit PNG of a depth (H, W) in [0, 1]."""
        buffer = io.BytesIO()
        Image.fromarray(np.round(depth * DEEPEST).astype(np.uint16)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    @staticmethod
    def restored(data: bytes) -> np.ndarray:
        """(H, W) float32 in [0, 1] of what `stored` wrote."""
        with Image.open(io.BytesIO(data)) as picture:
            return (np.asarray(picture).astype(np.float64) / DEEPEST).astype(np.float32)
