"""Prices in a plan: budgets, measurements in place of estimates, columns, the account's own rates."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from modalkit.blueprint.measured import read_measured
from modalkit.errors import DeclarationError
from modalkit.pricing.month import Throughput
from modalkit.pricing.total import Budget, Total, usd

from .planning import SHOP, as_json, changed, plan


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


def test_a_plan_from_before_clusters_were_said_is_no_change(tmp_path):
    """A plan whose JSON has no ``cluster`` says nothing of it: no change and no price are made up, others are kept."""
    file, earlier = tmp_path / "train.py", tmp_path / "plan.json"
    file.write_text(CLUSTERED.format(clustered="\n@modal.clustered(size=4)"))
    written = json.loads(plan(file, "--json").stdout)
    del written["plan"]["apps"][0]["functions"][0]["cluster"]
    earlier.write_text(json.dumps(written))
    same = as_json(file, "--against", earlier).comparison
    assert same is not None
    assert not same.changes
    assert not same.prices
    file.write_text(file.read_text().replace("H100:8", "H100:4"))
    fewer = as_json(file, "--against", earlier).comparison
    assert fewer is not None
    assert [one.field for one in fewer.changes] == ["gpus"]
    (price,) = fewer.prices
    assert price.what == "a container, by the hour"
    assert price.before / 2 < price.after < price.before
