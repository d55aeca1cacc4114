"""``modalkit plan`` as a user runs it: the real command on real files, offline."""

from __future__ import annotations

import json
import re
import runpy
import string
import subprocess
import sys

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.blueprint.reading import read_file
from modalkit.blueprint.report import PlanReport
from modalkit.errors import PlanError

from .planning import ROOT, SHOP, as_json, changed, plan


def test_everything_of_a_file_is_shown():
    """App, services, GPUs, memory, argv, image, volumes, secrets, endpoint, scaling, functions."""
    shown = plan(SHOP).output
    for expected in (
        "app shop",
        "Chat SGLang serving /models/qwen3-8b",
        "L40S, else A100-80GB, else H100",
        "31.3 of 44.4 GiB, fits, 13.1 free",
        "--context-length 8192",
        "lmsysorg/sglang:v0.5.23",
        "+ pip numpy==2.4.6",
        "qwen3 at /cache, shared at /shared",
        "huggingface (HF_TOKEN), modalkit-api-key (MODALKIT_API_KEY)",
        "web, /; Bearer keys, from MODALKIT_API_KEY in Secret 'modalkit-api-key'; /metrics key",
        "server, /; Modal proxy tokens",
        "0 to 4 containers, 64 inputs each, idle for 300 s",
        "at 9216db5781bf",
        "nightly a plain Modal function",
        "Cron('0 6 * * *', UTC)",
        "reports at /data",
        "HTTP, open to anyone",
        "entrypoints on this machine: main",
    ):
        assert expected in shown


def test_the_last_line_is_the_price():
    """The price of everything, with the source of the prices and their date."""
    last = plan(SHOP, "--requests-per-day", 2000).output.rstrip().splitlines()[-1]
    assert re.match(r"Price: \$13\.18 to \$47\.85 an hour; \$[\d,]+ a month under 2,000", last)
    assert "Modal's list prices, 20" in last


def test_what_the_client_keeps_to_itself_is_said():
    """A plain function's image and scaling are not shown, and the plan says so."""
    report = as_json(f"{SHOP}::nightly")
    nightly = report.plan.apps[0].functions[0]
    assert nightly.gpus == ("T4",)
    assert nightly.resources.memory_mib == 2048
    assert nightly.timeout == 900
    assert any("min_containers" in one for one in nightly.not_shown)


def test_one_class_alone():
    """``FILE::NAME`` shows one, and an unknown name is answered with those there are."""
    assert [one.name for one in as_json(f"{SHOP}::Chat").plan.services] == ["Chat"]
    done = plan(f"{SHOP}::Chit")
    assert done.exit_code == 1
    assert "has no 'Chit'; it has Chat, Large" in done.output


def test_unknown_facts_are_not_guessed():
    """A model that nothing is known of has no memory and no month, and the plan says what to run."""
    remote = as_json(f"{SHOP}::Remote", "--requests-per-day", 10).plan.services[0]
    assert remote.memory == ()
    assert remote.price.month is None
    assert "modalkit lock" in remote.unsized


def test_a_model_that_does_not_fit_is_said():
    """The bar and a note say by how much."""
    shown = plan(f"{SHOP}::Embedder").output
    assert "does not work on A10: short of 40.4 GiB per GPU" in shown


def test_the_type_that_is_served_is_examined(shop):
    """A model that no T4 runs in its own bfloat16 runs there in the float16 its engine is told."""
    gpus = changed(
        shop, 'GPUProfile("L40S", fallbacks=["A100-80GB", "H100"])', 'GPUProfile("T4:4")'
    )
    assert "dtype='float16'" in as_json(gpus).plan.apps[0].services[0].memory[0].problem
    told = changed(gpus, "SGLang(", 'SGLang(dtype="float16", ')
    assert not as_json(told).plan.apps[0].services[0].memory[0].problem


def test_plain_modal_apps_are_shown(tmp_path):
    """A file without any service is planned too."""
    report = as_json(ROOT / "examples" / "plain_modal.py")
    assert report.plan.services == ()
    assert report.plan.apps[0].functions


def test_what_only_modal_judges_is_shown_as_written(tmp_path):
    """A plain function that modalkit would not declare so is planned all the same."""
    file = tmp_path / "odd.py"
    file.write_text(
        "import modal\napp = modal.App()\n"
        "@app.function(cpu=0.01, memory=64, gpu=['H100:16', 'any'], cloud='elsewhere')\n"
        "def odd(): ...\n"
    )
    odd = as_json(file).plan.apps[0].functions[0]
    assert (odd.resources.cpu, odd.resources.memory_mib) == (0.01, 64)
    assert odd.container.unpriced == odd.gpus


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import nothing_of_that_name\n", "line 1 fails: ModuleNotFoundError"),
        ("x = 1\n", "has no Modal app"),
        ("def broken(:\n", "line 1"),
    ],
)
def test_files_that_cannot_be_planned(tmp_path, text, problem):
    """A file that fails, or has no app, is refused with its line, and without a traceback."""
    file = tmp_path / "mine.py"
    file.write_text(text)
    done = plan(file)
    assert done.exit_code == 1
    assert problem in done.output
    assert "Traceback" not in done.output


