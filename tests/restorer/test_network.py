"""The restorer: identity where nothing is wrong, what it hears and sees, files that load again."""

from __future__ import annotations

import pytest
import torch

from components.diagnosis import Diagnosis
from components.restorer import network
from components.restorer.conditioning import CONDITION, KNOWN, SEVERITIES, condition_vector, mirrored, misheard
from components.restorer.deblur import PRINTS

SHAPE = network.Shape((16, 16, 16), (1, 1, 1), 12)


@pytest.fixture
def trained() -> network.Restorer:
    """A network whose every weight does something."""
    torch.manual_seed(0)
    restorer = network.Restorer(SHAPE).eval()
    with torch.no_grad():
        for weight in restorer.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
        restorer.policy.weight.zero_()
        restorer.policy.bias.zero_()
    return restorer


def condition(**severities: float) -> torch.Tensor:
    findings = {k: {"severity": v} for k, v in severities.items()}
    return condition_vector(Diagnosis.model_validate({"findings": findings}))[None]


def test_a_new_network_is_the_identity():
    image = torch.rand(2, 3, 32, 48)
    assert torch.equal(network.Restorer(SHAPE)(image, torch.zeros(2, CONDITION)), image)


def test_a_clean_diagnosis_is_the_identity_whatever_the_weights(trained):
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(trained(image, condition()), image)
    assert not torch.equal(trained(image, condition(noise=50)), image)


def test_the_diagnosis_and_the_hidden_state_are_heard(trained):
    image = torch.rand(1, 3, 32, 32)
    assert not torch.allclose(trained(image, condition(noise=50)), trained(image, condition(haze=50)))
    plain = trained(image, condition(noise=50))
    assert torch.equal(trained(image, condition(noise=50), torch.zeros(1, 12)), plain)
    assert not torch.allclose(trained(image, condition(noise=50), torch.randn(1, 12)), plain)


def test_actions_change_the_effect(trained):
    image, told = torch.rand(1, 3, 32, 32), condition(blur=60)
    none = torch.zeros(1, network.ACTIONS)
    assert torch.equal(trained(image, told, None, none), trained(image, told))
    half = none.clone()
    half[0, -1] = -0.5
    expected = image + 0.5 * (trained(image, told) - image)
    assert torch.allclose(trained(image, told, None, half), expected, atol=1e-5)


def test_a_tile_knows_the_whole_photo(trained):
    """What the survey says of a window is what it says of the same place of the photo, and it matters."""
    features = torch.rand(1, 4, 16, 16)
    whole = network.at_window(features, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (32, 32))
    part = network.at_window(features, torch.tensor([[0.25, 0.5, 0.75, 1.0]]), (16, 16))
    assert torch.allclose(whole[..., 8:24, 16:], part, atol=1e-6)
    image, told = torch.rand(1, 3, 32, 32), condition(haze=60)
    window, prints = torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.zeros(1, PRINTS)
    dark, light = (network.Whole(torch.full((1, 3, 64, 64), value), window, prints) for value in (0.1, 0.9))
    assert not torch.allclose(trained(image, told, whole=dark), trained(image, told, whole=light))
    alone = network.Whole.of(image)
    assert torch.equal(trained(image, told), trained(image, told, whole=alone))


def test_saved_and_loaded_it_is_the_same(trained, tmp_path):
    network.save(trained, tmp_path)
    first = (tmp_path / network.WEIGHTS_FILE).read_bytes()
    network.save(network.load(tmp_path), tmp_path)
    assert (tmp_path / network.WEIGHTS_FILE).read_bytes() == first


def test_a_torn_file_is_one_line(trained, tmp_path):
    network.save(trained, tmp_path)
    weights = tmp_path / network.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(network.RestorerError, match="not a restorer") as caught:
        network.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_unknown_is_not_clean():
    assert condition_vector(Diagnosis())[KNOWN] == 1
    assert float(network.Restorer(SHAPE).gate(torch.zeros(1, CONDITION))) == 1


def test_what_is_misheard_is_a_finding_left_out_or_made_up():
    told, generator = condition(haze=50, noise=30)[0], torch.Generator().manual_seed(0)
    left_out = made_up = 0
    for _ in range(200):
        heard = misheard(told, generator)
        before, after = told[SEVERITIES] > 0, heard[SEVERITIES] > 0
        left_out += int((before & ~after).sum())
        made_up += int((after & ~before).sum())
        assert torch.equal(heard[SEVERITIES][before & after], told[SEVERITIES][before & after])
        assert heard[KNOWN] == 1
        assert float(heard.min()) >= 0
        assert float(heard.max()) <= 1
    assert 0.1 < left_out / 400 < 0.2
    assert 0.1 < made_up / 1000 < 0.2


def test_a_mirrored_photo_has_mirrored_angles():
    def told(angle: float) -> torch.Tensor:
        rain = {"severity": 50, "factors": {"angle_deg": angle}}
        return condition_vector(Diagnosis.model_validate({"findings": {"rain": rain}}))

    assert torch.allclose(mirrored(told(20)), told(-20), atol=1e-6)
    assert torch.equal(mirrored(condition(haze=50)[0]), condition(haze=50)[0])
