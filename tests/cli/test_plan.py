"""``modalkit plan`` as a user runs it: the real command on real files, offline."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import string
import subprocess
import sys
from html import escape
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from modalkit.blueprint.changes import compare, compare_file
from modalkit.blueprint.measured import read_measured
from modalkit.blueprint.reading import read_file
from modalkit.blueprint.report import PlanReport
from modalkit.blueprint.values import Blueprint
from modalkit.cli import main
from modalkit.declare.gpu import catalogue_date
from modalkit.errors import DeclarationError, PlanError
from modalkit.pricing.month import Throughput, Traffic
from modalkit.pricing.total import Budget, Total, usd

ROOT = Path(__file__).parents[2]
SHOP = Path(__file__).parent / "apps" / "shop.py"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def plan(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["plan", *map(str, arguments)])


def as_json(*arguments: object) -> PlanReport:
    """What ``--json`` prints."""
    done = plan(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return PlanReport.model_validate_json(done.stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the shop that a test may change."""
    shutil.copytree(SHOP.parent, tmp_path / "apps")
    return tmp_path / "apps" / "shop.py"


def changed(file: Path, old: str, new: str) -> Path:
    """The file with one line written otherwise."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


def test_the_type_that_is_served_is_examined(shop):
    """A model that no T4 runs in its own bfloat16 runs there in the float16 its engine is told."""
    gpus = changed(
        shop, 'GPUProfile("L40S", fallbacks=["A100-80GB", "H100"])', 'GPUProfile("T4:4")'
    )
    assert "dtype='float16'" in as_json(gpus).plan.apps[0].services[0].memory[0].problem
    told = changed(gpus, "SGLang(", 'SGLang(dtype="float16", ')
    assert not as_json(told).plan.apps[0].services[0].memory[0].problem


# ── what is shown ───────────────────────────────────────────────────────────────────────────────


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


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────


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


# ── price and budget ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--budget", "16/hour"], 0),
        (["--budget", "15/hour"], 1),
        (["--budget", "12000/month"], 0),
        (["--budget", "11000/month"], 1),
        (["--requests-per-day", "2000", "--budget", "700/month"], 0),
        (["--requests-per-day", "2000", "--budget", "500/month"], 1),
    ],
)
def test_a_budget_fails_the_command(arguments, code):
    """Above the budget the exit code is 1 and the sentence says by what."""
    done = plan(f"{SHOP}::Chat", *arguments)
    assert done.exit_code == code
    assert ("is over the budget of" in done.output) == bool(code)


def test_a_budget_that_nothing_bounds_fails(shop):
    """Without ``max_containers`` an hour has no most, so that no budget can hold it."""
    file = changed(
        shop, "scaling = Scaling(min_containers=0, max_containers=4)", "scaling = Scaling()"
    )
    done = plan(f"{file}::Chat", "--budget", "1000/hour")
    assert done.exit_code == 1
    assert "max_containers" in done.output


@pytest.mark.parametrize("text", ["500", "500/week", "-3/hour", "much/month"])
def test_budgets_that_are_none(text):
    """Another form is refused with the two that work."""
    with pytest.raises(DeclarationError, match=r"500/month or 3/hour"):
        Budget.parse(text)


def test_a_budget_needs_every_month():
    """A service whose month is not known leaves a budget under traffic unheld."""
    together = Total(
        least_hour=0, most_hour=1, month=(1, 2), most_month=3, unbounded=(), unpriced=("Remote",)
    )
    assert "Remote" in Budget.parse("500/month").problem(together, has_traffic=True)


def test_a_measurement_replaces_the_estimate(tmp_path):
    """``--bench`` takes one container's measured speed, and the plan says where it is from."""
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({"slots": 16, "tokens_per_s": 900, "cold_start_s": 70}))
    chat = as_json(f"{SHOP}::Chat", "--requests-per-day", 100, "--bench", file).plan.services[0]
    assert chat.price.month is not None
    assert chat.price.month.throughput == "measured, bench.json"
    assert chat.price.month == chat.price.month_fast
    assert read_measured(file) == Throughput(
        slots=16, tokens_per_s=900, cold_start_s=70, source="measured, bench.json"
    )


def test_a_measurement_alone_prices_a_million_answer_tokens(tmp_path):
    """``--bench`` without a traffic has its column, and the text says which file it is from."""
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({"slots": 16, "tokens_per_s": 1000}))
    shown = plan(f"{SHOP}::Chat", "--bench", file).output
    assert re.search(r"1M answer tokens\nChat .* \$0\.54\n", shown)
    assert "the speed of Chat is measured, bench.json" in shown
    assert "1M answer tokens" not in plan(f"{SHOP}::Chat").output


