"""params.yaml: every wrong key is named in one line with what is allowed."""

from __future__ import annotations

import pytest

from components import params
from components.restorer.config import RestorerParams
from tests.tiny import REPOSITORY, tiny_params

GOOD = tiny_params()["restorer"]


def test_the_repository_file_is_valid():
    assert params.load("restorer", RestorerParams, REPOSITORY / "params.yaml").steps > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 3}, r"restorer\.step: unknown key; did you mean 'steps'\? allowed: .*batch_size"),
        ({"steps": "many"}, r"restorer\.steps: input should be a valid integer, found 'many'"),
        ({"steps": 0}, r"restorer\.steps: .*greater than or equal to 1, found 0"),
        ({"widths": [1, 2]}, r"restorer\.widths: "),
    ],
)
def test_a_wrong_value_is_named(change, message):
    with pytest.raises(params.ParamsError, match=message) as caught:
        params.parse("restorer", {**GOOD, **change}, RestorerParams)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_the_one_that_is_named():
    misspelt = {("stepz" if k == "steps" else k): v for k, v in GOOD.items()}
    with pytest.raises(params.ParamsError, match=r"restorer\.stepz: unknown key; did you mean 'steps'"):
        params.parse("restorer", misspelt, RestorerParams)


def test_a_missing_key_is_named():
    with pytest.raises(params.ParamsError, match=r"restorer\.seed: missing"):
        params.parse("restorer", {k: v for k, v in GOOD.items() if k != "seed"}, RestorerParams)


@pytest.mark.parametrize(("text", "message"), [("a: [", "not valid YAML"), ("- 1", "expected sections")])
def test_a_broken_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(params.ParamsError, match=message) as caught:
        params.load("restorer", RestorerParams, path)
    assert "\n" not in str(caught.value)


def test_a_missing_section_or_file_is_named(tmp_path):
    with pytest.raises(params.ParamsError, match="not found"):
        params.load("restorer", RestorerParams, tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("ingest: {}", encoding="utf-8")
    with pytest.raises(params.ParamsError, match="section 'restorer' is missing"):
        params.load("restorer", RestorerParams, tmp_path / "params.yaml")
