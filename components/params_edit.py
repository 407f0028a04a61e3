"""The one writer of params.yaml: changes values where they stand, comments and order kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import params, storage


def change(values: Mapping[str, Any], path: str | Path = params.PARAMS_FILE) -> None:
    """Set dotted keys ("restorer.base") that are there already; the file is rewritten whole or not at all."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq

    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    with open(path, encoding="utf-8") as file:
        document = yaml.load(file)
    for dotted, value in values.items():
        *parents, key = dotted.split(".")
        place = document
        for parent in parents:
            place = place[parent]
        if isinstance(value, list):
            # lists stand on one line in params.yaml
            value = CommentedSeq(value)
            value.fa.set_flow_style()
        place[key] = value
    with storage.whole_file(path) as part, open(part, "w", encoding="utf-8") as file:
        yaml.dump(document, file)
