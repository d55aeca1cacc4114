"""Folders with an app: one whose model the stand-in hub has, one whose model lies beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .apps import FOLDER_APP, HUB_APP, QWEN, model_folder


@pytest.fixture
def hub_app(hub, tmp_path) -> Path:
    """A folder with an app whose model the stand-in hub has."""
    hub.add(
        "org/model",
        {
            "config.json": QWEN,
            "model.safetensors.index.json": {"weight_map": {"a": "model-1.safetensors"}},
            "model-1.safetensors": b"weights",
        },
        commit="a" * 40,
    )
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "chat.py").write_text(HUB_APP)
    return folder


@pytest.fixture
def folder_app(tmp_path) -> Path:
    """A folder with an app and its model folder."""
    (tmp_path / "local_app.py").write_text(FOLDER_APP)
    model_folder(tmp_path)
    return tmp_path
