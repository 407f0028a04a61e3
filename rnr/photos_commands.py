"""`rnr restore`, `rnr diagnose`, `rnr evaluate`: what a person with photos needs."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import rnr
from components import storage, tracking
from components.diagnosis import TYPES, Diagnosis
from components.photos.decode import Photo, PhotoError, decode, find_photos
from components.photos.encode import encode
from components.refinement import delivered
from rnr import console

if TYPE_CHECKING:
    from components.inference import Models, Restored

SIDECAR_SUFFIX = ".diagnosis.json"
MEASURES = ("psnr_degraded", "psnr_restored", "ssim_degraded", "ssim_restored")
# of the restorer from before refinement, where both are at hand
UNREFINED = ("psnr_unrefined", "ssim_unrefined")
SUPERVISED, REFINED = Path("models/restorer"), delivered.REFINED


@dataclass(frozen=True)
class Job:
    """One photo to read, and the path below OUT (or in a listing) that it keeps."""

    source: Path
    name: Path


def load_models(args: argparse.Namespace, restores: bool = True) -> Models:
    """The models of --model on --device; without `restores` a reasoner alone will do. Raises WrongUse."""
    tracking.telemetry_off()
    from components.inference import ModelRefError

    try:
        return rnr.load(args.model, args.device, restores)
    except ModelRefError as error:
        raise console.WrongUse(str(error)) from None


def list_jobs(inputs: list[str], out: Path | None = None) -> tuple[list[Job], int]:
    """The photos that the inputs stand for, each once, and how many inputs failed (named on stderr).

    What lies below `out` is the work of an earlier run, not an input.
    """
    jobs: dict[tuple[Path, Path], Job] = {}
    failed = 0
    for given in map(Path, inputs):
        try:
            paths = find_photos([given])
        except PhotoError as error:
            console.warn(f"rnr: {console.one_line(error)}")
            failed += 1
            continue
        for path in paths:
            if out is not None and given.is_dir() and _lies_below(path, out) and not _lies_below(given, out):
                continue
            name = path.relative_to(given) if given.is_dir() else Path(path.name)
            jobs.setdefault((path.resolve(), name), Job(path, name))
    return list(jobs.values()), failed


def _lies_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def check_targets(jobs: list[Job], out: Path) -> None:
    """Every job has a file of its own below `out`, and none of them is an input. Raises WrongUse."""
    sources = {job.source.resolve() for job in jobs}
    owners: dict[Path, Path] = {}
    for job in jobs:
        check_inside(out, out / job.name)
        for target in (out / job.name, sidecar(out / job.name)):
            if target.resolve() in sources:
                raise console.WrongUse(f"{out}: would overwrite the input {target}; choose another folder for -o")
            other = owners.setdefault(target.resolve(), job.source)
            if other != job.source:
                raise console.WrongUse(f"{other} and {job.source} would both be written to {target}; restore one apart")


def check_inside(out: Path, target: Path) -> None:
    """A link among the folders below `out` must not lead the writer out of it. Raises WrongUse.

    A link in the file's own place does no harm: files are moved into place, which replaces it.
    """
    if not _lies_below(target.parent, out):
        where = target.parent.resolve()
        raise console.WrongUse(f"{target}: leads out of {out} to {where}; remove the link or choose another folder")


def prepare_out(out: Path) -> None:
    """Make the folder and try to write in it. Raises WrongUse."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        reason = "not a folder" if isinstance(error, (FileExistsError, NotADirectoryError)) else error.strerror
        raise console.WrongUse(f"{out}: cannot be written to: {reason}") from None


def sidecar(path: Path) -> Path:
    """fog.jpg -> fog.jpg.diagnosis.json: the whole name, since fog.jpg and fog.png may lie side by side."""
    return path.with_name(path.name + SIDECAR_SUFFIX)


