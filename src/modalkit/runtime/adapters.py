"""Adapters that are loaded on demand: the folder in which an engine finds them by their names."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..engines.base import Launch
from ..engines.lora import LoRA
from ..errors import WeightsError

__all__ = ["with_adapter_folder"]

_CONFIG = "adapter_config.json"


def with_adapter_folder(adapters: Iterable[LoRA], launch: Launch) -> Launch:
    """Make the folder of the adapters that are loaded on demand; return the launch that names it.

    Its subfolders hold links to the adapters' files, and an ``adapter_config.json`` that names the model
    as it is launched: vLLM loads an adapter only for the model that this file names, and a prefetched
    model goes by its folder.

    Args:
        adapters: What the engine declares.
        launch: Where the model and the adapters lie in this container.

    Raises:
        WeightsError: An adapter is not where it should be, or is none.
    """
    on_demand = [one for one in adapters if one.on_demand]
    if not on_demand:
        return launch
    root = Path(tempfile.mkdtemp(prefix="modalkit-adapters-"))
    for one in on_demand:
        source = Path(launch.adapters.get(one.name, one.source))
        _link(one.name, source, root / one.name, launch.model)
    return launch.model_copy(update={"adapter_folder": str(root)})


def _link(name: str, source: Path, folder: Path, model: str) -> None:
    try:
        config = _config(source / _CONFIG)
        files = [path for path in source.iterdir() if path.name != _CONFIG]
    except (OSError, ValueError) as error:
        msg = (
            f"LoRA({name!r}) is not an adapter: {str(source / _CONFIG)!r} cannot be read ({error}). It takes a "
            "folder with adapter_config.json and weights, as PEFT saves it."
        )
        raise WeightsError(msg) from None
    folder.mkdir()
    for path in files:
        (folder / path.name).symlink_to(path.resolve())
    named = {**config, "base_model_name_or_path": model}
    (folder / _CONFIG).write_text(json.dumps(named), "utf-8")


def _config(path: Path) -> dict[str, object]:
    config = json.loads(path.read_text("utf-8"))
    if not isinstance(config, dict):
        msg = f"it holds no object of JSON but {type(config).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - as of a file that is no JSON at all
    return config
