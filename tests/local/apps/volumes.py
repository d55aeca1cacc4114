"""Containers that do what a test says with a volume at /data."""

import os
import shutil
from pathlib import Path

import modal

app = modal.App("volumes")
unused = modal.Volume.from_name("unused", create_if_missing=True)


@app.cls(volumes={"/data": unused})
class Seat:
    """One container for each name."""

    name: str = modal.parameter()

    @modal.enter()
    def sit(self) -> None:
        self.kept = {"os": os, "shutil": shutil, "Path": Path, "data": Path("/data")}

    @modal.method()
    def do(self, volume_id: str, code: str) -> object:
        self.kept["volume"] = modal.Volume.from_id(volume_id)
        exec(code, self.kept)
        return self.kept.pop("result", None)


@app.function()
def finish(code: str) -> None:
    """Run code in a container that then ends cleanly."""
    exec(code)