def test_impossible_services_are_all_named(tmp_path):
    """A service that cannot be is refused with every problem."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import modal\nfrom modalkit import ModelService, VLLM, serve\n"
        "app = modal.App('x')\n@serve(app)\nclass Chat(ModelService):\n    engine = VLLM()\n"
    )
    with pytest.raises(PlanError):
        read_file(file)
    assert plan(file).exit_code == 1


def test_the_schema_is_what_the_docs_publish():
    """``docs/plan.schema.json`` is what ``scripts/write_plan_schema.py`` writes now."""
    script = runpy.run_path(str(ROOT / "scripts" / "write_plan_schema.py"))
    assert (ROOT / "docs" / "plan.schema.json").read_text() == script["schema_text"]()


def test_what_is_printed_is_valid_by_the_published_schema(tmp_path):
    """A reader who knows the schema alone can check a plan, with a comparison and a traffic in it too."""
    schema = json.loads((ROOT / "docs" / "plan.schema.json").read_text())
    earlier = tmp_path / "plan.json"
    earlier.write_text(plan(SHOP, "--requests-per-day", 100, "--json").stdout)
    options = ("--requests-per-day", 200, "--budget", "1/month", "--against", earlier)
    for text in (earlier.read_text(), plan(SHOP, *options, "--json").stdout):
        jsonschema.validate(json.loads(text), schema)


def test_json_reads_back_and_prints_the_same():
    """What ``--json`` prints validates as a report, and prints to the same text again."""
    done = plan(SHOP, "--requests-per-day", 100, "--json")
    report = PlanReport.model_validate_json(done.stdout)
    assert json.loads(report.model_dump_json()) == json.loads(done.stdout)
    assert [one.name for one in report.plan.services] == [
        "Chat", "Large", "Embedder", "Remote", "Tickets",
    ]  # fmt: skip


def test_the_schema_names_every_field_that_is_printed():
    """The published schema is closed: it has every key of a real plan and allows no other."""
    schema = json.loads((ROOT / "docs" / "plan.schema.json").read_text())
    assert schema["additionalProperties"] is False
    printed = json.loads(plan(SHOP, "--json").stdout)
    assert set(printed) == set(schema["properties"])
    service = schema["$defs"]["ServiceBlueprint"]
    assert set(printed["plan"]["apps"][0]["services"][0]) == set(service["properties"])


SECRETIVE = """
import modal
from modalkit import BearerKeys, Endpoint, ModelService, ImageSpec, Secret, VLLM, GPUProfile, serve
value = {value!r}
app = modal.App("kept", secrets=[modal.Secret.from_dict({{"A": value}})])

@serve(app)
class Chat(ModelService):
    model = "Qwen/Qwen3-8B"
    engine = VLLM(env={{"PLAIN": value}})
    gpu = GPUProfile("H100")
    secrets = [Secret("named", keys=["TOKEN"])]
    env = {{"GREETING": value}}
    api = Endpoint(auth=BearerKeys(Secret("team")))
    image = ImageSpec.engine().env(NOTE=value)

@app.function(secrets=[modal.Secret.from_dict({{"B": value}})], env={{"C": value}})
def plain(): ...
"""


@settings(max_examples=25, deadline=None)
@given(st.text(string.ascii_letters + string.digits, min_size=24, max_size=40))
def test_no_value_of_a_secret_is_in_a_plan(tmp_path_factory, value):
    """Values of Secrets, variables and the image's environment are in no text, JSON or page."""
    folder = tmp_path_factory.mktemp("secretive")
    file = folder / "kept.py"
    canary = f"word {value}"  # a word before it, so that no declaration refuses it as a key
    file.write_text(SECRETIVE.format(value=canary))
    page = folder / "plan.html"
    shown = plan(file, "--html", page)
    assert shown.exit_code == 0, shown.output
    printed = shown.output + plan(file, "--json").output + page.read_text()
    assert value not in printed
    assert "TOKEN" in printed


LOADED = """
import sys
from modalkit.blueprint.reading import read_file
read_file({shop!r})
print(sorted({{"torch", "transformers", "modalkit.local", "vllm"}} & set(sys.modules)))
"""


def test_importing_a_service_file_needs_no_torch():
    """Planning five services loads neither torch nor an engine nor the local Modal."""
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED.format(shop=str(SHOP))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"
