"""What is locked for a service, found beside its file; the only reading `serve` does.

On this machine the lock is ``modalkit.lock`` in the folder of the service's file. `compile` puts it into
the container at a place of its own, since only the file itself arrives there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .conflicts import conflicts
from .declare.gpu import GPUFit
from .errors import PlanError, SizingError
from .fitting import fit_service
from .lock import LOCK_NAME, LockedModel, LockedService, read_lock
from .service import ModelService, lock_command, service_file
from .sizing.model import ModelFacts, read_model

__all__ = [
    "CONTAINER_LOCK",
    "declared",
    "lock_path",
    "locked_service",
    "model_folder",
    "stale_lock",
    "still_locked",
]

CONTAINER_LOCK = "/modalkit/modalkit.lock"


def lock_path(service: type[ModelService]) -> Path | None:
    """Return the lock of a service's folder; None if there is none."""
    beside = service_file(service).with_name(LOCK_NAME)
    return next((path for path in (beside, Path(CONTAINER_LOCK)) if path.is_file()), None)


def model_folder(service: type[ModelService]) -> Path | None:
    """Return where a service's model folder is on this machine, or in this container."""
    if service.model is None or not service.model.startswith("."):
        return None
    beside = service_file(service).parent / service.model
    arrived = Path("/models") / beside.name  # where `plan` puts it
    return beside.resolve() if beside.is_dir() or not arrived.is_dir() else arrived


def declared(service: type[ModelService]) -> dict[str, str]:
    """Return what of a service's declarations the lock depends on, as text by name."""
    engine, gpu = service.engine, service.gpu
    version = getattr(engine, "version", None) or getattr(engine, "transformers_version", "")
    wish = (
        ", ".join(map(str, gpu.choices)) if gpu and not isinstance(gpu, GPUFit) else str(gpu or "")
    )
    if isinstance(gpu, GPUFit):
        wish += _sized_by(service)
    stated = service.facts
    return {
        "model": service.model or "",
        "facts": _digest(stated) if stated is not None else "",
        "revision": service.revision or "",
        "engine": f"{engine.title} {version}".strip() if engine else "",
        "gpu": wish,
        "beside": ", ".join(_beside(service)),
    }


def _beside(service: type[ModelService]) -> list[str]:
    """Adapters and the like, each with the commit that is declared for it."""
    wanted = service.engine.repositories() if service.engine else {}
    return [f"{name}@{commit}" if commit else name for name, commit in sorted(wanted.items())]


def locked_service(service: type[ModelService]) -> LockedService | None:
    """Return what is locked for a service.

    A service that asks for ``GPUProfile.fit`` and serves a model folder needs no lock: its GPUs are
    worked out from the folder's config, unless a model of the hub guesses ahead for it.

    Returns:
        None where nothing is locked and nothing has to be.

    Raises:
        LockError: The lock was cut off or edited.
        PlanError: The service asks for a fit that nothing is known of, or the lock is of another
            model, revision, engine or wish than the service declares.
    """
    found = _in_lock(service)
    if found is not None:
        if problems := _problems(service, found):
            raise PlanError(problems)
        return found
    if not isinstance(service.gpu, GPUFit) or any(conflicts(service)):
        return None  # `plan_service` raises the conflicts, all at once
    return _fitted(service)


def still_locked(service: type[ModelService]) -> LockedService | None:
    """Return what of a lock still holds for a service that declares something else by now.

    Its model does while it is the same one; a fit that is another is worked out anew.

    Raises:
        LockError: The lock was cut off or edited.
        PlanError: The service asks for a fit that nothing is known of.
    """
    found = _in_lock(service)
    if found is None or not (changed := _changed(service, found)):
        return locked_service(service)
    model = found.model if changed.keys().isdisjoint({"model", "revision", "facts"}) else None
    beside = found.beside if "beside" not in changed else ()
    kept = found.model_copy(update={"model": model, "beside": beside})
    if not isinstance(service.gpu, GPUFit) or any(conflicts(service)):
        return kept
    return kept.model_copy(update={"gpu": _fitted(service, model, beside).gpu})


