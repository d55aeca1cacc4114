"""One service, from what it declares to what is locked for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..declare.gpu import GPUFit, GPUProfile, gpu_catalogue
from ..declare.image import ImageSpec
from ..declare.image.bases import Registry
from ..declare.image.installs import PyprojectFile, UvLock
from ..errors import LockError, SizingError
from ..fitting import engine_name, fit_service
from ..hub import facts_of, find_model
from ..lock import LockedImage, LockedModel, LockedService
from ..lock.hashing import Progress
from ..lookup import declared, model_folder
from ..plan import plan_service
from ..service import ModelService
from ..sizing.model import ModelFacts, read_model
from .beside import lock_beside
from .folders import folder_files
from .packages import Resolver, installs_of, python_of, python_series, resolve_packages
from .registry import digest_of

__all__ = ["Asking", "declared_whole", "lock_model", "lock_service"]

_ANY_GPU = LockedService(gpu=("T4",))  # an image does not depend on the GPU


@dataclass(frozen=True, slots=True)
class Asking:
    """How others are asked while a lock is made.

    Attributes:
        say: Told what is being asked, a sentence each.
        warn: Told what could not be found out.
        progress: Told how much of a model folder has been read.
        resolver: Who resolves packages.
    """

    say: Callable[[str], None]
    warn: Callable[[str], None]
    progress: Progress | None = None
    resolver: Resolver = "auto"


def declared_whole(service: type[ModelService]) -> dict[str, str]:
    """Return what `lookup.declared` does, and the image."""
    image = plan_service(service, _ANY_GPU).image
    told = {**declared(service), "image": _base_text(image), "packages": _packages_text(image)}
    return {name: text for name, text in told.items() if text}


def lock_service(
    service: type[ModelService], kept: LockedService | None, asking: Asking
) -> LockedService:
    """Resolve a service; what is kept is asked again only where its declaration changed.

    Raises:
        HubError: The hub does not give its model.
        LockError: Its model folder or a requirements file is missing.
        SizingError: It asks for a fit, and its model cannot be sized or fits nothing.
    """
    now = declared_whole(service)
    was = kept.declared if kept else {}
    same = {name: bool(was) and was.get(name) == now.get(name) for name in {*now, *was}}
    named = kept is not None and all(same.get(name, True) for name in ("model", "revision"))
    before = kept.model if kept and named else None
    model_stays = named and same.get("facts", True)
    model = before if model_stays else None
    unknown = model is not None and model.facts is None and engine_name(service.engine) is not None
    if model is None or unknown or model_folder(service) is not None:
        model = lock_model(service, asking, before.commit if before else None)
    image_stays = kept and same.get("image", True) and same.get("packages", True)
    image = kept.image if kept and image_stays else _image(service, asking)
    beside = lock_beside(service, kept, asking.say)
    gpu_stays = model_stays and all(same.get(name, True) for name in ("engine", "gpu"))
    gpu_stays = gpu_stays and not _refits(service, kept, model, beside)
    chosen = kept if kept and gpu_stays else _chosen(service, model, beside, asking)
    return chosen.model_copy(
        update={"declared": now, "model": model, "image": image, "beside": beside}
    )


def lock_model(
    service: type[ModelService], asking: Asking, commit: str | None = None
) -> LockedModel | None:
    """Find out what a service's model is.

    Args:
        service: The service.
        asking: How others are asked.
        commit: Stay at this one. Default: what the service's revision means now.

    Raises:
        HubError: The hub does not give it.
        LockError: Its folder is missing.
    """
    if service.model is None:
        return None
    folder = model_folder(service)
    if folder is not None:
        asking.say(f"{service.__name__}: reading {service.model}")
        files = folder_files(folder, asking.progress)
        facts, why = _sized(service, lambda: read_model(folder))
        return LockedModel(id=service.model, files=files, facts=facts, unsized=why)
    if service.model.startswith("/"):
        why = "a path in the container, which is not there before it starts"
        return LockedModel(id=service.model, unsized=why)
    asking.say(f"{service.__name__}: asking the hub for {service.model}")
    found = find_model(service.model, commit or service.revision)
    files = found.whole_weights()
    if not files:
        asking.warn(f"{service.model} has no weight files that are known; none are locked.")
    for file in files:
        if file.sha256 is None:
            asking.warn(f"{service.model}: the hub has no hash of {file.name}; its size is locked.")
    facts, why = _sized(service, lambda: facts_of(found))
    return LockedModel(id=service.model, commit=found.commit, files=files, facts=facts, unsized=why)


def _prices_of(choices: tuple[str, ...]) -> dict[str, float]:
    """Return the list price an hour of each choice that the catalogue knows."""
    profiles = (GPUProfile(choice, unlisted=True) for choice in choices)
    return {
        str(profile): round(profile.facts.usd_per_second * 3600 * profile.count, 4)
        for profile in profiles
        if profile.gpu in gpu_catalogue() and profile.facts
    }


def _sized(
    service: type[ModelService], size: Callable[[], ModelFacts]
) -> tuple[ModelFacts | None, str]:
    """Facts, those that are stated first, or why there are none; only a fit cannot do without."""
    if service.facts is not None:
        return service.facts, ""
    if engine_name(service.engine) is None:
        return None, "no engine whose memory is known serves it"
    try:
        return size(), ""
    except SizingError as error:
        if isinstance(service.gpu, GPUFit):
            raise
        return None, str(error)


def _refits(
    service: type[ModelService],
    kept: LockedService | None,
    model: LockedModel | None,
    beside: tuple[LockedModel, ...],
) -> bool:
    """Whether what a fit was worked out from is another by now: a folder's model, a draft model's config."""
    if kept is None or not isinstance(service.gpu, GPUFit):
        return False
    was = [one.facts for one in (kept.model, *kept.beside) if one]
    return was != [one.facts for one in (model, *beside) if one]


def _chosen(
    service: type[ModelService],
    model: LockedModel | None,
    beside: tuple[LockedModel, ...],
    asking: Asking,
) -> LockedService:
    """The GPUs of a service, with the prices they are chosen by; nothing else of it yet."""
    gpu = _gpu(service, model, beside, asking)
    return LockedService(gpu=gpu, usd_per_hour=_prices_of(gpu))


def _gpu(
    service: type[ModelService],
    model: LockedModel | None,
    beside: tuple[LockedModel, ...],
    asking: Asking,
) -> tuple[str, ...]:
    if service.gpu is None:
        return ()
    if isinstance(service.gpu, GPUProfile):
        return tuple(map(str, service.gpu.choices))
    if model is None or model.facts is None:
        why = model.unsized if model else "the service names no model"
        msg = f"{service.__name__}.gpu = GPUProfile.{service.gpu} cannot be worked out: {why}. Name a GPU, or state the model's facts = ModelFacts(...)."
        raise LockError(msg)
    fitted = fit_service(service, model.facts, beside)
    for line in fitted.uncounted:
        asking.warn(f"{service.__name__}.gpu = GPUProfile.{service.gpu}: {line}.")
    return tuple(map(str, fitted.profile.choices))


def _image(service: type[ModelService], asking: Asking) -> LockedImage:
    image = plan_service(service, _ANY_GPU).image
    asking.say(f"{service.__name__}: resolving packages")
    packages = resolve_packages(image, asking.resolver)
    if packages.note:
        asking.warn(f"{service.__name__}: {packages.note}")
    python = python_series(python_of(image))
    found = LockedImage(packages=packages.lines, resolved_by=packages.resolved_by, python=python)
    if not isinstance(image.base, Registry):
        return found
    asking.say(f"{service.__name__}: asking the registry for {image.base.tag}")
    digest, why = digest_of(image.base.tag)
    if digest is None:
        asking.warn(f"{service.__name__}: {image.base.tag} stays a tag, not a digest: {why}.")
    return found.model_copy(update={"base": image.base.tag, "digest": digest})


def _base_text(image: ImageSpec) -> str:
    base = image.base
    if isinstance(base, Registry):
        python = f" python {base.add_python}" if base.add_python else ""
        return f"{base.tag}{python}"
    said = base.model_dump(mode="json", exclude_defaults=True)
    return " ".join([base.kind, *(f"{name}={value}" for name, value in sorted(said.items()))])


def _packages_text(image: ImageSpec) -> str:
    return " ".join([*installs_of(image), *_project_files(image)])


def _project_files(image: ImageSpec) -> Iterator[str]:
    """Files that name packages and are resolved while the image is built, by their contents."""
    for layer in image.layers:
        if isinstance(layer, UvLock | PyprojectFile):
            folder = getattr(layer, "project_dir", None)
            path = Path(folder) / "uv.lock" if folder else Path(getattr(layer, "path", ""))
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield f"{path.name}@sha256:{digest[:16]}"
