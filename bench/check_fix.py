"""What `modalkit check --fix` makes of old programs: how many load before and after, how long it takes.

    python bench/check_fix.py --write

The programs are those of tests/check/migration/old_programs. What was counted by hand on public programs,
which are not in the repository, stands in the results with its date and is kept.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from modalkit.check.fixing import Fixed, fix_file

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "check" / "migration" / "old_programs"
RESULTS = ROOT / "bench" / "results" / "check_fix.md"
LOADS = "import runpy, sys, warnings; warnings.simplefilter('error'); runpy.run_path(sys.argv[1], run_name='loaded')"

BY_HAND = "## Public programs, by hand"


def by_hand() -> str:
    """What was counted by hand and stands at the end of the results, which a new run keeps."""
    _, title, text = RESULTS.read_text("utf-8").partition(BY_HAND)
    return title + text


def loads(path: Path) -> bool:
    """Whether a file imports with the installed Modal, every warning being an error."""
    words = [sys.executable, "-c", LOADS, path.name]
    return subprocess.run(words, cwd=path.parent, capture_output=True, check=False).returncode == 0


def measured(folder: Path) -> tuple[int, int, list[tuple[Fixed, float]]]:
    """How many programs load before and after, and each fix with its seconds."""
    shutil.copytree(PROGRAMS / "files", folder, dirs_exist_ok=True)
    paths = [Path(shutil.copy(one, folder)) for one in sorted(PROGRAMS.glob("p*.py"))]
    before = sum(loads(one) for one in paths)
    fixed = []
    for path in paths:
        started = time.perf_counter()
        result = fix_file(path, unsafe="modalkit-test: unsafe" in path.read_text())
        fixed.append((result, time.perf_counter() - started))
    return before, sum(loads(one) for one in paths), fixed


def report(before: int, after: int, fixed: list[tuple[Fixed, float]]) -> str:
    times = [seconds for _, seconds in fixed]
    applied = sum(len(one.applied) for one, _ in fixed)
    load = os.getloadavg()[0]
    return f"""# Old Modal code after `modalkit check --fix`

`python bench/check_fix.py --write`, {dt.datetime.now(dt.UTC):%Y-%m-%d}, load {load:.1f}.

## The programs of the tests

{len(fixed)} programs in the style of 2023 to 2026 (`tests/check/migration/old_programs`), {applied} rewrites. The tests run
each of them through the local Modal; here they are imported, with every warning an error.

| | of {len(fixed)} |
|---|--:|
| import with the installed Modal as they are | {before} |
| import after the fixes | {after} |

Fixing one takes {statistics.median(times) * 1000:.0f} ms (median; slowest {max(times) * 1000:.0f} ms): every round of rewrites reads and
checks the file again with all rules, and the first file pays for importing them.

{by_hand()}"""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = report(*measured(Path(folder)))
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
