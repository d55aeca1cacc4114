"""What a container finds around it."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import modal

image = (
    modal.Image.debian_slim()
    .env({"GREETING": "hello from the image", "SHARED": "image"})
    .workdir("/work/here")
    .add_local_file("material/note.txt", "/opt/baked/note.txt", copy=True)
    .add_local_dir("material", "/models/material")
    .add_local_file("material/note.txt", "/models/renamed.txt")
)
app = modal.App("world", image=image)
shared = modal.Volume.from_name("shared", create_if_missing=True)
fixed = modal.Volume.from_name("fixed", create_if_missing=True)
secrets = [
    modal.Secret.from_dict({"TOKEN": "from a dict", "SHARED": "first secret"}),
    modal.Secret.from_dict({"SHARED": "second secret"}),
    modal.Secret.from_name("from-host", required_keys=["TEST_SECRET_FROM_HOST"]),
]


@app.function(volumes={"/data": shared, "/fixed/below": fixed.read_only()}, secrets=secrets)
def look(path: str) -> str | list[str]:
    shared.reload()
    found = Path(path)
    return sorted(entry.name for entry in found.iterdir()) if found.is_dir() else found.read_text()


@app.function(secrets=secrets)
def variable(name: str) -> str | None:
    return os.environ.get(name)


@app.function()
def python_on_path() -> tuple[str | None, str]:
    return shutil.which("python"), sys.executable


@app.function()
def policy() -> int:
    return os.sched_getscheduler(0)


@app.function()
def folder() -> str:
    return str(Path.cwd())


@app.function(volumes={"/data": shared, "/fixed/below": fixed.read_only()})
def write(path: str, text: str) -> str:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    except OSError as error:
        return str(error.strerror)
    shared.commit()
    return "written"


@app.function()
def leave_marks(name: str, folders: list[str]) -> list[str]:
    """Try to make a folder in each; return where it worked."""
    marked = []
    for folder in folders:
        with contextlib.suppress(OSError):
            Path(folder, name).mkdir()
            marked.append(folder)
    return marked


@app.function()
def leave_a_child_behind() -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]).pid


@app.function()
def processes() -> int:
    return len([entry for entry in Path("/proc").iterdir() if entry.name.isdigit()])
