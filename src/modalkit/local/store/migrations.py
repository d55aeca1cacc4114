"""How the layout of `records.db` grew, step by step.

Step N brings version N to N + 1. A step that was released is never changed, so it uses nothing
that may change: no class of this package, only SQL and the shapes of its own time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import cast

__all__ = ["MIGRATIONS", "Execute", "Row"]

Row = tuple[str | int | float | bytes | None, ...]
Execute = Callable[[str, Sequence[str | float | bytes]], list[Row]]

# Version 0 is an empty file, or one from before versions were counted, which has this already.
_RECORDS = (
    """
    CREATE TABLE IF NOT EXISTS records (
        kind TEXT NOT NULL,
        environment TEXT NOT NULL,
        name TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        created_at REAL NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, environment, name)
    )
    """,
)
_DICTS_QUEUES_ENVIRONMENTS = (
    """
    CREATE TABLE dict_entries (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        dict_id TEXT NOT NULL REFERENCES records (id) ON DELETE CASCADE,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (dict_id, key)
    )
    """,
    """
    CREATE TABLE queue_partitions (
        queue_id TEXT NOT NULL REFERENCES records (id) ON DELETE CASCADE,
        partition BLOB NOT NULL,
        expires_at REAL NOT NULL,
        PRIMARY KEY (queue_id, partition)
    )
    """,
    """
    CREATE TABLE queue_items (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        queue_id TEXT NOT NULL,
        partition BLOB NOT NULL,
        value BLOB NOT NULL,
        FOREIGN KEY (queue_id, partition)
            REFERENCES queue_partitions (queue_id, partition) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX queue_order ON queue_items (queue_id, partition, number)",
    # Environments had no records before: they existed as soon as they were used.
    """
    INSERT INTO records (kind, environment, name, id, created_at, body)
    SELECT 'environment', '', name, 'en-' || lower(hex(randomblob(11))),
           (julianday('now') - 2440587.5) * 86400.0, x''
    FROM (SELECT 'main' AS name
          UNION SELECT environment FROM records WHERE environment != '')
    """,
)


def _run(statements: Sequence[str]) -> Callable[[Execute], None]:
    def step(execute: Execute) -> None:
        for statement in statements:
            execute(statement, ())

    return step


def _keep_versions_of_apps(execute: Execute) -> None:
    """Turn an app's record, which listed its functions, into an app and its one version."""
    for row in execute("SELECT id, created_at, body FROM records WHERE kind = 'app'", ()):
        identity, created_at, body = cast("tuple[str, float, bytes]", row)
        app = json.loads(body)
        if "functions" not in app:
            continue
        version = {
            "number": app["version"],
            "deployed_at": app["deployed_at"],
            "definitions": {
                tag: [function_id, _definition(execute, function_id)]
                for tag, function_id in app["functions"].items()
            },
            "classes": app["classes"],
            "commit": "",
        }
        kept = {"version": app["version"], "created_at": created_at, "tags": {}}
        name = f"v{app['version']}"
        _add(execute, ("app version", identity, name, f"{identity}/{name}"), version)
        _add(execute, ("waking app", "", identity, f"waking {identity}"), {})
        execute("UPDATE records SET body = ? WHERE id = ?", (_bytes(kept), identity))
    execute("DELETE FROM records WHERE kind = 'function'", ())


def _definition(execute: Execute, function_id: str) -> str:
    body = execute("SELECT body FROM records WHERE id = ?", (function_id,))[0][0]
    return base64.b64encode(cast("bytes", body)).decode()


def _add(execute: Execute, named: tuple[str, str, str, str], body: object) -> None:
    execute(
        "INSERT INTO records (kind, environment, name, id, created_at, body) "
        "VALUES (?, ?, ?, ?, unixepoch(), ?)",
        (*named, _bytes(body)),
    )


def _bytes(body: object) -> bytes:
    return json.dumps(body).encode()


MIGRATIONS: tuple[Callable[[Execute], None], ...] = (
    _run(_RECORDS),
    _run(_DICTS_QUEUES_ENVIRONMENTS),
    _keep_versions_of_apps,
)
