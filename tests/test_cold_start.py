"""The declaration of a cold start: what it refuses, what it compiles to, the record of a start."""

from __future__ import annotations

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit import (
    VLLM,
    ColdStart,
    Echo,
    Endpoint,
    GPUProfile,
    ModelService,
    Scaling,
    SGLang,
    Transformers,
    WeightCache,
    plan_service,
    serve,
)
from modalkit.compile import cls_keywords
from modalkit.declare.cold_start import PHASES, ColdStartRecord, startup_timeout_s
from modalkit.declare.credentials import ProxyAuth
from modalkit.errors import DeclarationError, PlanError
from modalkit.lock import LockedFile, LockedModel, LockedService


class Chat(ModelService):
    """A service with an engine that can sleep."""

    model = "org/model"
    engine = SGLang()
    gpu = GPUProfile("L40S")
    weights = WeightCache("model")


def locked(size: int) -> LockedService:
    """A lock that knows a model's size."""
    return LockedService(
        model=LockedModel(id="org/model", commit="0" * 40, files=(LockedFile(name="a", size=size),))
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warm_up": 0}, "ColdStart.warm_up must be 1 to 100, got 0."),
        ({"warm_up": True}, "ColdStart.warm_up"),
        ({"budget_s": 0}, "ColdStart.budget_s must be 0.1 to 86400 seconds, got 0"),
        ({"snapshot": "disk"}, "ColdStart.snapshot"),
        ({"compile_cache": "yes"}, "ColdStart.compile_cache"),
        ({"snapshots": "gpu"}, "Did you mean 'snapshot'?"),
    ],
)
def test_impossible_values_are_refused_where_they_are_written(fields, message):
    """Each message names the field, the value and what is allowed."""
    with pytest.raises(DeclarationError) as caught:
        ColdStart(**fields)
    assert message in str(caught.value)


def test_a_class_body_names_the_kind_it_expects():
    """A dictionary, or None, is answered with what to write."""
    with pytest.raises(DeclarationError, match="Write cold_start = ColdStart"):
        type("Wrong", (ModelService,), {"cold_start": {"snapshot": "gpu"}})
    with pytest.raises(DeclarationError, match="cold_start cannot be NoneType"):
        type("Wrong", (ModelService,), {"cold_start": None})


def problems(**body) -> str:
    """What a class with this body is refused for."""
    with pytest.raises(PlanError) as caught:
        plan_service(type("Wrong", (ModelService,), {"__module__": __name__, **body}))
    return str(caught.value)


def test_what_does_not_go_together_is_refused_with_its_reason():
    """A GPU snapshot without a GPU, counted warm-up without an engine, sleep that anyone could order."""
    assert "there is no gpu" in problems(engine=Echo(), cold_start=ColdStart(snapshot="gpu"))
    assert "def warm_up(self)" in problems(cold_start=ColdStart(warm_up=2))
    served = Endpoint(kind="server", auth=ProxyAuth())
    for engine in (VLLM(), SGLang()):
        said = problems(
            model="org/model",
            engine=engine,
            gpu=GPUProfile("L40S"),
            api=served,
            cold_start=ColdStart(snapshot="gpu"),
        )
        assert "Write Endpoint(kind='web')" in said


def wake(self) -> None:
    """A method that an engine's service has no use for."""


def test_an_engine_leaves_no_room_for_wake():
    """A lifecycle method that nothing would call is refused."""
    assert "wake is never called" in problems(engine=Echo(), wake=wake)


@pytest.mark.parametrize(
    ("snapshot", "enters", "keywords"),
    [
        (None, {"_modalkit_start"}, {}),
        (
            "cpu",
            {"_modalkit_before_snapshot", "_modalkit_after_snapshot"},
            {"enable_memory_snapshot": True},
        ),
        (
            "gpu",
            {"_modalkit_before_snapshot", "_modalkit_after_snapshot"},
            {
                "enable_memory_snapshot": True,
                "experimental_options": {"enable_gpu_snapshot": True},
            },
        ),
    ],
)
def test_a_snapshot_compiles_to_modals_flags_and_two_enters(snapshot, enters, keywords):
    """Modal accepts the class, whose start is one member or one on each side of the snapshot."""
    service = type(
        "Snapped",
        (Chat,),
        {"__module__": __name__, "cold_start": ColdStart(snapshot=snapshot)},
    )
    given_ = cls_keywords(service, plan_service(service))
    assert {name: given_[name] for name in keywords} == keywords
    assert ("enable_memory_snapshot" in given_) == bool(keywords)
    compiled = serve(modal.App("snapped"))(service)
    members = vars(compiled._get_user_cls())
    assert {name for name in members if name.startswith("_modalkit_")} == enters | {
        "_modalkit_stop"
    }


def test_a_server_can_have_a_snapshot_of_its_cpu():
    """Modal's servers take the flags and the two enters too."""
    body = {
        "__module__": __name__,
        "engine": Echo(),
        "api": Endpoint(kind="server", auth=ProxyAuth()),
        "cold_start": ColdStart(snapshot="cpu"),
    }
    assert serve(modal.App("server"))(type("Snapped", (ModelService,), body))


