"""Small wheels, made here, so that installing needs no network."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Make a wheel with one module of its name that knows its version; return its folder."""

    def make(name: str, version: str, *requires: str, script: str = "") -> Path:
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        info = f"{name}-{version}.dist-info"
        needed = "".join(f"Requires-Dist: {text}\n" for text in requires)
        files = {
            f"{name}.py": f"version = {version!r}\ndef main():\n    print({name!r}, version)\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if script:
            files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}:main\n"
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for path, text in {**files, f"{info}/RECORD": record}.items():
                wheel.writestr(path, text)
        return folder

    return make
