"""A page that shows a service's routes and lets a person try them; nothing is loaded from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["docs_page"]

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }}
  h1 {{ margin-bottom: 0; }}
  section {{ border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.25rem; margin: 1.5rem 0; }}
  h2 {{ font: 600 1.05rem ui-monospace, monospace; margin: 0 0 .25rem; }}
  h2 b {{ color: #2a7d46; margin-right: .5rem; }}
  textarea, input, pre {{ font: 14px/1.45 ui-monospace, monospace; width: 100%; box-sizing: border-box;
    border: 1px solid var(--line); border-radius: 6px; padding: .6rem; background: transparent; color: inherit; }}
  pre {{ overflow: auto; min-height: 1.4em; margin: .75rem 0 0; white-space: pre-wrap; }}
  button {{ font: inherit; margin-top: .6rem; padding: .35rem 1.1rem; border-radius: 6px; border: 0;
    background: #2a7d46; color: white; cursor: pointer; }}
  details {{ margin-top: .75rem; }} summary {{ cursor: pointer; }}
</style>
<h1>{title}</h1>
<p>{description}</p>
<p><label>API key <input id="key" type="password" autocomplete="off" placeholder="sent as Authorization: Bearer"></label></p>
{routes}
<p><a href="openapi.json">openapi.json</a></p>
<script>
  document.querySelectorAll("form").forEach(form => form.addEventListener("submit", async event => {{
    event.preventDefault();
    const out = form.querySelector("pre"), key = document.getElementById("key").value;
    const headers = {{"Content-Type": "application/json"}};
    if (key) headers.Authorization = "Bearer " + key;
    out.textContent = "…";
    const started = performance.now();
    try {{
      const answer = await fetch(form.dataset.path, {{method: "POST", headers, body: form.body.value}});
      const text = await answer.text();
      let shown = text;
      try {{ shown = JSON.stringify(JSON.parse(text), null, 2); }} catch (_) {{}}
      out.textContent = `${{answer.status}} in ${{Math.round(performance.now() - started)}} ms\\n${{shown}}`;
    }} catch (problem) {{ out.textContent = String(problem); }}
  }}));
</script>
</html>
"""

_ROUTE = """<section>
<h2><b>POST</b>{path}</h2>
<p>{summary}</p>
<form data-path="{path}">
<textarea name="body" rows="5" aria-label="Request body">{example}</textarea>
<button>Send</button>
<pre aria-label="Answer"></pre>
</form>
<details><summary>Schema</summary><pre>{schema}</pre></details>
</section>"""


def docs_page(openapi: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document made by `openapi_schema`."""
    schemas = openapi["components"]["schemas"]
    routes = "\n".join(
        _route(path, operations["post"], schemas) for path, operations in openapi["paths"].items()
    )
    info = openapi["info"]
    return _PAGE.format(
        title=escape(info["title"]), description=escape(info["description"]), routes=routes
    )


def _route(path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    shown = {"request": _resolve(request, schemas), "answer": _resolve(answer, schemas)}
    return _ROUTE.format(
        path=escape(path),
        summary=escape(operation["summary"]),
        example=escape(json.dumps(_example(request, schemas), indent=2)),
        schema=escape(json.dumps(shown, indent=2)),
    )


def _resolve(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: Mapping[str, Any] = schemas[name] if name else schema
    return resolved


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> object:
    """A body of the right shape to start from."""
    schema = _resolve(schema, schemas)
    if "default" in schema:
        return schema["default"]
    if schema.get("examples"):
        return schema["examples"][0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: _example(part, schemas) for name, part in properties.items()}
        case "array":
            return [_example(schema.get("items", {}), schemas)]
        case "integer" | "number":
            return 0
        case "boolean":
            return False
        case _:
            return "text"
