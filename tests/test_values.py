from __future__ import annotations

import json
import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import Strict

from modalkit import errors
from modalkit._names import check_container_path, check_environment_name, is_object_name
from modalkit._values import Value, between, did_you_mean, one_of
from modalkit.declare.cold_start import ColdStart
from modalkit.declare.credentials import BearerKeys, ProxyAuth
from modalkit.declare.endpoints import Endpoint
from modalkit.declare.exposure import CORS
from modalkit.declare.gpu import GPUProfile
from modalkit.declare.image import ImageSpec
from modalkit.declare.resources import Resources
from modalkit.declare.scaling import Scaling
from modalkit.declare.schedule import Cron, Period
from modalkit.declare.secrets import Secret
from modalkit.declare.weights import WeightCache
from modalkit.errors import DeclarationError

DECLARATIONS = [
    GPUProfile("H100:2", fallbacks=["H200", "B200:1"]),
    ImageSpec(),
    ImageSpec("3.11.4")
    .apt("git")
    .env({"A": "1"}, B="2")
    .pip("numpy==2.3.0")
    .uv("torch", index_url="https://example.com/whl", pre=True)
    .run("ls", secrets=[Secret("build")], gpu="L4")
    .workdir("/app")
    .requirements("requirements.txt")
    .pyproject("pyproject.toml", extras=["dev"])
    .uv_lock(groups=["serve"])
    .local_dir("src", "/src", ignore=["*.pyc"])
    .local_file("README.md", "/data/", copy=True)
    .local_python("modalkit"),
    ImageSpec.registry("nvidia/cuda:13.0.1", add_python="3.12", secret=Secret("registry")),
    ImageSpec.dockerfile("Dockerfile", context_dir=".", build_args={"A": "b"}),
    ImageSpec.engine().pip("numpy==2.3.0"),
    Secret("hub", keys=["HF_TOKEN"], environment_name="main"),
    WeightCache("qwen3", mount="/models", read_only=True, sub_path="/a/b", version=1),
    Scaling(max_containers=3, concurrency=8, target_concurrency=4),
    Endpoint(),
    Endpoint(auth=[ProxyAuth(), BearerKeys()], rate_limit_per_minute=60, access_log="off"),
    Endpoint(access_log="prompts", metrics="key", health="closed", max_body_mib=1),
    Endpoint(public=True, cors=CORS(["https://a.example"], credentials=True), label="chat"),
    Endpoint(kind="server", auth=ProxyAuth(), port=30000, routing_region="eu-west"),
    BearerKeys(Secret("team"), variable="KEYS"),
    Resources(cpu=(1, 4), memory_mib=(512, 1024), disk_mib=2048, region=["us", "eu"], cloud="aws"),
    Cron("*/5 8-18 * * mon-fri", timezone="Europe/Berlin"),
    Period(days=1, seconds=0.5),
]


@pytest.mark.parametrize("value", DECLARATIONS, ids=lambda value: type(value).__name__)
def test_a_declaration_survives_json(value):
    """What was declared can be written down and read back as the same value."""
    kind = type(value)
    assert kind.model_validate(value.model_dump()) == value
    assert kind.model_validate_json(value.model_dump_json()) == value
    assert kind.model_validate(json.loads(value.model_dump_json())) == value


@pytest.mark.parametrize("value", DECLARATIONS, ids=lambda value: type(value).__name__)
def test_a_declaration_cannot_change(value):
    """A declaration can be a key and shared, for it never changes."""
    assert hash(value) == hash(value.model_copy())
    field = next(iter(type(value).model_fields))
    with pytest.raises(ValueError, match="frozen"):
        setattr(value, field, None)


