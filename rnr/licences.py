"""Under which licence each installed package comes, and which of them nobody has looked at yet."""

from __future__ import annotations

import re
from importlib.metadata import Distribution

# What any use allows, and what does when the package is used as it is (changes to its own files are published).
PERMISSIVE = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|HPND|BSD|BSD-\d-Clause|0BSD|Apache|Apache-2\.0|ISC|ISCL|PSF|PSF-2\.0|Python Software|Zlib"
    r"|Unlicense|CC0|ZPL|Zope|BSL-1\.0|WTFPL|matplotlib|Artistic|Public Domain|Boost|CNRI)",
    re.IGNORECASE,
)
WEAK = re.compile(r"\b(MPL|Mozilla Public|LGPL|Lesser General Public|EPL|Eclipse Public)", re.IGNORECASE)
STRICT = re.compile(
    r"\b(A?GPL|(?<!Lesser )General Public|Affero|SSPL|PolyForm|Proprietary|Commercial|NonCommercial|CC-BY-NC)",
    re.IGNORECASE,
)
# Looked at by a person: package (or the beginning of many, with *) -> the licence and why it may be here.
ACCEPTED = {
    "axe-playwright-python": "MIT by its LICENSE; carries axe-core (MPL-2.0), used as it is and only by tests",
    "cuda-toolkit": "an empty package that names NVIDIA's",
    "grandalf": "GPLv2 or EPLv1: taken under the EPL; DVC draws graphs with it",
    "huey": "MIT by its repository, its metadata says nothing; MLflow's server uses it",
    "nvidia-*": "proprietary, free to use and to redistribute with an application; PyTorch with CUDA needs them",
    "openai-clip": "MIT by its repository, its metadata says nothing; pyiqa asks for it",
    "psycopg2-binary": "LGPL with exceptions: used as it is, as a library",
    "pygit2": "GPLv2 with a linking exception that allows any use as a library; DVC uses it",
    "pyiqa": "PolyForm Noncommercial: only components/evaluation imports it, to score; commercial use needs others",
    "skops": "MIT by its repository; MLflow asks for it",
    "text-unidecode": "Artistic or GPL: taken under the Artistic licence",
}


def stated(distribution: Distribution) -> str:
    """The licence as the package states it, in one line; empty where it says nothing."""
    told = distribution.metadata
    # get_all: the type of metadata promises no other way to ask for a field that may be missing
    expression = "".join(told.get_all("License-Expression") or [])
    if expression:
        return expression
    text = "\n".join(told.get_all("License") or [])
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    kinds = [c.rpartition("::")[2].strip() for c in told.get_all("Classifier") or [] if c.startswith("License ::")]
    # a whole licence in the field is not its name; "OSI Approved" alone says nothing
    named = [first] if first and len(first) <= 80 and first.upper() != "UNKNOWN" else []
    return "; ".join(dict.fromkeys([*named, *(kind for kind in kinds if kind != "OSI Approved")]))


def family(licence: str) -> str:
    """permissive, weak copyleft, strict or unknown. Of several licences the strictest counts, of an OR the mildest."""
    choices = licence.split(" OR ")
    if len(choices) > 1 and " AND " not in licence:
        return min(map(family, choices), key=("permissive", "weak copyleft", "strict", "unknown").index)
    if STRICT.search(licence):
        return "strict"
    if WEAK.search(licence):
        return "weak copyleft"
    return "permissive" if PERMISSIVE.search(licence) else "unknown"


def accepted(name: str) -> str | None:
    """Why a package may be here although its licence is strict or unknown; None where nobody said so."""
    for known, why in ACCEPTED.items():
        if name == known or (known.endswith("*") and name.startswith(known[:-1])):
            return why
    return None
