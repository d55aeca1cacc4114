"""Models that are loaded when a request is there: at every call, or at the first one."""

from __future__ import annotations

import pytest

from .checking import codes, findings, indented

HEAD = """import os, functools
import diffusers, modal, sentence_transformers, torch, transformers, whisper
from huggingface_hub import hf_hub_download, snapshot_download

app = modal.App("demo")
NAME = "acme/model"
model = None


def fresh():
    return transformers.AutoModel.from_pretrained(NAME)


@functools.cache
def once():
    return transformers.AutoModel.from_pretrained(NAME)


def lazy():
    global model
    if model is None:
        model = transformers.AutoModel.from_pretrained(NAME)
    return model


"""
LOADS = {"MK401", "MK410"}


def _method(*lines: str, name: str = "run", of: str = "Model", given: str = "x") -> set[str]:
    body = indented(lines, by=8)
    text = f"{HEAD}@app.cls(gpu='L4')\nclass {of}:\n    name = NAME\n    model = None\n\n    @modal.method()\n    def {name}(self, {given}):\n{body}"
    return codes(text) & LOADS


@pytest.mark.parametrize(
    "line",
    [
        "return transformers.AutoModelForCausalLM.from_pretrained(NAME)(x)",
        "return transformers.AutoModel.from_pretrained(self.name)(x)",
        "return transformers.pipeline('text-generation', model=NAME)(x)",
        "return sentence_transformers.SentenceTransformer('all-MiniLM-L6-v2').encode(x)",
        "return diffusers.DiffusionPipeline.from_pretrained(NAME).to('cuda')(x)",
        "return diffusers.StableDiffusionPipeline.from_single_file('/m/a.safetensors')(x)",
        "return whisper.load_model('large-v3').transcribe(x)",
        "return torch.load('/models/a.pt')(x)",
        "return open(hf_hub_download(NAME, 'a.json')).read()",
        "snapshot_download(NAME); return x",
        "return fresh()(x)",
    ],
)
def test_a_load_at_every_call_is_found(line: str) -> None:
    """Whatever loads or downloads, by itself or in a helper of the file, does it again for each call."""
    assert _method(line) == {"MK401"}


@pytest.mark.parametrize(
    "lines",
    [
        ("return transformers.AutoTokenizer.from_pretrained(NAME)(x)",),
        ("return diffusers.EulerDiscreteScheduler.from_pretrained(NAME)",),
        ("return transformers.AutoModel.from_pretrained(x)",),
        ("path = f'/models/{x}.pt'", "return torch.load(path)"),
        ("return torch.load(open('/tmp/' + x, 'rb'))",),
        ("return self.model(x)",),
        ("self.model.load_lora_weights(x)",),
        ("return once()(x)",),
    ],
)
def test_what_differs_from_call_to_call_is_left(lines: tuple[str, ...]) -> None:
    """What an argument chooses, what is read in no time, and what is kept by a cache are right where they are."""
    assert not _method(*lines)


@pytest.mark.parametrize("name", ["download", "download_weights", "train", "fine_tune", "convert"])
def test_a_method_whose_work_it_is_may_load(name: str) -> None:
    """To fetch or to train is done once in a while, and has the time."""
    assert not _method("snapshot_download(NAME)", name=name)
    assert not _method("return torch.load('/models/a.pt')", of=f"{name.title()}Job")


@pytest.mark.parametrize(
    "lines",
    [
        ("if self.model is None:", "    self.model = transformers.AutoModel.from_pretrained(NAME)"),
        ("if not hasattr(self, 'm'):", "    self.m = whisper.load_model('base')", "return self.m"),
        ("return lazy()(x)",),
    ],
)
def test_a_load_at_the_first_call_is_noted(lines: tuple[str, ...]) -> None:
    """What is kept in self or in a global makes the first request of each container wait."""
    assert _method(*lines) == {"MK410"}


@pytest.mark.parametrize(
    ("use", "found"),
    [
        ("work.map(range(9))", True),
        ("[work.remote(n) for n in range(9)]", True),
        ("for n in range(9):\n        work.spawn(n)", True),
        ("work.remote(1)", False),
    ],
)
def test_a_function_that_is_called_once_may_load(use: str, found: bool) -> None:
    """A function is judged where the file calls it over many inputs."""
    text = (
        f"{HEAD}@app.function(gpu='L4')\ndef work(x):\n    return whisper.load_model('base').transcribe(x)\n\n\n"
        f"@app.local_entrypoint()\ndef main():\n    {use}\n"
    )
    assert ("MK401" in codes(text)) is found


