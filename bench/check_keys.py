"""How many keys `modalkit check` finds, and how many look-alikes it takes for one.

    python bench/check_keys.py

The tables are those of tests/check/test_key_table.py.
"""

from __future__ import annotations

import runpy
from pathlib import Path

TABLES = Path(__file__).parent.parent / "tests" / "check" / "test_key_table.py"


def main() -> None:
    tables = runpy.run_path(str(TABLES))
    found = tables["found"]
    rows = [
        ("keys by their shape", [("value", text) for text in tables["KEYS"].values()]),
        ("keys by their name", [*tables["KEYS_BY_NAME"].items()]),
        ("look-alikes", [("value", text) for text in tables["LOOK_ALIKES"]]),
        ("look-alikes under a secret name", tables["LOOK_ALIKES_BY_NAME"]),
    ]
    for what, pairs in rows:
        print(f"{what}: {sum(found(*pair) for pair in pairs)} of {len(pairs)} called a key")


if __name__ == "__main__":
    main()
