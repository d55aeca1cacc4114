"""Hold an architecture file against the class it came from, at other sizes."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from modalkit.sizing.configs import Config
from modalkit.sizing.layouts import parameters

__all__ = ["counted", "differences", "expected", "nested"]

_TRIALS = 6
_ATTEMPTS = 40


def differences(
    file: Mapping[str, Any], model: type, given: Mapping[str, Any], fixed: Collection[str] = ()
) -> list[str]:
    """Return where the file's count differs from the class's: nothing for a good file.

    Args:
        file: The architecture file.
        model: The class.
        given: Settings that the class needs.
        fixed: Settings that stay as they are by default.
    """
    chance = random.Random(file["model_type"])
    found: list[str] = []
    done = 0
    for attempt in range(_ATTEMPTS):
        changes = _changes(file, given, fixed, chance) if attempt else {}
        try:
            changes = {**given, **changes}
            config = CONFIG_MAPPING[file["model_type"]](**nested(changes))
            real = expected(model, config)
        except Exception:  # noqa: BLE001 - many random sizes do not go together
            continue
        sparse = nested(changes)
        for label, raw in (("full", _laid_over(config.to_dict(), sparse)), ("sparse", sparse)):
            said = _count(file, {**raw, "model_type": file["model_type"]})
            if said != real:
                found.append(f"{label} {changes}: {said} is not {real}")
        done += 1
        if done == _TRIALS:
            break
    return found if done > 1 else [*found, "no other size could be built"]


def expected(model: type, config: PreTrainedConfig) -> int:
    """Return the parameters of the class made of a config."""
    with torch.device("meta"):
        return sum(one.numel() for one in model(config).parameters())


def counted(
    file: Mapping[str, Any], config: PreTrainedConfig, changes: Mapping[str, Any]
) -> object:
    """Return the parameters that a file says a config has; what it says instead where it cannot."""
    raw = _laid_over(config.to_dict(), nested(changes))
    return _count({**file, "pinned": {}}, {**raw, "model_type": file["model_type"]})


def _count(file: Mapping[str, Any], raw: dict[str, Any]) -> object:
    try:
        return sum(one.elements for one in parameters(file, Config.read(raw, file).fields))
    except Exception as error:  # noqa: BLE001 - part of the report
        return f"{type(error).__name__}: {error}"


def _changes(
    file: Mapping[str, Any],
    given: Mapping[str, Any],
    fixed: Collection[str],
    chance: random.Random,
) -> dict[str, Any]:
    defaults: dict[str, Any] = {**file["defaults"], **given}
    for name in fixed:
        defaults.pop(name, None)
    numbers = {name: value for name, value in defaults.items() if type(value) is int and value > 0}
    switches = [name for name, value in defaults.items() if isinstance(value, bool)]
    changes: dict[str, Any] = {}
    for name in chance.sample(sorted(numbers), min(len(numbers), chance.randint(1, 4))):
        layers = "layer" in name or name.endswith("depth")
        changes[name] = (
            chance.choice([5, 8, 21]) if layers else numbers[name] * chance.choice([2, 4])
        )
    if switches and chance.random() < 0.5:  # noqa: PLR2004 - every other time
        name = chance.choice(switches)
        changes[name] = not defaults[name]
    return changes


def _laid_over(full: dict[str, Any], sparse: Mapping[str, Any]) -> dict[str, Any]:
    """Put back what a class takes from the file but does not write again."""
    for name, value in sparse.items():
        if isinstance(value, dict) and isinstance(full.get(name), dict):
            _laid_over(full[name], value)
        else:
            full[name] = value
    return full


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted name as configs inside configs."""
    made: dict[str, Any] = {}
    for path, value in changes.items():
        *folders, name = path.split(".")
        place = made
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return made


Make = Callable[[PreTrainedConfig], torch.nn.Module]
