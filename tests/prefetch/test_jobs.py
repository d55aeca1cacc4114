"""What a service's cache needs, from its plan; and how that travels into a container."""

from __future__ import annotations

import pytest

from modalkit import Echo, GPUProfile, LoRA, ModelService, Secret, SGLang, WeightCache
from modalkit.declare.weights_sources import Bucket
from modalkit.errors import DeclarationError, PlanError
from modalkit.lock import LockedFile, LockedModel, LockedService
from modalkit.plan import plan_service
from modalkit.prefetch.jobs import jobs_as_text, jobs_from_text, jobs_of

COMMIT = "a" * 40


def service(**body) -> type[ModelService]:
    return type("Chat", (ModelService,), {"model": "org/model", "engine": Echo(), **body})


def jobs(locked: LockedService | None = None, **body):
    declared = service(**body)
    return jobs_of(declared, plan_service(declared, locked))


def test_a_hub_model_with_a_cache_is_prefetched():
    """The plan mounts the Volume read-only and offline; the job names the model and the main branch."""
    declared = service(weights=WeightCache("w", sub_path="/a"))
    plan = plan_service(declared)
    assert plan.prefetched
    assert plan.weights.read_only
    assert plan.environment["HF_HUB_OFFLINE"] == "1"
    (job,) = jobs_of(declared, plan)
    assert (job.wanted.model, job.wanted.asked, job.wanted.locked) == ("org/model", "main", ())
    assert (job.volume_mount, str(job.root)) == ("/caches/default/w", "/caches/default/w/a")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"weights": WeightCache("w", fill="start")},
        {"weights": WeightCache("w", read_only=True)},
        {"weights": WeightCache("w"), "model": "/models/x"},
    ],
)
def test_what_is_not_prefetched(body):
    """Without a cache, filled at the start, filled by others, or a path: nothing to do."""
    declared = service(**body)
    plan = plan_service(declared)
    assert not plan.prefetched
    assert jobs_of(declared, plan) == ()


def test_the_lock_pins_the_commit_and_the_files():
    """What is wanted is the locked commit with the locked digests."""
    file = LockedFile(name="model.safetensors", size=3, sha256="b" * 64)
    locked = LockedService(model=LockedModel(id="org/model", commit=COMMIT, files=(file,)))
    (job,) = jobs(locked, weights=WeightCache("w"))
    assert (job.wanted.asked, job.wanted.locked) == (COMMIT, (file,))


def test_adapters_and_draft_models_come_along():
    """What the engine reads besides is prefetched by its id; a path is not."""
    engine = SGLang(lora=[LoRA("sql", "org/sql-adapter"), LoRA("own", "/cache/own")])
    found = jobs(engine=engine, gpu=GPUProfile("L4"), weights=WeightCache("w"))
    assert [job.wanted.model for job in found] == ["org/model", "org/sql-adapter"]


@pytest.mark.parametrize(
    "source",
    [
        None,
        "s3://bucket/prefix",
        Bucket(
            "s3://b", secret=Secret("aws", keys=["AWS_ACCESS_KEY_ID"]), endpoint_url="https://x"
        ),
        "volume://trained/runs/7",
        "./folder",
    ],
)
def test_jobs_travel_as_text(source):
    """A container reads what was written for it, whatever the source."""
    found = jobs(weights=WeightCache("w", source=source, include=["*.gguf"], exclude=["x"]))
    assert jobs_from_text(jobs_as_text(found)) == found
    assert found[0].source_mount == (None if source is None else "/sources/Chat")


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda: WeightCache("w", source="hf://x"), "is no source of weights. Write 's3://"),
        (lambda: WeightCache("w", source="s3://"), r"Bucket\.url 's3://' is not a bucket's"),
        (lambda: WeightCache("w", source="volume://a b/c"), "not a name Modal accepts"),
        (lambda: WeightCache("w", source="volume://a/../c"), "leads out of the Volume"),
        (lambda: WeightCache("w", source="./x", fill="start"), "of no use with fill='start'"),
        (lambda: WeightCache("w", source="./x", read_only=True), "of no use with read_only=True"),
        (lambda: WeightCache("w", include="*.gguf"), r"include is one string. .*\['\*\.gguf'\]"),
    ],
)
def test_impossible_sources_are_refused_where_they_are_written(declare, told):
    """Each says what to write instead."""
    with pytest.raises(DeclarationError, match=told):
        declare()


def test_a_source_needs_a_name_for_what_it_holds():
    """A model that is a path is loaded from there, not from what was prefetched."""
    declared = service(model="/models/x", weights=WeightCache("w", source="./x"))
    with pytest.raises(PlanError, match="Give what the source holds a name"):
        plan_service(declared)
