"""`rnr synthesize`: degrade photos by a known recipe, replay a stored pair, draw sheets to judge the physics by.

rnr synthesize sharp/ -o foggy/ --add haze=60 --add noise=20
rnr synthesize sharp/ -o cdd11/ --preset cdd11 --seed 3
rnr synthesize --replay 0123456789ab-00007 -o out/
rnr synthesize --gallery sheets/
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path

import numpy as np

from components import storage
from components.photos.decode import PhotoError, decode
from rnr import console
from rnr.photos_commands import Job, check_inside, list_jobs, prepare_out

RECIPE_SUFFIX = ".recipe.json"
GALLERY_PHOTOS = (
    "data/photos/roman-arena-and-cars.jpg",
    "data/photos/pine-forest-low-sun.jpg",
    "data/photos/shepherd-dog-on-grass.jpg",
    "data/photos/loft-leather-sofas.jpg",
)
GALLERY_SIZE = (320, 200)


def command(args: argparse.Namespace) -> int:
    """`rnr synthesize` in one of its three forms."""
    forms = [name for name in ("replay", "gallery") if getattr(args, name)]
    if len(forms) > 1:
        raise console.WrongUse("--replay and --gallery exclude each other")
    if forms == ["replay"]:
        return replay(args)
    if forms == ["gallery"]:
        return gallery(args)
    if not args.inputs or not args.out:
        raise console.WrongUse("synthesize: photos and -o OUT are needed (or --replay ROW, or --gallery DIR)")
    if args.add and args.preset:
        raise console.WrongUse("--add and --preset exclude each other")
    return degrade(args)


def make_recipe(clean: np.ndarray, name: str, number: int, args: argparse.Namespace) -> list[dict]:
    """The recipe of one photo: the wanted severities, a published protocol, or a random mixture of our own."""
    import torch

    from components.degradations import presets, severity
    from components.degradations import recipe as recipes

    # a photo's recipe does not depend on the others beside it
    seed = args.seed * 1_000_003 + zlib.crc32(name.encode())
    generator = torch.Generator().manual_seed(seed)
    if args.add:
        wanted = dict(args.add)
        return [
            severity.step_at(clean, kind, wanted[kind], seed + place)[0]
            for place, kind in enumerate(k for k in recipes.NATURE if wanted.get(k, 0) > 0)
        ]
    if args.preset:
        return presets.draw(args.preset, number, generator)[1]
    count = 1 + int(torch.randint(3, (), generator=generator))
    return recipes.sample_recipe(recipes.sample_types(count, generator), generator)


def degrade(args: argparse.Namespace) -> int:
    """Every photo it can, as PNG (another codec would add damage of its own), its recipe beside it."""
    from components.degradations import severity
    from components.degradations.recipe import apply_recipe
    from components.diagnosis import TYPES

    out = Path(args.out)
    jobs, failed = list_jobs(args.inputs, out)
    owners: dict[Path, Job] = {}
    for job in jobs:
        other = owners.setdefault(_target(out, job), job)
        if other is not job:
            raise console.WrongUse(f"{other.source} and {job.source} would both be written to {_target(out, job)}")
        check_inside(out, _target(out, job))
        if _target(out, job).resolve() == job.source.resolve():
            raise console.WrongUse(f"{out}: would overwrite the input {job.source}; choose another folder for -o")
    prepare_out(out)
    rows = []
    for number, job in enumerate(console.progress(jobs, len(jobs), "degrading")):
        try:
            clean = decode(job.source).pixels
        except PhotoError as error:
            console.warn(f"rnr: {console.one_line(error)}")
            failed += 1
            continue
        recipe = make_recipe(clean, job.name.as_posix(), number, args)
        degraded = apply_recipe(clean, recipe)
        found = dict(zip(TYPES, severity.measure(clean, recipe, degraded), strict=True))
        severities = {kind: value for kind, value in found.items() if value > 0}
        target = _target(out, job)
        with storage.whole_file(target) as part:
            part.write_bytes(storage.encode_png(degraded))
        storage.write_json(target.with_name(target.name + RECIPE_SUFFIX), {"recipe": recipe, "severities": severities})
        decibels = severity.psnr(clean, degraded)
        if args.json:
            told = {"path": str(job.source), "written": str(target), "severities": severities, "psnr": decibels}
            console.put_json({**told, "recipe": recipe})
        rows.append((str(job.name), ", ".join(f"{k} {v:.0f}" for k, v in severities.items()) or "clean", decibels))
    if not args.json and rows:
        console.put_table(("photo", "severities", "PSNR dB"), rows)
        print(f"{len(rows)} written to {out}, {failed} failed")
    return console.SOME_FAILED if failed else console.OK


def _target(out: Path, job: Job) -> Path:
    return (out / job.name).with_suffix(".png")


def find_row(pair_id: str):
    """The row of data/pairs with this id, as a mapping. Raises WrongUse."""
    import pyarrow.parquet as pq

    folder = Path("data/pairs")
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise console.WrongUse(f"{folder}: no pairs here; run `rnr run` or `dvc repro synthesize` first")
    for path in paths:
        ids = pq.read_table(path, columns=["pair_id"])["pair_id"].to_pylist()
        if pair_id in ids:
            return pq.read_table(path, filters=[("pair_id", "=", pair_id)]).to_pylist()[0]
    raise console.WrongUse(f"{folder}: no pair {pair_id!r}; ids look like {ids[0]}")


def replay(args: argparse.Namespace) -> int:
    """Make a stored pair's degraded side again from its clean one; exit code 1 when the bytes differ."""
    from components.synthesis import pairs

    row = find_row(args.replay)
    made, stored = pairs.replay(row), storage.decode_image(row["degraded"])
    same = bool(np.array_equal(made, stored))
    told = {"pair_id": row["pair_id"], "photo_id": row["photo_id"], "region": row["region"], "identical": same}
    told |= {"look": json.loads(row["look"]), "recipe": json.loads(row["recipe"])}
    if args.out:
        out = Path(args.out)
        prepare_out(out)
        for side, picture in (("clean", storage.decode_image(row["clean"])), ("degraded", made)):
            check_inside(out, out / f"{row['pair_id']}.{side}.png")
            with storage.whole_file(out / f"{row['pair_id']}.{side}.png") as part:
                part.write_bytes(storage.encode_png(picture))
    if args.json:
        console.put_json(told)
    else:
        for step in told["recipe"]:
            print(f"{step['type']}: {json.dumps(step['params'])} seed {step['seed']}")
        print(f"{row['pair_id']}: {'identical, bit for bit' if same else 'DIFFERS from the stored picture'}")
    return console.OK if same else console.SOME_FAILED


def gallery(args: argparse.Namespace) -> int:
    """Sheets of every degradation at rising severity; of the built-in photos where none are named."""
    from PIL import Image, ImageOps

    from components.synthesis.gallery import write_gallery

    jobs, failed = list_jobs(args.inputs or list(GALLERY_PHOTOS))
    photos = []
    for job in jobs:
        try:
            picture = Image.fromarray(decode(job.source).pixels)
        except PhotoError as error:
            console.warn(f"rnr: {console.one_line(error)}")
            failed += 1
            continue
        photos.append(np.asarray(ImageOps.fit(picture, GALLERY_SIZE, Image.Resampling.LANCZOS)))
    if not photos:
        return console.SOME_FAILED
    prepare_out(Path(args.gallery))
    for path in write_gallery(photos, Path(args.gallery), args.seed):
        if args.json:
            console.put_json({"written": str(path)})
        else:
            print(path)
    return console.SOME_FAILED if failed else console.OK
