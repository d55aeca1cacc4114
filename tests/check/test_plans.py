"""Rules over plans: services are imported in a process of their own, and judged."""

from __future__ import annotations

import json
import re

import pytest

from modalkit.check import check_paths
from modalkit.check.settings import Settings

HEAD = """import modal

from modalkit import GPUProfile, ModelService, Scaling, SGLang, WeightCache, serve

app = modal.App("chat")


@serve(app)
class Chat(ModelService):
    model = "./qwen"
    engine = SGLang(context_length=8192)
"""
CONFIG = {
    "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "head_dim": 128,
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 151936, "max_position_embeddings": 40960, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture
def check(tmp_path):
    """Check a service whose model is an 8B folder beside it; returns code and place."""
    (tmp_path / "qwen").mkdir()
    (tmp_path / "qwen" / "config.json").write_text(json.dumps(CONFIG))

    def run(body: str, head: str = HEAD, **settings) -> list[tuple[str, str, str]]:
        file = tmp_path / "chat.py"
        file.write_text(head + body)
        found = check_paths([str(file)], Settings(**settings)).findings
        return [(one.code, one.source_line.strip(), one.message) for one in found]

    return run


def _codes(found):
    return {code for code, _, _ in found}


@pytest.mark.parametrize(
    ("code", "failing", "passing"),
    [
        ("MK151", 'gpu = GPUProfile("L4")', 'gpu = GPUProfile("L40S")'),
        (
            "MK152",
            'gpu = GPUProfile("L40S", fallbacks=["L4"])',
            'gpu = GPUProfile("L40S", fallbacks=["H100"])',
        ),
        ("MK153", 'gpu = GPUProfile("B300")', 'gpu = GPUProfile("L40S")'),
    ],
)
def test_a_model_fits_its_choices(check, code, failing, passing):
    """Each entry of the GPU choices is held against the model, its context and its concurrency."""
    found = check(f"    {failing}\n")
    assert (code, failing) in {(one, line) for one, line, _ in found}
    assert code not in _codes(check(f"    {passing}\n"))


@pytest.mark.parametrize(
    ("failing", "passing", "cure"),
    [
        ("context_length=50_000", "context_length=16_384", "40,960 that the model was made for"),
        (
            "context_length=8192, memory_fraction=0.4",
            "context_length=8192, memory_fraction=0.9",
            "short",
        ),
    ],
)
def test_what_the_engine_is_told_is_checked(check, failing, passing, cure):
    """Whether a model fits goes by what its engine declares, too."""
    gpu = '    gpu = GPUProfile("L40S")\n'
    wrong = check(gpu, HEAD.replace("context_length=8192", failing))
    (said,) = [message for code, _, message in wrong if code == "MK151"]
    assert cure in said
    assert "MK151" not in _codes(check(gpu, HEAD.replace("context_length=8192", passing)))


def test_a_share_of_the_card_that_makes_room_is_proposed(check):
    """Where a larger share of the card would hold the model, the message says which; with it nothing is found."""
    gpu = '    gpu = GPUProfile("L40S")\n    scaling = Scaling(concurrency=2, max_containers=1)\n'
    told = HEAD.replace("context_length=8192", "context_length=8192, memory_fraction=0.3")
    (said,) = [message for code, _, message in check(gpu, told) if code == "MK151"]
    (share,) = re.findall(r"; (memory_fraction=0\.\d+) \(--mem-fraction-static\) makes room", said)
    assert "MK151" not in _codes(check(gpu, told.replace("memory_fraction=0.3", share)))


def test_start_up_leaves_time_for_the_weights(check):
    """A start-up timeout that is shorter than reading the weights is found at its declaration."""
    gpu = '    gpu = GPUProfile("L40S")\n'
    found = check(f"{gpu}    scaling = Scaling(startup_timeout=30, max_containers=1)\n")
    assert _codes(found) == {"MK453"}
    assert found[0][1].startswith("scaling =")
    assert not check(f"{gpu}    scaling = Scaling(startup_timeout=300, max_containers=1)\n")


def test_a_budget_holds(check):
    """A service that may cost more than the budget is an error, and so is one without a limit."""
    gpu = '    gpu = GPUProfile("L40S")\n'
    one = f"{gpu}    scaling = Scaling(max_containers=1)\n"
    assert _codes(check(one, budget="1/hour")) == {"MK551"}
    assert not check(one, budget="5/hour")
    assert _codes(check(gpu, budget="5/hour")) == {"MK551", "MK552"}


def test_the_hub_is_pinned_and_cached(check):
    """A hub model without a lock is noted; without a cache it is a warning."""
    head = HEAD.replace("./qwen", "Qwen/Qwen3-8B")
    gpu = '    gpu = GPUProfile("L40S")\n    scaling = Scaling(max_containers=1)\n'
    assert _codes(check(gpu, head)) == {"MK451", "MK452"}
    pinned = gpu + f'    weights = WeightCache("q")\n    revision = "{"a" * 40}"\n'
    assert not check(pinned, head)


def test_what_modalkit_refuses_is_a_finding(check):
    """A declaration that raises is found with its line, and all problems of a class at once."""
    found = check("    warm_up = 3\n")
    assert {code for code, _, _ in found} == {"MK920"}
    found = check("")
    assert [(code, line) for code, line, _ in found] == [("MK920", "class Chat(ModelService):")]


def test_a_static_finding_is_not_said_twice(check):
    """A GPU that both the tree and the constructor know to be wrong is found once."""
    assert [code for code, _, _ in check('    gpu = GPUProfile("H1OO")\n')] == ["MK101"]


def test_static_executes_nothing(check, tmp_path):
    """With static no line of the file runs; without it, it is imported in another process."""
    trace = tmp_path / "trace"
    body = f'    gpu = GPUProfile("L4")\n\n\nopen({str(trace)!r}, "w").close()\n'
    assert not check(body, static=True)
    assert not trace.exists()
    assert "MK151" in _codes(check(body))
    assert trace.exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import no_such_module_here", "No module named 'no_such_module_here'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(7)", "ended the process with status 7"),
        ("raise KeyError('é')", "KeyError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_noted(check, line, said):
    """A file that fails, exits or kills its process leaves a note, and the rest is checked."""
    found = check(
        f'    gpu = GPUProfile("H1OO")\n\n\n{line}\n', HEAD.replace("@serve", f"{line}\n\n\n@serve")
    )
    assert _codes(found) == {"MK101", "MK921"}
    assert said in next(message for code, _, message in found if code == "MK921")
