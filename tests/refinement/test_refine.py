"""The stage `refine` through its command: accepted or refused with reasons, resumed to the same bytes, photos."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PHOTOS
from tests.tiny import environment, stage, write_params

MODULE = "components.refinement.refine"
# so that nothing but what a test is about can refuse
LENIENT = {
    "max_psnr_loss_db": 9.0, "max_type_psnr_loss_db": 9.0, "max_ssim_loss": 1.0, "max_gmsd_rise": 1.0,
    "max_vif_loss": 9.0, "max_scorer_rise": 700.0, "max_peaks_rise": 9.0, "max_edge_change": 9.0,
    "max_colour_shift": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(readied) -> tuple[str, bytes, dict]:
    """Log, weights and figures of a refinement in one go."""
    write_params(readied, refine=LENIENT)
    done = stage(readied, MODULE)
    figures = json.loads((readied / "metrics/refine.json").read_text(encoding="utf-8"))
    return done.stdout, (readied / "models/restorer-refined/model.safetensors").read_bytes(), figures


def test_what_is_accepted_goes_on(readied, undisturbed):
    said, weights, figures = undisturbed
    assert figures["accepted"] == 1.0 and "refine: accepted" in said
    assert weights != (readied / "models/restorer/model.safetensors").read_bytes()
    for name in ("val_psnr", "val_ssim", "val_gmsd", "val_vif", "val_scorer", "val_peaks", "val_edges", "val_colour"):
        assert {f"{name}_supervised", f"{name}_refined"} <= figures.keys()
    assert {"val_psnr_anew_refined", "val_psnr_anew_supervised", "scorer_error"} <= figures.keys()
    with sqlite3.connect(readied / "mlflow.db") as store:
        logged = {key for (key,) in store.execute("select key from latest_metrics")}
    wanted = {"reward", "reward_severity", "reward_rise", "reward_fidelity", "reward_quality", "reward_judge"}
    assert (
        wanted | {"kl", "kl_weight", "policy_kl", "goes_on", "group_spread", "guard_psnr", "val_psnr_anew_refined"}
        <= logged
    )
    assert len(list((readied / "work/refine").glob("*/samples/step-*.png"))) == 2


# no tether, no clean side, and steps a thousand times too long
WILD = {"steps": 1, "learning_rate": 0.3, "kl_weight": 0.0, "weight_fidelity": 0.0, "weight_supervised": 0.0}


def test_what_fails_a_guard_is_refused_and_the_supervised_goes_on(readied, undisturbed, tmp_path):
    folder = copy_of(readied, tmp_path)
    strict = {"max_psnr_loss_db": 99.0, "max_vif_loss": 0.0, "max_gmsd_rise": 0.0}
    write_params(folder, refine={**LENIENT, **WILD, **strict})
    done = stage(folder, MODULE)
    assert "refine: guard failed: " in done.stdout
    assert "refine: refused, the supervised restorer goes on" in done.stdout
    figures = json.loads((folder / "metrics/refine.json").read_text(encoding="utf-8"))
    assert figures["accepted"] == 0.0
    refined, supervised = (folder / f"models/{name}/model.safetensors" for name in ("restorer-refined", "restorer"))
    assert refined.read_bytes() == supervised.read_bytes()


@pytest.mark.slow
def test_guard_pairs_that_lose_end_the_training(readied, undisturbed, tmp_path):
    folder = copy_of(readied, tmp_path)
    write_params(folder, refine={**LENIENT, **WILD, "steps": 3, "max_psnr_loss_db": 0.0, "max_ssim_loss": 0.0})
    done = stage(folder, MODULE)
    assert "refine: the guard pairs lost at step 1; back to step 0" in done.stdout
    assert "refine step 2/3" not in done.stdout
    refined, supervised = (folder / f"models/{name}/model.safetensors" for name in ("restorer-refined", "restorer"))
    assert refined.read_bytes() == supervised.read_bytes()


def copy_of(readied: Path, target: Path) -> Path:
    folder = target / "workspace"
    shutil.copytree(readied, folder, symlinks=True, ignore=shutil.ignore_patterns("work", "mlflow.db"))
    return folder


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_bytes(readied, undisturbed, tmp_path):
    folder = copy_of(readied, tmp_path)
    log = tmp_path / "log"
    with open(log, "w", encoding="utf-8") as out:
        argv = [sys.executable, "-m", MODULE]
        run = subprocess.Popen(argv, cwd=folder, env=environment(), stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 300
        while not list((folder / "work/refine").glob("*/last.pt")):
            assert time.monotonic() < deadline and run.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.01)
    finally:
        run.kill()
        run.wait()
    done = stage(folder, MODULE)
    assert "refine: resuming from step 1" in done.stdout or "refine: resuming from step 2" in done.stdout
    assert (folder / "models/restorer-refined/model.safetensors").read_bytes() == undisturbed[1]


@pytest.mark.slow
def test_a_folder_of_real_photos(readied, tmp_path):
    folder = copy_of(readied, tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(PHOTOS.glob("*night*.jpg"))[:2]:
        shutil.copy(path, photos)
    (photos / "torn.jpg").write_bytes(sorted(PHOTOS.glob("*.jpg"))[0].read_bytes()[:900])
    write_params(folder, refine={**LENIENT, "steps": 1, "photos": str(photos), "photos_share": 0.5})
    done = stage(folder, MODULE, check=False)
    assert "refine: left out: " in done.stderr and "torn.jpg" in done.stderr
    # the reasoner may well find nothing wrong with them; then that is what is said
    if done.returncode:
        assert done.stderr.splitlines()[-1].startswith("refine: refine.photos: the reasoner finds nothing")
    else:
        assert json.loads((folder / "metrics/refine.json").read_text(encoding="utf-8"))["accepted"] == 1.0
    write_params(folder, refine={"photos": str(tmp_path / "nowhere")})
    done = stage(folder, MODULE, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("refine: refine.photos: ")
