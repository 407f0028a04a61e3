"""The packaged model, loaded in a fresh process away from the repository; its two networks are stood in for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components import tracking
from components.promotion import promote as promotion
from components.serving import package

STAND_IN = Path(__file__).with_name("stand_in.py")

ASK = """
import base64, io, json, sys
import mlflow, numpy as np, pandas as pd
from PIL import Image

model = mlflow.pyfunc.load_model(sys.argv[1])
buffer = io.BytesIO()
exif = Image.Exif()
exif[0x0112] = 6  # turned by a quarter: the answer must be upright
Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(buffer, "JPEG", exif=exif)
data = buffer.getvalue()

def ask(value, **params):
    answer = model.predict(pd.DataFrame({"image": [value]}), params=params or None)
    with Image.open(io.BytesIO(base64.b64decode(answer["image"][0]))) as image:
        pixel = image.convert("RGB").getpixel((0, 0))[0]
        size = image.size
    haze = json.loads(answer["diagnosis"][0])["before"]["findings"]["haze"]["severity"]
    return {"columns": list(answer.columns), "size": size, "pixel": pixel, "haze": haze, "kept": answer["kept"][0]}

def complaint(value, **params):
    try:
        ask(value, **params)
    except Exception as error:
        return str(error)

text = base64.b64encode(data).decode()
import components
print(json.dumps({
    "bytes": ask(data), "text": ask(text), "edited": ask(text, edits='{"haze": 7}'), "off": ask(text, strength=0.0),
    "wrong": [complaint("no base64!"), complaint(text, edits="[1]"), complaint(base64.b64encode(b"no photo").decode())],
    "components": components.__path__[0],
}))
"""


@pytest.fixture(scope="module")
def version_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registered version made of this repository's code with a stand-in for inference."""
    place = tmp_path_factory.mktemp("package")
    code = place / "copy" / "components"
    shutil.copytree(package.COMPONENTS, code, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(STAND_IN, code / "inference.py")
    for name, part in (("reasoner", "reasoner"), ("restorer-refined", "restorer")):
        (place / name).mkdir()
        (place / name / "model.txt").write_text(part, encoding="utf-8")
    (place / "reports").mkdir()
    (place / "reports" / "metrics.json").write_text("{}", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
        parts = (place / "reasoner", place / "restorer-refined", place / "reports")
        version = package.log(*parts, None, {"git_sha": "abc"}, "# Card", components=code)
        found = tracking.client().get_model_version(tracking.MODEL_NAME, version)
        assert (found.description, found.tags["git_sha"]) == ("# Card", "abc")
        return tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/{version}")


def test_it_answers_in_a_fresh_process_away_from_the_repository(version_folder: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", ASK, str(version_folder)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "Add type hints" not in run.stderr
    said = json.loads(run.stdout.splitlines()[-1])
    assert said["components"] == str(version_folder / "code" / "components")
    plain = {"columns": ["image", "diagnosis", "kept"], "size": [20, 30], "pixel": 55, "haze": 40.0, "kept": ""}
    assert said["bytes"] == said["text"] == plain
    assert said["edited"]["haze"] == 7
    assert (said["off"]["kept"], said["off"]["pixel"]) == ("strength is 0", 200)
    no_text, no_object, no_photo = said["wrong"]
    assert "not base64" in no_text
    assert "edits" in no_object
    assert no_photo


def test_it_is_code_and_models_with_signature_and_example(version_folder: Path) -> None:
    assert not list(version_folder.rglob("*.pkl"))
    assert (version_folder / tracking.MODELS_IN_VERSION / "restorer" / "model.txt").exists()
    assert (version_folder / "artifacts" / "reports" / "metrics.json").exists()
    assert (version_folder / "input_example.json").exists()
    described = (version_folder / "MLmodel").read_text(encoding="utf-8")
    assert "strength" in described
    assert "signature" in described
    assert "torch==" in (version_folder / "requirements.txt").read_text(encoding="utf-8")


def test_smoke_test_measures_and_names_what_is_broken(version_folder: Path, tmp_path: Path) -> None:
    good = promotion.smoke_test(version_folder, 120)
    assert good.error is None
    assert 0 < (good.seconds_per_megapixel or 0) < 60
    broken = tmp_path / "broken"
    shutil.copytree(version_folder, broken)
    shutil.rmtree(broken / tracking.MODELS_IN_VERSION / "restorer")
    bad = promotion.smoke_test(broken, 120)
    assert bad.seconds_per_megapixel is None
    assert "restorer/model.txt" in (bad.error or "")
    assert "no answer within 0 s" in (promotion.smoke_test(version_folder, 0).error or "")
