from __future__ import annotations

import re

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.gpu import GPUProfile, catalogue_date, gpu_catalogue
from modalkit.errors import DeclarationError

NAMES = sorted({gpu.name for gpu in gpu_catalogue().values()})


def refused(*args, **fields) -> str:
    with pytest.raises(DeclarationError) as raised:
        GPUProfile(*args, **fields)
    return str(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_says_what_sizing_needs(name):
    """Every GPU has a memory, a bandwidth, a compute capability and two prices that agree."""
    gpu = gpu_catalogue()[name]
    assert 0 < gpu.total_gib * 1.073741824 <= gpu.nominal_gb * 1.1
    assert gpu.bandwidth_gb_per_s > 100
    assert re.fullmatch(r"\d+\.\d", gpu.compute_capability)
    assert gpu.usd_per_hour == pytest.approx(gpu.usd_per_second * 3600, rel=0.02)


def test_the_catalogue_is_dated():
    """The catalogue says when it was read."""
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", catalogue_date())


@given(st.sampled_from(NAMES), st.data())
def test_every_offered_profile_compiles_to_what_modal_reads(name, data):
    """For every offered type and count, the string Modal gets parses back to the same profile."""
    most = gpu_catalogue()[name].max_count or 8
    profile = GPUProfile(name, count=data.draw(st.integers(1, most)))
    compiled = profile.to_modal()
    assert isinstance(compiled, str)
    assert GPUProfile(compiled) == profile


def test_fallbacks_keep_order_and_counts():
    """A fallback has its own count, or that of the profile."""
    profile = GPUProfile("A100-80GB", count=2, fallbacks=["H100", "H200:1"])
    assert profile.to_modal() == ["A100-80GB:2", "H100:2", "H200"]
    assert [str(choice) for choice in profile.choices] == profile.to_modal()


def test_figures_are_of_the_first_choice():
    """Memory, bandwidth and price count every GPU of the first choice."""
    one, two = GPUProfile("H100"), GPUProfile("H100:2", fallbacks=["L4:1"])
    assert two.total_gib == pytest.approx(2 * one.total_gib)
    assert two.usd_per_hour == pytest.approx(2 * one.usd_per_hour)
    assert two.bandwidth_gb_per_s == pytest.approx(2 * one.bandwidth_gb_per_s)
    assert two.compute_capability == "9.0"


def test_spelling_is_forgiven_where_it_is_clear():
    """Case does not matter; the pinned and superset forms of Modal are known."""
    assert GPUProfile("h100").gpu == "H100"
    assert GPUProfile("H100!").facts is GPUProfile("H100").facts
    assert GPUProfile("B200+").facts.name == "B200"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("H1OO", "Did you mean 'H100'?"),
        ("H100:0", "GPUProfile('H100').count must be 1 to 8, got 0."),
        ("H100:9", "GPUProfile('H100').count must be 1 to 8, got 9."),
        ("A10:8", "GPUProfile('A10').count must be 1 to 4, got 8."),
        ("H100:two", "Write 'H100:2'."),
        ("any", "leaves memory and price to chance"),
    ],
)
def test_impossible_gpus_are_refused(text, told):
    """A type or count that Modal does not rent is an error with the remedy."""
    assert told in refused(text)


def test_two_counts_must_agree():
    """A count in the name and another beside it is a contradiction."""
    assert "says two counts" in refused("H100:2", count=4)
    assert GPUProfile("H100:2", count=2).count == 2


def test_fallbacks_are_one_flat_list():
    """A fallback cannot have fallbacks."""
    assert "one flat list" in refused("L4", fallbacks=[GPUProfile("T4", fallbacks=["L4"])])


def test_a_newer_type_is_let_through_on_request():
    """With unlisted=True an unknown type compiles, and its figures are unknown."""
    profile = GPUProfile("X900:16", unlisted=True)
    assert profile.to_modal() == "X900:16"
    assert profile.total_gib is None
    assert profile.usd_per_hour is None


def test_modal_takes_it():
    """The compiled value is what app.function's gpu= accepts."""
    app = modal.App()
    for gpu in (GPUProfile("L4"), GPUProfile("H100:2", fallbacks=["H200"])):
        app.function(gpu=gpu.to_modal(), serialized=True, name=f"f{gpu.count}")(lambda: None)
