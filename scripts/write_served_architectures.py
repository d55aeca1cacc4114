"""Write ``data/architectures/*.json`` of models that transformers has no class for.

    python scripts/write_served_architectures.py

vLLM, SGLang or a model's own repository has one. Each architecture is written down by its source in
``scripts/served``, module by module, and held to the counts that the pages of published models give, in
``tests/sizing/test_served.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from served.embedding import embedding
from served.hearing import hearing
from served.llava import llava
from served.pairs import pairs
from served.seeing import seeing
from served.served import FOLDER, Served
from served.whole import whole


def served() -> Iterator[Served]:
    """Yield every architecture that is written down."""
    yield from seeing()
    yield from llava()
    yield from hearing()
    yield from pairs()
    yield from whole()
    yield from embedding()


def written(one: Served) -> str:
    """Return the text of an architecture's file."""
    return json.dumps(one.file(), separators=(",", ":"), sort_keys=True) + "\n"


def main() -> None:
    """Write them all."""
    for one in served():
        (FOLDER / f"{one.model_type}.json").write_text(written(one), "utf-8")


if __name__ == "__main__":
    main()