def _in_lock(service: type[ModelService]) -> LockedService | None:
    path = lock_path(service)
    if path is None:
        return None
    lock = read_lock(path, lock_command(service))
    return lock.service(service_file(service), service.__name__)


def _guesses_ahead(service: type[ModelService], beside: tuple[LockedModel, ...]) -> str | None:
    """The hub's model that guesses ahead, where nothing is known of it: it is not locked."""
    guess = getattr(service.engine, "speculative", None)
    name = guess.draft_model if guess else None
    if service.engine is None or name in {one.id for one in beside}:
        return None
    return name if name in service.engine.repositories() else None


def _fitted(
    service: type[ModelService],
    locked: LockedModel | None = None,
    beside: tuple[LockedModel, ...] = (),
) -> LockedService:
    """What a fit comes to by the facts that are stated or locked, or by the config of the model's folder."""
    facts = service.facts or (locked.facts if locked else None)
    ahead = _guesses_ahead(service, beside)
    if unknown := ahead if facts or model_folder(service) else service.model:
        msg = (
            f"{service.__name__}.gpu = GPUProfile.{service.gpu} needs to know {unknown!r}, which is not "
            f"locked beside {service_file(service).name}. Run: {lock_command(service)}"
        )
        raise PlanError([msg])
    try:
        facts = facts or read_model(model_folder(service) or "")
        fitted = fit_service(service, facts, beside)
    except SizingError as error:
        said = str(error)
        named = said.startswith(f"{service.__name__}.")  # as what fits nothing is
        raise PlanError([said if named else f"{service.__name__}: {said}"]) from error
    model = LockedModel(id=service.model or "", facts=facts)
    return LockedService(model=model, gpu=tuple(map(str, fitted.profile.choices)))


def stale_lock(service: type[ModelService]) -> list[str]:
    """Return what a service declares otherwise than its lock holds, a sentence each.

    Raises:
        LockError: The lock was cut off or edited.
    """
    found = _in_lock(service)
    return _problems(service, found) if found else []


def _problems(service: type[ModelService], found: LockedService) -> list[str]:
    return [
        f"{service.__name__}.{name} is {now!r}, but {LOCK_NAME} holds {found.declared.get(name, '')!r}. "
        f"Run: {lock_command(service)}"
        for name, now in _changed(service, found).items()
    ]


def _changed(service: type[ModelService], found: LockedService) -> dict[str, str]:
    """What a service declares otherwise than it is locked, by name."""
    now = declared(service).items()
    return {name: text for name, text in now if found.declared.get(name, "") != text}


_SIZED_BY = (
    *("context_length", "kv_cache_dtype", "dtype", "quantization", "expert_parallel"),
    *("pipeline_parallel", "data_parallel", "attention_data_parallel", "memory_fraction"),
    *("chunked_prefill", "prefill_chunk_tokens", "max_running_requests", "cuda_graphs"),
    "prefix_caching",
    *("lora", "lora_slots", "max_lora_rank", "speculative", "max_batch_size", "extra_args"),
)


def _sized_by(service: type[ModelService]) -> str:
    """What else a fit depends on, where it is said."""
    engine = service.engine
    usual = type(engine).model_fields if engine is not None else {}
    said = {
        name: getattr(engine, name)
        for name in _SIZED_BY
        if name in usual and getattr(engine, name) != usual[name].default
    }
    said["concurrency"] = service.scaling.concurrency
    return "".join(f", {name}={value!r}" for name, value in said.items() if value is not None)


def _digest(facts: ModelFacts) -> str:
    """Facts stated by hand in a word; another figure gives another, a field that nobody states does not."""
    return f"stated {hashlib.sha256(facts.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:16]}"
