from __future__ import annotations

import inspect

import modal
import pytest

from modalkit.declare.resources import Resources
from modalkit.errors import DeclarationError

FULL = Resources(
    cpu=(2, 8),
    memory_mib=(1024, 4096),
    disk_mib=20_480,
    region=["us-east", "eu"],
    cloud="gcp",
    nonpreemptible=True,
)


def refused(**fields) -> str:
    with pytest.raises(DeclarationError) as raised:
        Resources(**fields)
    return str(raised.value)


def test_nothing_declared_is_nothing_said():
    """Modal's own defaults stay in force where nothing is declared."""
    assert Resources().to_modal() == {}
    assert Resources().to_modal_server() == {}


def test_requests_and_limits_keep_their_form():
    """A number stays a request; a pair stays a request and a limit."""
    assert Resources(cpu=4, memory_mib=8192).to_modal() == {"cpu": 4.0, "memory": 8192}
    assert FULL.to_modal() == {
        "cpu": (2.0, 8.0),
        "memory": (1024, 4096),
        "ephemeral_disk": 20_480,
        "region": ["us-east", "eu"],
        "cloud": "gcp",
        "nonpreemptible": True,
    }


def test_a_server_calls_the_region_something_else():
    """For app.server the region is compute_region, and nothing else changes."""
    web, server = FULL.to_modal(), FULL.to_modal_server()
    assert server.pop("compute_region") == web.pop("region")
    assert server == web


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cpu": 0.1}, "Resources.cpu must be at least 0.125 cores, got 0.1."),
        ({"cpu": (4, 2)}, "Write (2, 4)."),
        ({"cpu": (1, 2, 3)}, "a number or a pair (request, limit), got (1, 2, 3)."),
        ({"cpu": "4"}, "a number or a pair (request, limit), got '4'."),
        ({"cpu": True}, "a number or a pair (request, limit), got True."),
        ({"cpu": float("nan")}, "a number or a pair (request, limit), got nan."),
        ({"cpu": (1, float("inf"))}, "a number or a pair (request, limit), got (1, inf)."),
        ({"memory_mib": 64}, "Resources.memory_mib must be at least 128 MiB, got 64."),
        ({"memory_mib": 1024.5}, "a whole number or a pair"),
        ({"disk_mib": 3_145_729}, "must be 1 to 3145728 MiB, got 3145729."),
        ({"region": "us_east"}, "Write one such as 'us-east'."),
        ({"region": ["eu", "US West"]}, "Write one such as 'us-west'."),
        ({"cloud": "AWS"}, "Did you mean 'aws'?"),
        ({"cloud": "azure"}, "Write one of auto, aws, gcp or oci."),
    ],
)
def test_impossible_resources_are_refused(fields, told):
    """An amount out of range or an unknown place names the remedy."""
    assert told in refused(**fields)


def test_modal_knows_every_keyword():
    """Each compiled keyword exists in the installed modal."""
    assert FULL.to_modal().keys() <= inspect.signature(modal.App.cls).parameters.keys()
    assert FULL.to_modal().keys() <= inspect.signature(modal.App.function).parameters.keys()
    assert FULL.to_modal_server().keys() <= inspect.signature(modal.App.server).parameters.keys()


def test_modal_takes_it():
    """A function registers with the compiled keywords."""
    modal.App().function(**FULL.to_modal(), serialized=True)(lambda: None)
