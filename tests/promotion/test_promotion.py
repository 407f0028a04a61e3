"""Registration, promotion, refusal, rollback and their record, on a real MLflow registry."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from components import tracking
from components.promotion import promote as promotion
from components.promotion import record, versions
from components.promotion.gate import Verdict
from components.promotion.promote import promote
from components.promotion.register import register
from components.promotion.rollback import Rollback, rollback
from components.promotion.versions import PromotionError, list_models
from components.refinement import delivered
from components.tracking import lineage
from tests.flows.toy import PROMOTION, dvc, metrics
from tests.promotion.desk import audit_lines, champion_name, set_data


def test_the_same_content_is_one_version_with_its_origin(trained: Callable[..., str]) -> None:
    first = trained("a")
    assert trained("a") == first
    assert not register().created
    assert trained("b") != first
    tags = versions.version_tags(first)
    assert tags["dataset_digest"] == lineage.folder_digest("data/pairs")
    assert {"git_sha", "git_dirty", "dvc_lock", "params", "files_digest"} <= set(tags)
    assert tags["psnr_gain_db"] == "5.000000"
    found = tracking.client().get_model_version(tracking.MODEL_NAME, first)
    assert "| rain | 5 | 20.0 | 25.0 |" in found.description
    card = tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/{first}") / "artifacts/reports/model_card.md"
    assert card.read_text(encoding="utf-8").startswith(found.description)
    assert "macro_f1: 0.8" in found.description
    assert versions.aliases() == {"challenger": "2"}


def test_a_reasoner_refined_with_the_restorer_is_the_one_that_is_registered(
    desk: Path, trained: Callable[..., str]
) -> None:
    alone = trained("one")
    inside = desk / "models/restorer-refined" / delivered.INSIDE
    inside.mkdir()
    (inside / "model.txt").write_text("refined", encoding="utf-8")
    version = register().version
    assert version != alone
    models = versions.fetch_whole(version) / tracking.MODELS_IN_VERSION
    assert (models / "reasoner/model.txt").read_text(encoding="utf-8") == "refined"
    assert [path.name for path in (models / "restorer").iterdir()] == ["model.txt"]
    shutil.rmtree(inside)
    assert register().version == alone


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
    # the report that came with it is not taken on trust
    assert [folder.parent.name for folder in measured] == ["artifacts"]
    second = trained("b")
    verdict = promote()
    assert (verdict.action, verdict.version, verdict.champion) == ("promoted", second, first)
    assert versions.aliases() == {"challenger": second, "champion": second, "previous_champion": first}
    # both were measured anew, each from its own folder, on the data that lies here
    names = [(folder / "restorer" / "model.txt").read_text(encoding="utf-8") for folder in measured]
    assert names == ["a", "b", "a"]
    assert verdict.data == lineage.folder_digest("data/pairs")
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
    assert promote() == Verdict(False, verdict.reasons, verdict.figures, second, "1", "unchanged", verdict.data)
    assert (len(measured), len(audit_lines())) == (3, 2)
    Path("params.yaml").write_text(yaml.safe_dump({"promotion": PROMOTION | {"max_psnr_loss_db": 1.5}}))
    assert promote().action == "promoted"
    assert len(measured) == 5


def test_both_are_measured_on_the_data_of_dvc_lock_or_not_at_all(
    trained: Callable[..., str], measured: list[Path]
) -> None:
    trained("a")
    promote()
    trained("b")
    was = Path("dvc.lock").read_text(encoding="utf-8")
    digest = set_data("d2")
    assert promote(dry_run=True).data == digest
    assert len(measured) == 3
    Path("dvc.lock").write_text(was, encoding="utf-8")
    with pytest.raises(PromotionError, match=r"what lies here \(.*\) is not what dvc.lock names .*; `dvc checkout"):
        promote()
    shutil.rmtree("data/pairs")
    with pytest.raises(PromotionError, match="data/pairs: not here, and both models are measured on it"):
        promote()
    assert champion_name() == "a"


def test_a_report_that_flatters_is_not_believed(trained: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "measure", lambda folder: metrics(20.1))
    trained("a", metrics(30.0))
    verdict = promote()
    assert "PSNR gain +0.100 dB" in verdict.reasons[0]
    assert verdict.figures["psnr_gain_db_registered"] == 10.0


def test_files_changed_after_registration_are_no_champion(trained: Callable[..., str], measured: list[Path]) -> None:
    trained("a")
    promote()
    version = trained("b")
    folder = tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/{version}")
    (folder / "artifacts/models/restorer/model.txt").write_text("x", encoding="utf-8")
    with pytest.raises(PromotionError, match=r"version 2: its files in .* are not those that were registered"):
        promote()
    assert champion_name() == "a"


def test_dvc_names_a_folder_by_the_same_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a-b/x", "a/x", "a.txt", "z"):
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).write_text(name, encoding="utf-8")
    dvc("init", "-q", "--no-scm")
    dvc("add", "-q", "top")
    known = yaml.safe_load(Path("top.dvc").read_text(encoding="utf-8"))["outs"][0]["md5"]
    assert lineage.folder_digest("top") == known


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
    with pytest.raises(PromotionError, match=r"version 2 never was the champion: .* earlier champions: none"):
        rollback("2")
    promote()
    shutil.rmtree(tracking.fetch_version(f"models:/{tracking.MODEL_NAME}/1"))
    with pytest.raises(tracking.NoSuchModel, match="its files are gone"):
        rollback()
    assert champion_name() == "b"


def test_an_empty_registry_is_one_line(desk: Path) -> None:
    with pytest.raises(PromotionError, match="there is no @challenger; `rnr run`"):
        promote()
    with pytest.raises(tracking.NoSuchModel, match=r"@champion: no such model in .*; `rnr run`") as failure:
        tracking.fetch_model()
    assert "\n" not in str(failure.value)
    assert list_models() == []


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


def test_a_champion_moved_by_hand_or_by_a_crash_is_put_on_record(
    trained: Callable[..., str], measured: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("a")

    def killed(*args: object, **facts: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            promote()
    assert champion_name() == "a"
    assert promote().action == "unchanged"
    (entry,) = audit_lines()
    assert (entry["action"], entry["champion_before"], entry["champion_after"]) == ("found moved", None, "1")
    trained("b")
    versions.point("champion", "2")
    assert "moved by hand" in record.faults(record.read(), "2")[0]
    assert rollback("1") == Rollback("2", "1")
    assert [line["action"] for line in audit_lines()] == ["found moved", "found moved", "rolled back"]
    assert record.faults(record.read(), "1") == []


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