def test_regions_and_volumes_have_their_columns(shop):
    """A chosen region's factor is a column of its own, and so is what a cache's Volume costs."""
    shown = plan(f"{shop}::Large").output
    assert re.search(r"USD .* region\nLarge .* x1.5\n", shown)
    assert "region" not in plan(f"{shop}::Chat").output.partition("USD ")[2]
    assert "Volumes/month" not in shown
    model = '    facts = ModelFacts(name="ours", total_parameters=10**9, active_parameters=10**9, '
    model += "weight_bytes=20 * 2**30, loaded_bytes=20 * 2**30)\n    weights = WeightCache('q')\n"
    cached = changed(
        shop, '    model = "Qwen/Qwen3-32B"\n', f'    model = "Qwen/Qwen3-32B"\n{model}'
    )
    told = plan(f"{changed(cached, 'import (', 'import (ModelFacts, ')}::Remote").output
    assert re.search(r"Volumes/month\nRemote .* \$1\.80\n", told)


def test_each_estimate_has_its_own_mark(shop):
    """Decoding one request on an A100-80GB was measured; the time to the first token never was."""
    one = changed(
        shop, 'GPUProfile("L40S", fallbacks=["A100-80GB", "H100"])', 'GPUProfile("A100-80GB")'
    )
    single = changed(one, "Scaling(min_containers=0, max_containers=4)", "Scaling(concurrency=1)")
    (speed,) = [line for line in plan(f"{single}::Chat").output.splitlines() if " speed " in line]
    decode, _, first = speed.partition(";")
    assert "not measured" not in decode
    assert "not measured" in first
    memory = as_json(f"{single}::Chat").plan.services[0].memory[0]
    assert (memory.tokens_checked, memory.first_token_checked) == (True, False)


def test_what_the_engine_is_told_is_shown(shop):
    """The bar has what is declared, and a line says what of it the engine is told."""
    told = changed(shop, "SGLang(", 'SGLang(memory_fraction=0.8, quantization="fp8", ')
    shown = plan(f"{told}::Chat").output
    assert "told: 80% of each card, fp8 weights" in shown
    assert as_json(f"{told}::Chat").plan.services[0].memory[0].lines[0].bytes < 10 * 2**30


def test_a_context_beyond_the_models_own_is_said(shop):
    """The plan names both figures, in the bar and in a note."""
    long = changed(shop, "context_length=8192", "context_length=50_000")
    said = "50,000 tokens are more than the 40,960 that the model was made for"
    shown = plan(f"{long}::Chat").output
    assert f"does not work: {said}" in shown
    assert f"Chat does not work on L40S: {said}" in shown


@pytest.mark.parametrize("text", ["{}", "[]", "nothing", '{"tokens_per_s": "fast"}'])
def test_measurements_that_are_none(tmp_path, text):
    """A file that says no speed is refused by name."""
    file = tmp_path / "bench.json"
    file.write_text(text)
    with pytest.raises(DeclarationError, match=r"bench\.json"):
        read_measured(file)


def test_a_custom_model_is_priced_by_its_seconds():
    """``--request-seconds`` gives a custom model its month."""
    tickets = f"{SHOP}::Tickets"
    assert as_json(tickets, "--requests-per-day", 100).plan.services[0].price.month is None
    said = as_json(tickets, "--requests-per-day", 100, "--request-seconds", 2).plan.services[0]
    assert said.price.month is not None


def test_amounts_have_the_digits_that_matter():
    """No amount is printed as nothing, and none with digits nobody reads."""
    assert [usd(one) for one in (0, 0.00689, 0.5, 12.345, 123.4, 12345.6)] == [
        "$0", "$0.0069", "$0.50", "$12.35", "$123", "$12,346",
    ]  # fmt: skip


