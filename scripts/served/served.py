"""An architecture as it is written down, and the file that is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .rows import Row

__all__ = ["FOLDER", "Served"]

FOLDER = Path(__file__).resolve().parents[2] / "src" / "modalkit" / "data" / "architectures"
TEXT = "text_config"


@dataclass(frozen=True)
class Served:
    """An architecture by the source of the class that builds it.

    Attributes:
        model_type: What its config calls it, or what `modalkit.sizing.remote_code` makes of that.
        source: The class; one that ends with ``Model`` answers without generating.
        rows: Its parameters, those of the models it holds aside.
        defaults: Settings that the class takes for granted, by dotted name.
        text: The model type of the text model it holds, where its config names none.
        towers: The same of towers, by the name of their config.
        without: Beginnings of the names that held models, or the one it extends, have and this one has not.
        derived: Settings worked out of others where a config leaves them out.
        lists: How lists of the layers' kinds are filled in.
        pinned: Settings that were read with one figure only.
        extends: The model type whose whole file it has too, if it only adds to one.
    """

    model_type: str
    source: str
    rows: list[Row]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    towers: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, Any] = field(default_factory=dict)
    pinned: Mapping[str, Any] = field(default_factory=dict)
    extends: str = ""

    def file(self) -> dict[str, Any]:
        """Return what is kept of it."""
        if self.extends:
            return self._extended(json.loads((FOLDER / f"{self.extends}.json").read_text("utf-8")))
        held = ({TEXT: self.text} if self.text else {}) | dict(self.towers)
        return {
            "model_type": self.model_type,
            "source": self.source,
            "rows": self.rows,
            "aliases": {},
            "defaults": dict(self.defaults),
            "derived": dict(self.derived),
            "lists": dict(self.lists),
            "nested": held,
            **({"holds": sorted(held)} if held else {}),
            **({"without": list(self.without)} if self.without else {}),
            **({"pinned": dict(self.pinned)} if self.pinned else {}),
        }

    def _extended(self, known: dict[str, Any]) -> dict[str, Any]:
        rows = [row for row in known["rows"] if not _named(row).startswith(self.without)]
        return known | {
            "model_type": self.model_type,
            "source": f"{known['source']}; {self.source}",
            "rows": [*rows, *self.rows],
            "defaults": {**known["defaults"], **self.defaults},
            "derived": {**known["derived"], **self.derived},
        }


def _named(row: Row) -> str:
    return str(row.get("name") or row["stack"])
