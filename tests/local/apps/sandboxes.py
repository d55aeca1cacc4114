"""The code-sandbox pattern: run code that nobody has read yet, apart from everything else."""

from __future__ import annotations

import modal

app = modal.App("code-sandbox")
image = modal.Image.debian_slim().env({"PYTHONUNBUFFERED": "1"})


def run_code(sandbox: modal.Sandbox, code: str) -> tuple[int, str, str]:
    """Run Python code in a sandbox; return its exit code and what it printed."""
    sandbox.filesystem.write_text(code, "/box/main.py")
    process = sandbox.exec("python", "/box/main.py", workdir="/box", timeout=30)
    output, errors = process.stdout.read(), process.stderr.read()
    return process.wait(), output, errors


@app.local_entrypoint()
def main() -> None:
    sandbox = modal.Sandbox.create(
        app=app, image=image, timeout=120, idle_timeout=60, block_network=True
    )
    try:
        print(run_code(sandbox, "print(sum(range(10)))"))
        print(run_code(sandbox, "import os; print(os.listdir('.'))"))
        print(run_code(sandbox, "1 / 0")[0])
        print(run_code(sandbox, "import urllib.request as u; u.urlopen('http://example.com')")[0])
    finally:
        sandbox.terminate()