def test_live_prices_need_an_account(tmp_path):
    """Without a token ``--live`` fails with what to do, and asks nothing of the list."""
    environment = {key: value for key, value in os.environ.items() if "MODAL_" not in key}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from modalkit.cli import main; main()",
            "plan",
            str(SHOP),
            "--live",
        ],
        env={**environment, "MODAL_CONFIG_PATH": str(tmp_path / "none.toml")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "modal token new" in done.stderr
    assert "Traceback" not in done.stderr


# ── what changes ────────────────────────────────────────────────────────────────────────────────


def test_nothing_changes_against_itself(tmp_path):
    """A plan compared with its own JSON has no difference."""
    earlier = tmp_path / "plan.json"
    earlier.write_text(plan(SHOP, "--json").stdout)
    shown = plan(SHOP, "--against", earlier).output
    assert "Changes since plan.json\n  nothing\n" in shown


def test_what_changes_restarts_and_costs(shop, tmp_path):
    """Another GPU replaces containers and changes the price; another scaling does not replace any."""
    earlier = tmp_path / "plan.json"
    earlier.write_text(plan(shop, "--json").stdout)
    changed(shop, 'GPUProfile("L40S", fallbacks', 'GPUProfile("H200", fallbacks')
    changed(
        shop,
        "scaling = Scaling(min_containers=1, max_containers=2)",
        "scaling = Scaling(min_containers=1, max_containers=3)",
    )
    changed(shop, "def nightly()", "def weekly()")
    found = as_json(shop, "--against", earlier).comparison
    assert found is not None
    assert found.added == ("shop.weekly",)
    assert found.removed == ("shop.nightly",)
    assert found.restarts == ("shop.Chat",)
    fields = {(one.of, one.field, one.before, one.after) for one in found.changes}
    assert ("shop.Chat", "gpus", "L40S, A100-80GB, H100", "H200, A100-80GB, H100") in fields
    assert ("shop.Large", "scaling.max_containers", "2", "3") in fields
    prices = {(one.of, one.what): one.difference for one in found.prices}
    assert prices["shop.Chat", "a container, by the hour"] == pytest.approx(2.588, abs=0.01)
    assert prices["shop.Large", "most, by the hour"] == pytest.approx(13.18, abs=0.01)


def test_the_image_and_the_engine_are_compared(shop, tmp_path):
    """A new package, a flag and a variable are named, each once."""
    earlier = tmp_path / "plan.json"
    earlier.write_text(plan(shop, "--json").stdout)
    changed(shop, "numpy==2.4.6", "numpy==2.4.7")
    changed(shop, "VLLM(context_length=32_768)", "VLLM(context_length=16_384)")
    changed(shop, '"GREETING"', '"WELCOME"')
    found = as_json(shop, "--against", earlier).comparison
    assert found is not None
    fields = {(one.of, one.field, one.before, one.after) for one in found.changes}
    assert ("shop.Tickets", "image.layers", "pip numpy==2.4.6", "pip numpy==2.4.7") in fields
    assert ("shop.Tickets", "variables", "GREETING", "WELCOME") in fields
    assert ("shop.Large", "engine.argv", "32768", "16384") in fields


LOCKED = """
import modal
from modalkit import GPUProfile, ModelService, VLLM, serve
app = modal.App("one")
@serve(app)
class Chat(ModelService):
    model = "./models/qwen3-8b"
    engine = VLLM()
    gpu = {gpu}
"""


def test_a_lock_is_compared_with(shop):
    """Another GPU than the locked one is a change with its price; the locked one is none."""
    file = shop.with_name("one.py")
    file.write_text(LOCKED.format(gpu="GPUProfile.fit(context=8192, allowed=['L40S'])"))
    locked = CliRunner().invoke(main, ["lock", str(file), "--packages", "declared"])
    assert locked.exit_code == 0, locked.output
    lock = shop.with_name("modalkit.lock")
    assert "nothing" in plan(file, "--against", lock).output
    earlier = lock.rename(shop.with_name("earlier.lock"))
    file.write_text(LOCKED.format(gpu="GPUProfile('H100')"))
    found = as_json(file, "--against", earlier).comparison
    assert found is not None
    assert [(one.field, one.before, one.after) for one in found.changes] == [
        ("gpus", "L40S", "H100")
    ]
    assert found.restarts == ("Chat",)
    (price,) = found.prices
    assert price.difference == pytest.approx(3.95 - 1.95, abs=0.01)
    assert found.priced_by == f"Modal's list prices, {catalogue_date()}"


def test_a_service_is_compared_with_the_lock_it_has_left_behind(shop):
    """Beside its lock, which `serve` refuses by then, a service is planned as far as the lock still holds."""
    file = shop.with_name("one.py")
    file.write_text(LOCKED.format(gpu="GPUProfile.fit(context=8192, allowed=['L40S'])"))
    locked = CliRunner().invoke(main, ["lock", str(file), "--packages", "declared"])
    assert locked.exit_code == 0, locked.output
    lock = shop.with_name("modalkit.lock")
    file.write_text(LOCKED.format(gpu="GPUProfile.fit(context=8192, allowed=['H100'])"))
    assert "modalkit.lock holds" in plan(file).output
    report = as_json(file, "--against", lock)
    assert report.comparison is not None
    (change,) = report.comparison.changes
    assert (change.field, change.before, change.after) == ("gpus", "L40S", "H100")
    (warning,) = report.plan.warnings
    assert warning.startswith("Chat.gpu is ")
    assert warning.endswith("one.py")


def test_the_prices_of_the_earlier_plan_are_dated(shop, tmp_path):
    """Beside a difference stands which day's prices the earlier plan had, and for which traffic its months were."""
    earlier = tmp_path / "plan.json"
    written = json.loads(plan(f"{shop}::Chat", "--requests-per-day", 2000, "--json").stdout)
    written["plan"]["prices"] = "Modal's list prices, 2026-01-31"
    earlier.write_text(json.dumps(written))
    changed(shop, 'GPUProfile("L40S", fallbacks', 'GPUProfile("H200", fallbacks')
    shown = plan(f"{shop}::Chat", "--requests-per-day", 3000, "--against", earlier).output
    assert "  prices then: Modal's list prices, 2026-01-31\n" in shown
    assert "  months then: under 2,000 requests a day, 500 tokens in and 200 out\n" in shown
    found = as_json(f"{shop}::Chat", "--against", earlier).comparison
    assert found is not None
    assert found.priced_by == "Modal's list prices, 2026-01-31"
    assert found.traffic == Traffic(requests_per_day=2000)


def test_a_file_to_compare_with_that_is_none(tmp_path):
    """Something that is neither a plan nor a lock is refused."""
    file = tmp_path / "other.json"
    file.write_text('{"plan": {"apps": 3}}')
    done = plan(SHOP, "--against", file)
    assert done.exit_code == 1
    assert "holds no plan" in done.output


def test_an_earlier_plan_with_an_odd_traffic_is_refused(tmp_path):
    """A traffic that cannot be read is named with what stands there, beside a plan that can."""
    report = as_json(SHOP)
    earlier = tmp_path / "plan.json"
    odd: object
    for odd in ([1], 7, "much", {"requests_per_day": "many"}, {"other": 1}, []):
        earlier.write_text(
            json.dumps({"plan": report.plan.model_dump(mode="json"), "traffic": odd})
        )
        with pytest.raises(DeclarationError, match="The 'traffic' of") as refused:
            compare_file(earlier, report.plan)
        assert f"got {odd!r}; write the file again with --json" in str(refused.value)
    done = plan(SHOP, "--against", earlier)
    assert done.exit_code == 1
    assert "The 'traffic' of" in done.output


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────

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


def test_changes_name_no_value(shop, tmp_path):
    """A variable whose value changed is not compared by value."""
    earlier = tmp_path / "plan.json"
    earlier.write_text(plan(shop, "--json").stdout)
    changed(shop, '"hello"', '"canary-of-a-change"')
    done = plan(shop, "--against", earlier)
    assert "canary" not in done.output


# ── clusters ─────────────────────────────────────────────────────────────────────────────────────

CLUSTERED = """
import modal
app = modal.App("train")

@app.function(gpu="H100:8"){clustered}
def train(): ...
"""


@pytest.mark.parametrize(("clustered", "size"), [("\n@modal.clustered(size=4)", 4), ("", 1)])
def test_a_cluster_is_priced_as_its_containers(tmp_path, clustered, size):
    """``modal.clustered(size=4)`` starts four containers for an input: the plan says so, and prices all four."""
    file = tmp_path / "train.py"
    file.write_text(CLUSTERED.format(clustered=clustered))
    report = as_json(file)
    (function,) = report.plan.apps[0].functions
    assert function.cluster == size
    assert function.usd_per_hour == pytest.approx(size * function.container.total)
    shown = plan(file).output
    together = f"4 containers together, {usd(4 * function.container.total)} an hour"
    assert (together in shown) is (size == 4)
    assert ("4 x $" in shown) is (size == 4)
    dearest = f"Price: {usd(function.usd_per_hour)} an hour for the dearest "
    assert f"{dearest}{'cluster' if size == 4 else 'container'}," in shown


def test_a_larger_cluster_is_dearer_than_the_plan_before(tmp_path):
    """``--against`` shows the size, the price of all containers, and that they start anew."""
    file, earlier = tmp_path / "train.py", tmp_path / "plan.json"
    file.write_text(CLUSTERED.format(clustered=""))
    earlier.write_text(plan(file, "--json").stdout)
    file.write_text(CLUSTERED.format(clustered="\n@modal.clustered(size=2)"))
    found = as_json(file, "--against", earlier).comparison
    assert found is not None
    assert [(one.field, one.before, one.after) for one in found.changes] == [("cluster", "1", "2")]
    assert found.restarts == ("train.train",)
    (price,) = found.prices
    assert price.after == pytest.approx(2 * price.before)


# ── the report ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The report of the shop."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    done = plan(SHOP, "--requests-per-day", 2000, "--html", file)
    assert done.exit_code == 0, done.output
    return file


def test_the_report_needs_nothing_else(page):
    """Styles and drawings are in the file: no script, no address, no other file."""
    text = page.read_text()
    assert not re.search(r"https?://(?!shop\.example\.com)", text)
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!#)', text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_the_report_has_its_pictures(page):
    """Memory bars, price curves and context curves, for each service that has them."""
    text = page.read_text()
    assert text.count("<b>Memory of each GPU</b>") == 3
    assert text.count("<b>Price against traffic</b>") == 3
    assert text.count("<b>Context against concurrency</b>") == 3
    assert "nan" not in text.lower().replace("tenant", "")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
def test_a_browser_shows_the_report(page):
    """Chromium reads the file whole: every section is there and no drawing leaves its box."""
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count('class="service"') == 7
    assert done.stdout.count("<svg") == 9


MEASURE = """<script>
const edge = document.documentElement.clientWidth;
const beyond = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > edge + 0.5);
const sizes = [edge, document.documentElement.scrollWidth, ...beyond.map(e => e.tagName)];
parent.document.title = "measured " + sizes.join(" ");
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("shown", ["page", "compared"])
def test_nothing_runs_past_the_edge_of_a_narrow_page(shown, request, tmp_path):
    """In a frame 420 pixels wide no element of the report reaches beyond it, and nothing scrolls sideways."""
    assert BROWSER is not None
    framed = tmp_path / "framed.html"
    text = request.getfixturevalue(shown).read_text()
    inside = escape(text.replace("</body>", f"{MEASURE}</body>"))
    framed.write_text(
        f'<iframe width="420" height="2000" style="border:0" srcdoc="{inside}"></iframe>'
    )
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--dump-dom",
            framed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert re.findall(r"<title>(measured.*?)</title>", done.stdout) == ["measured 420 420"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """The report of a shop that changed since an earlier plan, beside that plan."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(SHOP.parent, folder / "apps")
    shop, earlier, file = folder / "apps/shop.py", folder / "before.json", folder / "report.html"
    earlier.write_text(plan(shop, "--requests-per-day", 1000, "--json").stdout)
    changed(shop, 'GPUProfile("L40S", fallbacks', 'GPUProfile("H200", fallbacks')
    done = plan(shop, "--requests-per-day", 2000, "--against", earlier, "--html", file)
    assert done.exit_code == 0, done.output
    return file


def test_the_report_shows_what_changes(compared, page):
    """The page has every change and price difference of the terminal; without --against it has no such section."""
    text = compared.read_text()
    assert "<h2>Changes since before.json</h2>" in text
    assert '<dt>New containers for</dt><dd class="">shop.Chat</dd>' in text
    row = re.search(r"<tr><td>shop\.Chat</td>(<td data-of=\"what\">.*?)</tr>", text)
    assert row is not None
    assert ">gpus<" in row[1]
    assert 'class="bad">L40S' in row[1]
    assert 'class="good">H200' in row[1]
    assert re.search(r'data-of="difference"><span class="bad">\+\$', text)
    assert "Prices then: Modal" in text
    assert "Months then: under 1,000 requests a day" in text
    assert "Changes since" not in page.read_text()


def test_the_report_says_that_nothing_changes(shop, tmp_path):
    """Beside the same plan the section has one sentence."""
    earlier, file = tmp_path / "before.json", tmp_path / "report.html"
    earlier.write_text(plan(f"{shop}::Chat", "--json").stdout)
    plan(f"{shop}::Chat", "--against", earlier, "--html", file)
    assert "<p>Nothing differs.</p>" in file.read_text()


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


def test_comparing_is_about_declarations_only():
    """Two readings of one file are equal, whatever the prices say of a month."""
    first, _ = read_file(SHOP)
    again, _ = read_file(SHOP)
    assert isinstance(first, Blueprint)
    found = compare(first, again, "itself")
    differences = (found.added, found.removed, found.changes, found.prices)
    assert not any(differences)