def test_declaring_does_not_load_modal():
    """Importing the declarations and using them loads neither modal nor torch."""
    code = (
        "import sys\n"
        "from modalkit import Cron, Endpoint, GPUProfile, ImageSpec, Resources, Scaling, WeightCache\n"
        "ImageSpec().pip('x==1').pinned, Endpoint(), Scaling().to_modal(), WeightCache('a').env\n"
        "GPUProfile('L4').to_modal(), Resources().to_modal(), Cron('0 6 * * *')\n"
        "print(sorted({'modal', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Sample(Value):
    """A value with a little of everything."""

    count: Annotated[int, Strict(), between(1, 4, "items")] = 1
    size: Annotated[float, between(0)] = 0.0
    secret: Secret | None = None


def test_every_problem_is_told_at_once():
    """Two wrong fields are two lines of one error."""
    with pytest.raises(errors.DeclarationError) as raised:
        Sample(count=9, size=-1)
    assert str(raised.value).splitlines() == [
        "Sample.count must be 1 to 4 items, got 9.",
        "Sample.size must be at least 0, got -1.",
    ]


def test_a_misspelt_field_names_the_nearest():
    """An unknown field is an error with a suggestion."""
    with pytest.raises(
        errors.DeclarationError, match=r"Sample\.cuont is not a field\. Did you mean 'count'"
    ):
        Sample(cuont=1)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: GPUProfile("L4", cuont=2),
            "GPUProfile.cuont is not a field. Did you mean 'count'?",
        ),
        (lambda: WeightCache("w", mout="/a"), "Did you mean 'mount'? WeightCache has create,"),
        (lambda: Endpoint(pubic=True), "Endpoint.pubic is not a field. Did you mean 'public'?"),
        (
            lambda: ImageSpec(pyton="3.12"),
            "Did you mean 'python'? ImageSpec has base, layers or python",
        ),
    ],
)
def test_a_misspelt_argument_reads_the_same(make, told):
    """A constructor with a signature of its own suggests the nearest argument too."""
    with pytest.raises(errors.DeclarationError) as raised:
        make()
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: ColdStart("gpu"),
            "ColdStart takes its fields by their names. Write ColdStart(snapshot=...).",
        ),
        (lambda: Scaling(3), "Scaling takes its fields by their names. Write Scaling("),
    ],
)
def test_a_value_without_a_name_is_told_to_have_one(make, told):
    """What stands where a field's name belongs is answered with the first field, not with Python's own words."""
    with pytest.raises(errors.DeclarationError) as raised:
        make()
    assert told in str(raised.value)
    assert GPUProfile("L4").gpu == "L4"  # where the first field may stand alone, it does


class Needs(Value):
    """A value that cannot be made from nothing."""

    name: str


def test_what_is_missing_is_named():
    """A required field that was left out is named."""
    with pytest.raises(errors.DeclarationError) as raised:
        Needs()
    assert str(raised.value) == "Needs.name is required."


def test_what_stands_where_a_secret_belongs_is_not_shown():
    """A value pasted in place of a Secret is named by its type alone."""
    with pytest.raises(errors.DeclarationError) as raised:
        Sample(secret="pasted-value")
    assert str(raised.value) == "Sample.secret must be Secret(...), got str."


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1])
def test_between_refuses_what_is_no_amount(number):
    """Neither infinity nor 'not a number' is in any range."""
    with pytest.raises(errors.DeclarationError, match="must be at least 0"):
        Sample(size=number)


def test_words_for_messages():
    """Suggestions see through case and look-alikes; lists read as a sentence."""
    assert did_you_mean("h1oo", ["H100", "L4"]) == " Did you mean 'H100'?"
    assert did_you_mean("zebra", ["H100"]) == ""
    assert one_of(["A"]) == "A"
    assert one_of(["A", "B", "C"]) == "A, B or C"


@pytest.mark.parametrize("name", ["a", "my-volume_1.0", "A" * 64, "ap-short"])
def test_names_modal_accepts(name):
    """The rule for names is the client's own."""
    from modal._utils.name_utils import is_valid_object_name

    assert is_object_name(name)
    assert is_valid_object_name(name)


@pytest.mark.parametrize("name", ["", "a b", "A" * 65, "ap-" + "x" * 22, "ü", "a/b"])
def test_names_modal_refuses(name):
    """What the client refuses is refused here too."""
    from modal._utils.name_utils import is_valid_object_name

    assert not is_object_name(name)
    assert not is_valid_object_name(name)


@pytest.mark.parametrize("name", ["en-123", "-a", "a b", "", "a" * 65])
def test_environments_modal_refuses(name):
    """The rule for environment names is the client's own."""
    from modal._utils.name_utils import is_valid_environment_name

    assert not is_valid_environment_name(name, allow_periods=True)
    with pytest.raises(errors.DeclarationError, match="is not the name of a Modal environment"):
        check_environment_name("Secret.environment_name", name)


@pytest.mark.parametrize(
    ("path", "better"),
    [("a", "/a"), ("/a/", "/a"), ("/a//b", "/a/b"), ("/a/../b", "/a/b"), ("//a", "/a"), ("", "/")],
)
def test_container_paths_have_one_form(path, better):
    """A path that is relative or roundabout is refused, with the form to write."""
    with pytest.raises(errors.DeclarationError, match=f"Write '{better}'"):
        check_container_path("X.mount", path)


def test_a_value_cannot_be_changed():
    """Assigning to a field of a value is modalkit's own error, with what to do instead."""
    with pytest.raises(DeclarationError, match=r"GPUProfile.count cannot be changed"):
        GPUProfile("H100").count = 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"gpu": None}, "must be a string such as 'H100', got NoneType"),
        ({"gpu": "H100", "fallbacks": "A100"}, "Write ['A100']."),
    ],
)
def test_a_gpu_of_the_wrong_kind_says_what_to_write(arguments, said):
    """Not a string for a type, or a string for a list, is told apart from an unknown type."""
    with pytest.raises(DeclarationError) as caught:
        GPUProfile(**arguments)
    assert said in str(caught.value)
