"""`examples/make_models.py` makes models that transformers loads and that answer."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "make_models.py"
ANSWER = (
    "Sunlight is made of all colours. When it passes through the air, blue light is scattered "
    "much more than red light, so the whole sky looks blue to us."
)
DEADLINE_S = 300

pytestmark = pytest.mark.slow


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("models")
    make("chat", "--quick", "--out", out)
    return out


def test_chat_model_answers_a_trained_question_exactly(models):
    """The quick model loads through the auto classes and answers word for word, then stops."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models / "small-chat")
    model = AutoModelForCausalLM.from_pretrained(models / "small-chat")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why is the sky blue?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    told = model.generate(**prompt)[0, prompt["input_ids"].shape[1] :]
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert told[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(told, skip_special_tokens=True) == ANSWER


def test_chat_template_writes_every_role(models):
    """System, user and assistant messages are rendered, and the generation prompt comes last."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(models / "small-chat")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hello!"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\n be brief.<|im_end|>\n<|im_start|>user\n hello!<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>assistant\n"
    )


def test_second_call_makes_nothing(models):
    """A model made from the same sources is left as it is, without loading torch."""
    weights = models / "small-chat" / "model.safetensors"
    before = weights.stat()
    told = subprocess.run(
        [sys.executable, "-X", "importtime", SCRIPT, "chat", "--quick", "--out", models],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert "small-chat is already made" in told.stdout
    assert "torch" not in told.stderr
    assert weights.stat().st_mtime_ns == before.st_mtime_ns
    assert weights.stat().st_ino == before.st_ino


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_training_leaves_no_model(tmp_path, ending):
    """Whether asked to stop or killed, a training that did not finish leaves no model folder."""
    command = [sys.executable, SCRIPT, "chat", "--out", tmp_path]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A suite in a shell's background inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        draft = tmp_path / ".small-chat.draft"
        deadline = time.monotonic() + DEADLINE_S
        while not draft.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(ending)
        process.wait(timeout=DEADLINE_S)
    assert process.returncode != 0
    assert not (tmp_path / "small-chat").exists()


def test_embedding_model_gives_its_384_numbers(tmp_path):
    """The copied all-MiniLM-L6-v2 loads and puts a paraphrase nearer than another subject."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    make("embed", "--out", tmp_path)
    folder = tmp_path / "all-MiniLM-L6-v2"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    texts = ["A cat sleeps.", "A kitten is napping.", "Interest rates rose again."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert vectors.shape == (3, 384)
    assert near > far + 0.3