def restore(args: argparse.Namespace) -> int:
    """`rnr restore`: every photo it can; exit code 1 when some failed."""
    out = Path(args.out)
    edits = dict(args.edit or [])
    if len(edits) != len(args.edit or []):
        raise console.WrongUse("--edit: each degradation at most once")
    jobs, failed = list_jobs(args.inputs, out)
    check_targets(jobs, out)
    prepare_out(out)
    if not jobs:
        return console.SOME_FAILED
    models = load_models(args)
    rows = []
    for job in console.progress(jobs, len(jobs), "restoring"):
        try:
            told = restore_one(models, job, out / job.name, edits, args.strength)
        except Exception as error:  # one bad photo must not cost the others; it is named
            console.warn(_failure(job.source, error))
            failed += 1
            continue
        if args.json:
            console.put_json(told)
        why = told["kept"] or told["weakened"] or ""
        rows.append((str(job.name), _brief(told["before"]), _brief(told["after"]), f"{told['strength']:g}", why))
    if not args.json and rows:
        console.put_table(("photo", "before", "after", "strength", "held back because"), rows)
        print(f"{len(rows)} written to {out}, {failed} failed")
    return console.SOME_FAILED if failed else console.OK


def restore_one(models: Models, job: Job, target: Path, edits: dict[str, float], strength: float) -> dict:
    """Write the restored photo and its sidecar; returns what the sidecar says, with the paths."""
    photo = decode(job.source, deep=True)
    result = models.restore(photo.pixels, edits or None, strength)
    # the pixels of a very large photo need not wait in memory while the restored ones are packed
    photo = replace(photo, pixels=result.image)
    told = write_restored(job.source, target, photo, result, edits, strength)
    return {"path": str(job.source), "out": str(target), **told}


def write_restored(
    source: Path, target: Path, photo: Photo, result: Restored, edits: dict[str, float], strength: float
) -> dict:
    """The result of restoring `photo`, read from `source`, as the file `target`, and its sidecar; what that says."""
    if result.kept:
        # do no harm: the very file, not its pixels compressed once more
        with storage.whole_file(target) as part:
            shutil.copyfile(source, part)
    else:
        encode(target, result.image, photo)
    told = {**result.told(), "edits": edits, "strength_asked": strength, "notes": list(photo.notes)}
    storage.write_json(sidecar(target), told)
    return told


def diagnose(args: argparse.Namespace) -> int:
    """`rnr diagnose`: one JSON object a line, or a table and the reasoning."""
    jobs, failed = list_jobs(args.inputs)
    if not jobs:
        return console.SOME_FAILED
    models = load_models(args, restores=False)
    rows, reasons = [], []
    for job in console.progress(jobs, len(jobs), "diagnosing"):
        try:
            photo = decode(job.source)
            diagnosis = models.diagnose([photo.pixels])[0]
        except Exception as error:  # one bad photo must not cost the others; it is named
            console.warn(_failure(job.source, error))
            failed += 1
            continue
        told = _as_dict(diagnosis)
        if args.json:
            console.put_json({"path": str(job.source), **told, "notes": list(photo.notes)})
        rows.append((str(job.source), told["scene"] or "-", _brief(told), ", ".join(told["objects"]) or "-"))
        reasons.append((job.source, told["reasoning"], photo.notes))
    if not args.json and rows:
        console.put_table(("photo", "scene", "findings (severity 1-100)", "objects"), rows)
        for source, reasoning, notes in reasons:
            print(f"\n{console.printable(str(source))}")
            for line in [*reasoning, *(f"Note: {note}." for note in notes)]:
                print(f"  {console.printable(line)}")
    return console.SOME_FAILED if failed else console.OK


def evaluate(args: argparse.Namespace) -> int:
    """`rnr evaluate`: pairs by file name, whatever the suffix; scores and severities before and after."""
    clean, degraded = Path(args.clean), Path(args.degraded)
    for option, folder in (("--clean", clean), ("--degraded", degraded)):
        if not folder.is_dir():
            raise console.WrongUse(f"{option} {folder}: no such folder")
    pairs, failed = match_names(clean, degraded)
    if not pairs:
        raise console.Failed(f"no photo in {degraded} has the name of one in {clean}")
    models = load_models(args)
    from components.evaluation.measure import evaluate_folders

    unrefined = before_refinement(models)
    measures = (*MEASURES, *(UNREFINED if unrefined else ()))
    rows = []
    for name, degraded_path, clean_path in console.progress(pairs, len(pairs), "evaluating"):
        try:
            found = [(name, decode(degraded_path).pixels, decode(clean_path).pixels)]
            row = next(iter(evaluate_folders(models, found, unrefined)))
        except Exception as error:  # one bad photo must not cost the others; it is named
            row = {"name": name, "error": _failure(degraded_path, error).removeprefix("rnr: ")}
        if "error" in row:
            console.warn(f"rnr: {name}: {console.one_line(row['error'])}")
            failed += 1
        else:
            rows.append(row)
    means = {m: sum(row[m] for row in rows) / len(rows) for m in measures} if rows else {}
    if args.json:
        console.put_json({"photos": rows, "mean": means, "failed": failed})
    elif rows:
        put_evaluation(rows, means)
    return console.SOME_FAILED if failed else console.OK


