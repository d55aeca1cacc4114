"""``--against``: what differs from an earlier plan or a lock, what starts anew, what it costs."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from modalkit.blueprint.changes import compare, compare_file
from modalkit.blueprint.reading import read_file
from modalkit.blueprint.values import Blueprint
from modalkit.cli import main
from modalkit.declare.gpu import catalogue_date
from modalkit.errors import DeclarationError
from modalkit.pricing.month import Traffic

from .planning import SHOP, as_json, changed, plan


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


def test_changes_name_no_value(shop, tmp_path):
    """A variable whose value changed is not compared by value."""
    earlier = tmp_path / "plan.json"
    earlier.write_text(plan(shop, "--json").stdout)
    changed(shop, '"hello"', '"canary-of-a-change"')
    done = plan(shop, "--against", earlier)
    assert "canary" not in done.output


def test_comparing_is_about_declarations_only():
    """Two readings of one file are equal, whatever the prices say of a month."""
    first, _ = read_file(SHOP)
    again, _ = read_file(SHOP)
    assert isinstance(first, Blueprint)
    found = compare(first, again, "itself")
    differences = (found.added, found.removed, found.changes, found.prices)
    assert not any(differences)