def test_a_start_may_load() -> None:
    """What a container does before its first request is where a load belongs."""
    text = (
        f"{HEAD}@app.cls(gpu='L4')\nclass Model:\n    @modal.enter()\n    def start(self):\n"
        "        self.model = whisper.load_model('base')\n\n    @modal.method()\n    def run(self, x):\n"
        "        return self.model.transcribe(x)\n"
    )
    assert not codes(text) & LOADS


def test_a_service_loads_in_its_load() -> None:
    """An endpoint of a custom service is judged like a method, and told of ``load``."""
    text = (
        "import modal, whisper\nfrom modalkit import ModelService, endpoint, serve\n\napp = modal.App('demo')\n\n\n"
        "@serve(app)\nclass Ears(ModelService):\n    @endpoint('/hear')\n    def hear(self, sound: bytes) -> str:\n"
        "        return whisper.load_model('base').transcribe(sound)\n"
    )
    (found,) = [one for one in findings(text) if one.code == "MK401"]
    assert "load(self)" in found.instead


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("if self.model is not None:", "    return self.model(x)", "self.model = fresh()"), set()),
        (("if self.model is not None:", "    return 1", "self.model = whisper.load_model('base')"), {"MK410"}),
        (("global model", "if model is not None:", "    return model(x)", "model = whisper.load_model('base')"), {"MK410"}),
        (("kept = model", "if kept is not None:", "    return kept(x)", "self.model = whisper.load_model('base')"), {"MK410"}),
        (("if not x:", "    return ''", "self.model = whisper.load_model('base')"), {"MK401"}),
        (("text = x.strip()", "if not text:", "    return ''", "self.model = whisper.load_model('base')"), {"MK401"}),
        (("if self.model is None:", "    print(x)", "self.model = whisper.load_model('base')"), {"MK401"}),
    ],
)  # fmt: skip
def test_a_return_before_a_load_guards_it(lines: tuple[str, ...], found: set[str]) -> None:
    """What is kept ends a call before the load; what a call is given says nothing of the next one."""
    assert _method(*lines) == found


@pytest.mark.parametrize(
    ("use", "found"),
    [
        ("for token in work.remote_gen('hi'):\n        print(token)", False),
        ("print([one for one in work.remote(1)])", False),
        ("for n in range(9):\n        for one in work.remote(n):\n            print(one)", True),
        ("print([one for n in range(9) for one in work.remote(n)])", True),
        ("print([work.remote(n) for n in work.local(1)])", True),
        ("while work.remote(1):\n        pass", True),
    ],
)
def test_what_a_loop_goes_over_is_called_once(use: str, found: bool) -> None:
    """A loop reads an answer piece by piece; only what stands in its body is called again."""
    text = (
        f"{HEAD}@app.function(gpu='L4')\ndef work(x):\n    return whisper.load_model('base').transcribe(x)\n\n\n"
        f"@app.local_entrypoint()\ndef main():\n    {use}\n"
    )
    assert ("MK401" in codes(text)) is found


@pytest.mark.parametrize(("line", "found"), [("loss.backward(); steps.step()", False), ("loss.item()", True)])  # fmt: skip
def test_a_run_with_a_training_loop_may_load(line: str, found: bool) -> None:
    """Each run of a sweep starts from the published weights, whoever wrote its loop."""
    text = (
        f"{HEAD}@app.function(gpu='L4')\ndef sweep(rate):\n    net = torch.load('/models/a.pt')\n"
        f"    loss = net(rate)\n    {line}\n\n\n"
        "@app.local_entrypoint()\ndef main():\n    sweep.map([1, 2])\n"
    )
    assert ("MK401" in codes(text)) is found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("if self.closed:", "    return ''", "return whisper.load_model('base').transcribe(x)"), {"MK401"}),
        (("if not self.closed and PAUSED:", "    return ''", "self.model = whisper.load_model('base')"), {"MK401"}),
        (("if PAUSED:", "    return ''", "net = fresh()", "return net(x)"), {"MK401"}),
        (("if self.answer:", "    return self.answer", "self.answer = whisper.load_model('base')(x)"), {"MK410"}),
        (("if self.seen:", "    return 1", "self.seen.append(whisper.load_model('base')(x))"), set()),
        (("if self.is_closed():", "    return ''", "return whisper.load_model('base')(x)"), set()),
        (("if os.path.exists('/out/a'):", "    return 1", "return whisper.load_model('base')(x)"), set()),
    ],
)  # fmt: skip
def test_a_guard_that_no_call_changes_guards_nothing(
    lines: tuple[str, ...], found: set[str]
) -> None:
    """What only a start sets lets every call through to the load; what a call fills stops the next one."""
    body = indented(lines, by=8)
    text = (
        f"{HEAD}PAUSED = False\n\n\n@app.cls(gpu='L4')\nclass Model:\n    @modal.enter()\n    def start(self):\n"
        "        self.closed, self.answer, self.seen = False, None, []\n\n"
        "    def is_closed(self):\n        return False\n\n"
        f"    @modal.method()\n    def run(self, x):\n{body}"
    )
    assert codes(text) & LOADS == found


