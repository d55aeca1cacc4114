"""Packages that do not go together in one image."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from packaging.specifiers import SpecifierSet

from .checking import codes, findings

DATA = json.loads((files("modalkit") / "data" / "package_sets.json").read_text("utf-8"))


def _image(chain: str) -> str:
    return f"import modal\n\nimage = modal.Image.{chain}\n"


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        ('debian_slim().pip_install("torch==2.5.1", "torchvision==0.19.0")', True),
        ('debian_slim().pip_install("torch==2.5.1", "torchvision==0.20.1")', False),
        ('debian_slim().pip_install("torch==2.5.1+cu121", "torchvision==0.20.1+cu121")', False),
        ('debian_slim().pip_install("torch==2.5.1").uv_pip_install("torchaudio==2.6.0")', True),
        ('debian_slim().pip_install("torch==2.14.0", "torchaudio==2.11.0")', False),
        ('debian_slim().pip_install("torch==2.7.1", "vllm==0.10.2")', True),
        ('debian_slim().pip_install("torch>=2.7", "vllm==0.10.2")', False),
        ('debian_slim().pip_install("vllm==0.10.2", "transformers==4.56.0")', False),
        ('debian_slim().pip_install("vllm==0.12.0", "transformers==5.1.0")', True),
        ('debian_slim().pip_install("vllm==0.10.2").pip_install("torch==2.7.1", extra_options="--no-deps")', False),
        ('debian_slim().pip_install("vllm==99.0.0", "torch==2.7.1")', False),
        ('debian_slim(python_version="3.9").pip_install("vllm==0.12.0")', True),
        ('debian_slim(python_version="3.12").pip_install("vllm==0.12.0")', False),
        ('from_registry("nvidia/cuda:12.9.0-devel-ubuntu24.04", add_python="3.14").pip_install("vllm==0.9.2")', True),
        ('debian_slim().pip_install("xformers==0.0.28.post3", "torch==2.6.0")', True),
        ('debian_slim().pip_install("vllm==0.33.0").pip_install("sglang==0.5.23")', True),
    ],
)  # fmt: skip
def test_a_pin_that_another_package_rules_out_is_found(chain: str, found: bool) -> None:
    """Exact versions of one image are held against what each release requires of the others."""
    assert ("MK306" in codes(_image(chain))) is found


def test_a_conflict_names_both_sides_and_the_day() -> None:
    """The message has the two versions, the requirement, and when it was read."""
    text = _image('debian_slim().pip_install("torch==2.7.1", "vllm==0.10.2")')
    (found,) = [one for one in findings(text) if one.code == "MK306"]
    assert "torch==2.7.1, but vllm==0.10.2 needs torch==2.8.0" in found.message
    assert DATA["read_on"] in found.message


@pytest.mark.parametrize("one", DATA["sets"], ids=lambda one: f"{one['package']}{one['versions']}")
def test_each_set_has_its_source(one: dict[str, str]) -> None:
    """Every line of the data file says where it is from, and can be read."""
    assert one["source"]
    assert one["needs"]
    for text in (one["versions"], *dict(one["needs"]).values(), one.get("python", "")):
        SpecifierSet(text)


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        ('debian_slim().pip_install("torch==2.8.0", "flash-attn==2.8.3")', True),
        ('debian_slim().pip_install("torch==2.8.0").pip_install("flash-attn==2.8.3")', True),
        ('debian_slim().pip_install("flash-attn==2.8.3", extra_options="--no-build-isolation")', True),
        ('debian_slim().pip_install("torch==2.8.0").run_commands("pip install flash-attn==2.8.3 --no-build-isolation")', False),
        ('debian_slim().pip_install("torch==2.8.0").pip_install("flash-attn==2.8.3", extra_options="--no-build-isolation")', False),
        ('debian_slim().pip_install("torch==2.8.0", "https://host/flash_attn-2.8.3-cp312-linux_x86_64.whl")', False),
        ('debian_slim().pip_install("torch==2.8.0", "flash-attn==2.8.3", find_links="https://host/wheels")', False),
        ('debian_slim().pip_install("torch==2.8.0", "flash-attn-4==4.0.0b18")', False),
        ('debian_slim().pip_install("accelerate==1.10.0").pip_install("flash-attn==2.8.3", extra_options="--no-build-isolation")', False),
        ('debian_slim().pip_install("numpy==2.0.0").pip_install("flash-attn==2.8.3", extra_options="--no-build-isolation")', True),
        ('debian_slim().pip_install_from_requirements("r.txt").pip_install("flash-attn==2.8.3", extra_options="--no-build-isolation")', False),
        ('debian_slim().uv_sync().uv_pip_install("flash-attn==2.8.3", extra_options="--no-build-isolation")', False),
        ('debian_slim().uv_sync().uv_pip_install("flash-attn==2.8.3")', True),
        ('debian_slim().run_commands("pip install torch==2.8.0", "pip install flash-attn==2.8.3 --no-build-isolation")', False),
        ('debian_slim().run_commands("pip install torch==2.8.0 && pip install flash-attn==2.8.3 --no-build-isolation")', False),
        ('debian_slim().run_commands("pip install torch==2.8.0 flash-attn==2.8.3 --no-build-isolation")', True),
        ('debian_slim().pip_install("torch==2.8.0", "flash-attn @ https://host/flash_attn-2.8.3-cp312-linux_x86_64.whl")', False),
        ('debian_slim().pip_install("torch==2.8.0", "flash-attn @ git+https://host/flash-attention")', True),
    ],
)  # fmt: skip
def test_flash_attn_is_built_beside_torch(chain: str, found: bool) -> None:
    """It needs torch in an earlier step and a build that sees it, unless a wheel comes from elsewhere."""
    assert ("MK313" in codes(_image(chain))) is found
