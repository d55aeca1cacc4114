"""Write docs/plan.schema.json: the JSON Schema of what `modalkit plan --json` prints.

python scripts/write_plan_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from modalkit.blueprint.report import PlanReport

PATH = Path(__file__).parent.parent / "docs" / "plan.schema.json"


def schema_text() -> str:
    """Return the schema as it is written."""
    schema = PlanReport.model_json_schema(mode="serialization")
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "modalkit plan",
    }
    return json.dumps(schema | described, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text(), "utf-8")
    print(f"wrote {PATH}")