LOAD = "transformers.AutoModel.from_pretrained(NAME)"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("if 'm' in CACHE:", "    return CACHE['m'](x)", f"CACHE['m'] = {LOAD}"), {"MK410"}),
        (("if CACHE:", "    return CACHE[0](x)", f"CACHE.append({LOAD})"), set()),
        (("if CACHE:", "    return next(iter(CACHE))(x)", f"net = {LOAD}", "keep(CACHE, net)"), set()),
        (("if SHARED:", "    return 1", f"SHARED['m'] = {LOAD}"), {"MK410"}),
        (("if PAUSED:", "    return ''", f"net = {LOAD}", "return net(x)"), {"MK401"}),
        (("if PAUSED:", "    return ''", f"globals()['net'] = {LOAD}"), {"MK410"}),
    ],
)  # fmt: skip
def test_a_guard_that_asks_a_filled_dict_or_list_lets_one_load_through(
    lines: tuple[str, ...], found: set[str]
) -> None:
    """What the file puts something into may be full at the next call; a switch that it only asks may not."""
    body = indented(lines)
    text = (
        f"{HEAD}from shop import SHARED\n\nCACHE, PAUSED = {{}}, False\n\n\n"
        f"@app.function(gpu='L4')\n@modal.fastapi_endpoint()\ndef run(x):\n{body}"
    )
    assert codes(text) & LOADS == found


STARTS = (
    "    @modal.enter()\n    def start(self):\n        self.model, self.closed = None, False\n\n"
)
RUN = (
    "    @modal.method()\n    def run(self, x):\n        if self.{asked}:\n            return ''\n"
    "        {last}\n"
)
KEEPS = f"self.keep({LOAD})"
KEEP = "    def keep(self, net):\n        self.model = net\n\n"
LOADED = "    @property\n    def loaded(self):\n        return self.model is not None\n\n"


@pytest.mark.parametrize(
    ("above", "bases", "members", "found"),
    [
        ("", "", LOADED + RUN.format(asked="loaded", last=f"self.model = {LOAD}"), {"MK410"}),
        (f"class Base:\n{KEEP}\n", "(Base)", RUN.format(asked="model", last=KEEPS), set()),
        (f"class Base:\n{KEEP}\n", "(Base)", RUN.format(asked="closed", last=KEEPS), {"MK401"}),
        ("from shop import Base\n\n\n", "(Base)", RUN.format(asked="model", last=KEEPS), set()),
        ("", "", KEEP + RUN.format(asked="model", last=KEEPS), set()),
    ],
)
def test_a_guard_asks_what_a_property_or_a_base_class_says(
    above: str, bases: str, members: str, found: set[str]
) -> None:
    """A property is worked out anew, and a method of a base class, or of one elsewhere, may set what is asked."""
    text = f"{HEAD}{above}@app.cls(gpu='L4')\nclass Model{bases}:\n{STARTS}{members}"
    assert codes(text) & LOADS == found


def test_a_method_called_load_is_a_start_of_services_alone() -> None:
    """A class of Modal calls its own `load` for each request, which its guard then ends."""
    load = f"    def load(self):\n        if self.model is not None:\n            return\n        self.model = {LOAD}\n\n"
    run = "    @modal.method()\n    def run(self, x):\n        self.load()\n        return self.model(x)\n"
    plain = f"{HEAD}@app.cls(gpu='L4')\nclass Model:\n    model = None\n\n{load}{run}"
    assert codes(plain) & LOADS == {"MK410"}
    closed = plain.replace("self.model is not None", "self.closed").replace(
        "    model =", "    closed ="
    )
    assert codes(closed) & LOADS == {"MK401"}


@pytest.mark.parametrize(
    ("line", "found"), [("return whisper.load_model('base')(x)", True), ("self.load()", False)]
)
def test_what_a_services_load_sets_stays_unless_a_call_runs_it(line: str, found: bool) -> None:
    """`load` runs before the first request; an endpoint that calls it itself may change what it asks."""
    text = (
        "import modal, whisper\nfrom modalkit import ModelService, endpoint, serve\n\napp = modal.App('demo')\n\n\n"
        "@serve(app)\nclass Ears(ModelService):\n    def load(self) -> None:\n"
        "        self.net = whisper.load_model('base')\n\n    @endpoint('/hear')\n"
        f"    def hear(self, x: bytes) -> str:\n        if self.net:\n            return ''\n        {line}\n"
    )
    assert ("MK401" in codes(text)) is found
