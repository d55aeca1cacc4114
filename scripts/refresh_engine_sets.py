"""Write what each engine's release asks for into ``src/modalkit/data/engine_sets.json``.

    .venv/bin/python scripts/refresh_engine_sets.py

The requirements are read from the metadata of the pinned wheels, in the environments that
``engine_env.py`` makes; everything else in the file is kept by hand. After a change of a version:
write it into the file, run ``engine_env.py all``, this script, then ``refresh_flags.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

from engine_env import ENVIRONMENTS
from packaging.requirements import Requirement

FILE = Path(__file__).resolve().parent.parent / "src" / "modalkit" / "data" / "engine_sets.json"
WHERE = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}


def main() -> int:
    """Rewrite the file."""
    data = json.loads(FILE.read_text("utf-8"))
    for name in ("sglang", "vllm"):
        one = data["sets"][name]
        pattern = f"{name}-{one['version']}.dist-info"
        found = next(iter(ENVIRONMENTS[name].folder.rglob(pattern)), None)
        if found is None:
            print(f"{pattern} is not there. Run: scripts/engine_env.py {name}", file=sys.stderr)
            return 1
        one["requirements"] = sorted(bounded(found, one["python"]), key=str.lower)
        print(f"{name} {one['version']}: {len(one['requirements'])} requirements")
    FILE.write_text(f"{json.dumps(data, indent=2)}\n", "utf-8")
    return 0


def bounded(folder: Path, python: str) -> Iterator[str]:
    """Yield the requirements of a wheel that say which version, on Modal's machines."""
    for text in Distribution.at(folder).requires or ():
        asked = Requirement(text)
        where = {**WHERE, "python_version": python, "extra": ""}
        if asked.specifier and (asked.marker is None or asked.marker.evaluate(where)):
            yield f"{asked.name}{asked.specifier}"


if __name__ == "__main__":
    sys.exit(main())