@pytest.mark.parametrize(
    ("engine", "flags", "variables"),
    [
        (
            SGLang(),
            {"--enable-memory-saver", "--enable-weights-cpu-backup"},
            {"TORCHINDUCTOR_COMPILE_THREADS"},
        ),
        (
            VLLM(),
            {"--enable-sleep-mode"},
            {"VLLM_SERVER_DEV_MODE", "TORCHINDUCTOR_COMPILE_THREADS", "TORCH_CPP_LOG_LEVEL"},
        ),
        (Transformers(), set(), set()),
    ],
)
def test_an_engine_can_sleep_where_its_gpu_goes_into_a_snapshot(engine, flags, variables):
    """The flags and variables of its sleep mode are there for a GPU snapshot, and only then."""
    plans = {}
    for snapshot in (None, "cpu", "gpu"):
        body = {"engine": engine, "cold_start": ColdStart(snapshot=snapshot)}
        service = type("Sleeper", (Chat,), {"__module__": __name__, **body})
        plans[snapshot] = plan_service(service).engine
    assert flags <= set(plans["gpu"].argv)
    assert variables <= set(plans["gpu"].environment)
    for other in (None, "cpu"):
        assert not flags & set(plans[other].argv)
        assert not variables & set(plans[other].environment)
        assert plans[other].argv == plans[None].argv


INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


def test_compile_caches_follow_the_weights():
    """They lie beside weights that can be written, else on a Volume of their own, or nowhere."""
    usual = plan_service(Chat)  # prefetched, so what serves mounts the weights read-only
    assert usual.environment[INDUCTOR] == "/modalkit-compiled/torchinductor"

    class Filling(Chat):
        weights = WeightCache("model", fill="start")

    filling = plan_service(Filling)
    assert filling.environment[INDUCTOR] == "/cache/torchinductor"
    assert filling.compiled is None

    class ReadOnly(Chat):
        weights = WeightCache("model", read_only=True, environment_name="prod")

    plan = plan_service(ReadOnly)
    assert plan.environment[INDUCTOR] == "/modalkit-compiled/torchinductor"
    assert plan.environment["HF_HUB_CACHE"] == "/cache/huggingface/hub"
    assert plan.compiled is not None
    assert (plan.compiled.name, plan.compiled.environment_name) == ("model-compiled", "prod")
    assert set(cls_keywords(ReadOnly, plan)["volumes"]) == {"/cache", "/modalkit-compiled"}

    class Without(ReadOnly):
        cold_start = ColdStart(compile_cache=False)

    plan = plan_service(Without)
    assert not set(plan.environment) & set(WeightCache("model").compile_env())
    assert plan.environment["HF_HUB_CACHE"] == "/cache/huggingface/hub"
    assert set(cls_keywords(Without, plan)["volumes"]) == {"/cache"}

    class Bare(Chat):
        weights = None
        env: dict[str, str] = {INDUCTOR: "/mine"}  # noqa: RUF012 - a declaration

    assert plan_service(Bare).environment == {INDUCTOR: "/mine"}


def test_the_start_up_timeout_is_sized_to_the_model():
    """A lock's bytes give it; without one, or where the service says it, nothing changes."""
    assert plan_service(Chat).scaling.startup_timeout == 1200
    assert plan_service(Chat, locked(16_000_000_000)).scaling.startup_timeout == 780
    assert plan_service(Chat, locked(690_000_000_000)).scaling.startup_timeout == 7500

    class Said(Chat):
        scaling = Scaling(startup_timeout=99)

    assert plan_service(Said, locked(690_000_000_000)).scaling.startup_timeout == 99


@given(st.integers(1, 10**15), st.integers(0, 10**12), st.booleans())
def test_more_weights_never_get_less_time(size, more, compiles):
    """The timeout grows with the weights, in whole minutes, up to Modal's day."""
    less, longer = (startup_timeout_s(n, compiles=compiles) for n in (size, size + more))
    assert 300 <= less <= longer <= 86_400
    assert less % 60 == 0


seconds = st.floats(0, 1e5).map(lambda number: round(number, 3))


@given(
    st.builds(
        ColdStartRecord,
        service=st.text(max_size=20),
        phases=st.dictionaries(st.sampled_from(PHASES), seconds),
        total_s=seconds,
        budget_s=st.none() | seconds,
        snapshot=st.sampled_from([None, "cpu", "gpu"]),
        restored=st.booleans(),
        container=st.text(max_size=20),
    ),
    st.text(max_size=20).filter(lambda text: "{" not in text),
)
def test_a_record_survives_a_log(record, prefix):
    """Whatever a log puts around the line, the same record is read back."""
    assert "\n" not in record.line()
    assert ColdStartRecord.of_line(f"{prefix}{record.line()} \n") == record


@pytest.mark.parametrize(
    "line",
    ["", "{}", '{"event": "modalkit.cold_start"', '{"event": "modalkit.cold_start", "x": 1}'],
)
def test_what_is_no_record_is_none(line):
    """A line that was cut, or is something else, is not read as a start."""
    assert ColdStartRecord.of_line(line) is None


def test_a_budget_is_kept_or_not():
    """A start is within its budget up to it, and without one."""
    assert ColdStartRecord(service="A", total_s=5, budget_s=5).within_budget
    assert not ColdStartRecord(service="A", total_s=5.1, budget_s=5).within_budget
    assert ColdStartRecord(service="A", total_s=500).within_budget
