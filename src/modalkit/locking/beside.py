"""What an engine reads beside its model: LoRA adapters, and the model that guesses ahead."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import SizingError
from ..lock import LockedFile, LockedModel, LockedService
from ..prefetch.hub_source import HubSource
from ..prefetch.selection import needed_files
from ..prefetch.sources import read_json
from ..prefetch.wanted import MAIN
from ..service import ModelService
from ..sizing.model import ModelFacts, model_facts

__all__ = ["lock_beside"]

_CONFIG = "config.json"


def lock_beside(
    service: type[ModelService], kept: LockedService | None, say: Callable[[str], None]
) -> tuple[LockedModel, ...]:
    """Return the commit and the files of each; what is kept stays, unless another commit is declared.

    A draft model that was locked before its config was read is asked for again, at the same commit.

    Args:
        service: The service.
        kept: What was locked for it.
        say: Told what is being asked, a sentence each.

    Raises:
        HubError: The hub does not give one of them.
    """
    wanted = service.engine.repositories() if service.engine else {}
    known = {one.id: one for one in kept.beside} if kept else {}
    draft = _draft_model(service)
    found = []
    for name, revision in wanted.items():
        was = known.get(name)
        if was is None or revision not in {None, was.commit}:
            say(f"{service.__name__}: asking the hub for {name}")
            was = _locked(name, revision)
        elif was.facts is None and name == draft:
            say(f"{service.__name__}: asking the hub for the config of {name}")
            was = _locked(name, was.commit)
        found.append(was)
    return tuple(found)


def _draft_model(service: type[ModelService]) -> str | None:
    """A small model of its own that guesses ahead; what its cache keeps is known by its config alone."""
    guess = getattr(service.engine, "speculative", None)
    return guess.draft_model if guess and guess.method == "draft_model" else None


def _locked(name: str, revision: str | None) -> LockedModel:
    source = HubSource(name, revision or MAIN)
    there = {file.name: file for file in source.files()}
    chosen = needed_files(there.values(), lambda file: read_json(source, there[file]))
    files = tuple(LockedFile(name=file.name, size=file.size, sha256=file.sha256) for file in chosen)
    facts = _sized(name, read_json(source, there[_CONFIG])) if _CONFIG in there else None
    return LockedModel(id=name, commit=source.commit, files=files, facts=facts)


def _sized(name: str, config: object) -> ModelFacts | None:
    """What a model that guesses ahead keeps of its tokens; its weights are known by its files."""
    try:
        return model_facts(config, name=name) if isinstance(config, dict) else None
    except SizingError:
        return None
