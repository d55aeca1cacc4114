"""What modalkit's own code needs inside a container."""

from __future__ import annotations

__all__ = ["RUNTIME_REQUIREMENTS"]

# In the versions tested here.
RUNTIME_REQUIREMENTS = (
    "aiohttp==3.14.5",
    "httptools==0.9.0",
    "packaging==26.3",
    "pydantic==2.14.3",
    "python-multipart==0.0.34",
    "starlette==1.10.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "websockets==17.4",
)
