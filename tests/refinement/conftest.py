"""A workspace that is ready for refinement: pairs with priors of the pretrained reasoner, and a small restorer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.refinement.config import RefineParams
from components.restorer import network
from tests.tiny import tiny_params, with_priors


@pytest.fixture(scope="session")
def config() -> RefineParams:
    # named here, so that golden figures do not follow the defaults
    learning = {"explore_sigma": 0.12, "kl_weight": 0.3, "kl_target": 0.5, "kl_unlabelled": 4.0}
    weights = {"supervised": 0.3, "severity": 1.0, "rise": 2.0, "fidelity": 1.5, "quality": 0.1, "judge": 0.0}
    pinned = learning | {f"weight_{name}": value for name, value in weights.items()}
    return RefineParams.model_validate(tiny_params()["refine"] | pinned)


def small_restorer(embedding: int) -> network.Restorer:
    """Random weights that do something to a picture, the same for the same seed."""
    torch.manual_seed(5)
    restorer = network.Restorer(network.Shape((16, 16, 16), (1, 1, 1), embedding))
    with torch.no_grad():
        for name, weight in restorer.named_parameters():
            if name in ("affine.weight", "residual.weight", "decode1.0.modulation.weight"):
                weight.normal_(std=0.01)
            # it brightens: each colour gains a fifth of itself
            if name == "affine.bias":
                weight[[0, 4, 8]] = 0.2
    return restorer.eval().to(memory_format=torch.channels_last)


@pytest.fixture(scope="session")
def readied(workspace, tmp_path_factory) -> Path:
    """What the stage `refine` finds: data with priors, models/reasoner (pretrained), models/restorer (random)."""
    folder = with_priors(workspace, tmp_path_factory.mktemp("refinement") / "workspace")
    from components.reasoner.reader import Reasoner

    width = Reasoner(folder / "models/reasoner").model.config.text_config.hidden_size
    network.save(small_restorer(width), folder / "models/restorer")
    return folder
