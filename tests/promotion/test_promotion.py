"""Registration, promotion, refusal, rollback and their record, on a real MLflow registry."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components import tracking
from components.promotion import promote as promotion
from components.promotion import versions
from components.promotion.gate import Verdict
from components.promotion.promote import promote
from components.promotion.register import register
from components.promotion.rollback import Rollback, rollback
from components.promotion.versions import PromotionError, list_models
from tests.flows.toy import PROMOTION, metrics
from tests.promotion.desk import audit_lines, champion_name, set_data


def test_the_same_content_is_one_version_with_its_origin(trained: Callable[..., str]) -> None:
    first = trained("a")
    assert trained("a") == first
    assert not register().created
    assert trained("b") != first
    tags = versions.version_tags(first)
    assert tags["dataset_digest"] == "d1"
    assert {"git_sha", "git_dirty", "dvc_lock", "params", "content_digest"} <= set(tags)
    assert tags["psnr_gain_db"] == "5.000000"
    found = tracking.client().get_model_version(tracking.MODEL_NAME, first)
    assert "| rain | 20.0 | 25.0 |" in found.description
    assert "macro_f1: 0.8" in found.description
    assert versions.aliases() == {"challenger": "2"}


def test_registration_links_the_runs(trained: Callable[..., str]) -> None:
    trained("a")
    store = tracking.client()
    experiment = store.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    run_id = store.create_run(experiment).info.run_id
    Path("models/reasoner/model.txt").write_text("other", encoding="utf-8")
    made = register(run_id, {"evaluate": "run-e", "ingest": None})
    found = store.get_model_version(tracking.MODEL_NAME, made.version)
    assert (found.run_id, found.tags["run_id.evaluate"]) == (run_id, "run-e")
    assert "run_id.ingest" not in found.tags
    logged = store.get_run(run_id).outputs.model_outputs
    assert [f"models:/{output.model_id}" for output in logged] == [found.source]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda: shutil.rmtree("models/reasoner"), "models/reasoner: not found; run `dvc repro` first"),
        (lambda: Path("reports/metrics.json").unlink(), "reports/metrics.json: not found"),
        (lambda: Path("reports/metrics.json").write_text("{"), "reports/metrics.json: not valid JSON"),
        (lambda: Path("reports/metrics.json").write_text("{}"), "restoration.all.psnr_restored is missing"),
    ],
)
def test_nothing_is_registered_from_half_a_pipeline(
    trained: Callable[..., str], spoil: Callable[[], object], says: str
) -> None:
    trained("a")
    spoil()
    with pytest.raises(PromotionError) as failure:
        register()
    assert says in str(failure.value)
    assert len(versions.all_versions()) == 1


def test_promotion_moves_the_aliases_and_is_recorded(trained: Callable[..., str], measured: list[Path]) -> None:
    first = trained("a")
    assert promote().action == "promoted"
    assert champion_name() == "a"
    assert measured == []
    second = trained("b")
    verdict = promote()
    assert (verdict.action, verdict.version, verdict.champion) == ("promoted", second, first)
    assert versions.aliases() == {"challenger": second, "champion": second, "previous_champion": first}
    # the champion was measured anew, from its own folder
    assert [(folder / "restorer" / "model.txt").read_text(encoding="utf-8") for folder in measured] == ["a"]
    again = promote()
    assert (again.accepted, again.action) == (True, "unchanged")
    lines = audit_lines()
    assert [line["action"] for line in lines] == ["promoted", "promoted"]
    assert (lines[1]["champion_before"], lines[1]["champion_after"]) == (first, second)
    assert versions.version_tags(second)["gate"] == "accepted"


def test_a_refusal_changes_nothing_and_is_recorded(trained: Callable[..., str], measured: list[Path]) -> None:
    trained("a")
    promote()
    worse = metrics(25.0)
    worse["restoration"] |= {"rain": worse["restoration"]["rain"] | {"psnr_restored": 24.0}}
    second = trained("b", worse)
    verdict = promote()
    assert (verdict.accepted, verdict.action) == (False, "refused")
    assert verdict.reasons[0].startswith("rain: 24.000 dB against the champion's 25.000 dB")
    assert champion_name() == "a"
    assert audit_lines()[-1]["action"] == "refused"
    assert audit_lines()[-1]["reasons"] == list(verdict.reasons)
    assert versions.version_tags(second)["gate"] == "refused"
    # asked again nothing is measured; under other limits it is
    assert promote() == Verdict(False, verdict.reasons, verdict.figures, second, "1", "unchanged")
    assert (len(measured), len(audit_lines())) == (1, 2)
    Path("params.yaml").write_text(yaml.safe_dump({"promotion": PROMOTION | {"max_psnr_loss_db": 1.5}}))
    assert promote().action == "promoted"
    assert len(measured) == 2


def test_figures_on_other_data_do_not_count(trained: Callable[..., str], measured: list[Path]) -> None:
    trained("a")
    set_data("d2")
    (reason,) = promote().reasons
    assert "measured on data/pairs d1, which is now d2" in reason
    assert measured == []


def test_a_dry_run_changes_nothing(trained: Callable[..., str], measured: list[Path]) -> None:
    version = trained("a")
    assert promote(dry_run=True).action == "would promote"
    assert versions.aliases() == {"challenger": version}
    assert "gate" not in versions.version_tags(version)
    assert not Path("audit/promotions.jsonl").exists()
    Path("params.yaml").write_text(yaml.safe_dump({"promotion": PROMOTION | {"min_macro_f1": 0.9}}))
    assert promote(dry_run=True).action == "would refuse"


def test_rollback_restores_and_sticks(trained: Callable[..., str], measured: list[Path]) -> None:
    for name in ("a", "b", "c"):
        trained(name)
        promote()
    assert rollback() == Rollback("3", "2")
    assert champion_name() == "b"
    assert versions.aliases()["previous_champion"] == "3"
    # the next run registers the same content again: it must not come back by itself
    assert trained("c") == "3"
    verdict = promote()
    assert not verdict.accepted
    assert "version 3 was rolled back on" in verdict.reasons[0]
    assert champion_name() == "b"
    assert rollback("1") == Rollback("2", "1")
    assert champion_name() == "a"
    assert rollback(1) == Rollback("1", "1")
    assert rollback("3").after == "3"
    assert not versions.version_tags("3")["rolled_back"]
    assert [line["action"] for line in audit_lines()].count("rolled back") == 3
    rows = {row["version"]: row for row in list_models()}
    assert rows["3"]["aliases"] == ["challenger", "champion"]
    assert (rows["3"]["verdict"], rows["2"]["verdict"]) == ("refused", "rolled back")
    assert rows["1"]["psnr_gain_db"] == 5.0


def test_a_rollback_that_cannot_be_is_one_line(trained: Callable[..., str], measured: list[Path]) -> None:
    with pytest.raises(PromotionError, match="no @champion to roll back"):
        rollback()
    trained("a")
    promote()
    with pytest.raises(PromotionError, match="version 1 is the first champion"):
        rollback()
    with pytest.raises(PromotionError, match=r"no version 7; there are: 1 \(`rnr models`\)"):
        rollback("7")
    trained("b")
    shutil.rmtree(tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/2"))
    with pytest.raises(tracking.NoSuchModel, match="its files are gone"):
        rollback("2")
    assert champion_name() == "a"


def test_an_empty_registry_is_one_line(desk: Path) -> None:
    with pytest.raises(PromotionError, match="there is no @challenger; `rnr run`"):
        promote()
    with pytest.raises(tracking.NoSuchModel, match=r"@champion: no such model in .*; `rnr run`") as failure:
        tracking.fetch_model()
    assert "\n" not in str(failure.value)
    assert list_models() == []


def test_two_promotions_at_once_promote_once(trained: Callable[..., str], measured: list[Path]) -> None:
    trained("a")
    verdicts: list[Verdict] = []
    start = threading.Barrier(2)

    def go() -> None:
        start.wait()
        verdicts.append(promote())

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(verdict.action for verdict in verdicts) == ["promoted", "unchanged"]
    assert len(audit_lines()) == 1


def test_a_crash_between_the_aliases_is_made_good(
    trained: Callable[..., str], measured: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("a")
    promote()
    trained("b")
    whole = versions.point

    def torn(alias: str, version: str) -> None:
        if alias == "champion":
            raise tracking.TrackingError("the store went away")
        whole(alias, version)

    monkeypatch.setattr(versions, "point", torn)
    with pytest.raises(tracking.TrackingError):
        promote()
    assert champion_name() == "a"
    monkeypatch.setattr(versions, "point", whole)
    assert promote().action == "promoted"
    assert versions.aliases() == {"challenger": "2", "champion": "2", "previous_champion": "1"}


def test_the_commands_say_it_in_one_line(
    desk: Path, trained: Callable[..., str], measured: list[Path], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("sys.argv", ["promote"])
    with pytest.raises(SystemExit, match="promote: reason-and-restore: there is no @challenger"):
        promotion.main()
    trained("a")
    assert promotion.main() == 0
    assert "version 1: promoted (champion before: none)" in capsys.readouterr().out
    trained("b", metrics(20.1))
    assert promotion.main() == 1
    assert "min_psnr_gain_db" in capsys.readouterr().out
