"""Load a registered version and restore one photo with it: proof that it works away from the repository.

    python components/serving/smoke.py FOLDER_OF_THE_VERSION

Run by its path, so that `components` comes from the version's own code. The last line of its output is JSON:
seconds_per_megapixel of the second of two photos (the first one warms up), and load_s.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import sys
import time

# 0.25 megapixels: small enough for a slow machine, large enough that fixed costs do not dominate
WIDTH, HEIGHT = 640, 400


def photo() -> str:
    """A hazy gradient with a sharp checkerboard, as base64 PNG; the same on every call."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    board = ((x // 32 + y // 32) % 2) * 60
    pixels = np.stack([100 + board, 110 + x * 80 // WIDTH, 120 + y * 90 // HEIGHT], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def main() -> None:
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # the folder of this file would shadow modules of the same name
    sys.path.pop(0)
    import mlflow
    import pandas as pd

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    started = time.perf_counter()
    model = mlflow.pyfunc.load_model(sys.argv[1])
    loaded = time.perf_counter()
    frame = pd.DataFrame({"image": [photo()]})
    model.predict(frame)
    warm = time.perf_counter()
    answer = model.predict(frame, params={"strength": 1.0})
    seconds = time.perf_counter() - warm
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(answer["image"][0]))) as image:
        if image.size != (WIDTH, HEIGHT):
            sys.exit(f"the restored photo has {image.size} pixels, the input ({WIDTH}, {HEIGHT})")
    json.loads(answer["diagnosis"][0])
    megapixels = WIDTH * HEIGHT / 1e6
    print(json.dumps({"seconds_per_megapixel": round(seconds / megapixels, 4), "load_s": round(loaded - started, 2)}))


if __name__ == "__main__":
    main()