def before_refinement(models: Models) -> Models | None:
    """The models from before refinement, where the restorer in use is the one that the pipeline in this folder
    refined; else None."""
    if not (SUPERVISED.is_dir() and REFINED.is_dir()):
        return None
    from components.inference import Models as Pair
    from components.reasoner.model import ReasonerError
    from components.reasoner.reader import Reasoner
    from components.restorer import network

    try:
        refined, supervised = network.load(REFINED).state_dict(), network.load(SUPERVISED, models.device)
        joint = delivered.reasoner_of(REFINED) != delivered.REASONER
        reasoner = Reasoner(delivered.REASONER, models.device) if joint else models.reasoner
    except (network.RestorerError, ReasonerError):
        return None
    own = models.restorer.state_dict() if models.restorer else {}
    if own.keys() != refined.keys() or any(not value.cpu().equal(refined[name]) for name, value in own.items()):
        return None
    return Pair(reasoner, supervised, models.device)


def match_names(clean: Path, degraded: Path) -> tuple[list[tuple[str, Path, Path]], int]:
    """(name, degraded, clean) of the photos whose path below the folder agrees up to the suffix, and how many do
    not, each told on stderr. Raises Failed for an empty folder, WrongUse where one folder has a name twice."""
    named: list[dict[str, Path]] = []
    for folder in (clean, degraded):
        try:
            paths = find_photos([folder])
        except PhotoError as error:
            raise console.Failed(str(error)) from None
        names: dict[str, Path] = {}
        for path in paths:
            other = names.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
            if other != path:
                raise console.WrongUse(f"{other} and {path}: the same name twice; pairs are matched by name")
        named.append(names)
    alone = sorted(named[0].keys() ^ named[1].keys())
    for name in alone:
        console.warn(f"rnr: {name}: no photo of this name in {degraded if name in named[0] else clean}")
    both = sorted(named[0].keys() & named[1].keys())
    return [(name, named[1][name], named[0][name]) for name in both], len(alone)


def put_evaluation(rows: list[dict], means: dict[str, float]) -> None:
    """One line a photo and the mean over all; with the restorer from before refinement beside the refined one."""
    columns = {"psnr_degraded": "PSNR degraded", "psnr_unrefined": "PSNR unrefined", "psnr_restored": "PSNR restored"}
    columns |= {"ssim_degraded": "SSIM degraded", "ssim_unrefined": "SSIM unrefined", "ssim_restored": "SSIM restored"}
    told = {"severities_before": "severities before", "severities_unrefined": "unrefined", "severities_after": "after"}
    columns = {name: head for name, head in columns.items() if name in means}
    told = {name: head for name, head in told.items() if name in rows[0]}
    table = [(row["name"], *(row[m] for m in columns), *(_levels(row[s]) for s in told)) for row in rows]
    table.append((f"mean of {len(rows)}", *(means[m] for m in columns), *("" for _ in told)))
    console.put_table(("photo", *columns.values(), *told.values()), table)


def _as_dict(diagnosis: Diagnosis) -> dict:
    return diagnosis.model_dump(mode="json")


def _brief(told: dict) -> str:
    """haze 62, noise 30."""
    return _levels({kind: told["findings"][kind]["severity"] for kind in TYPES if kind in told["findings"]})


def _levels(severities: dict[str, float]) -> str:
    return ", ".join(f"{kind} {value:.0f}" for kind, value in severities.items() if value >= 1) or "clean"


def _failure(source: Path, error: Exception) -> str:
    """One line that names the photo once."""
    if isinstance(error, PhotoError):
        return f"rnr: {console.one_line(error)}"
    if isinstance(error, OSError) and error.strerror:
        return f"rnr: {source}: {os.fspath(error.filename or '')}: {error.strerror}"
    return f"rnr: {source}: {type(error).__name__}: {console.one_line(error)}"
