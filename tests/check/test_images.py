"""Images: tags that move, copies where a mount would do, and packages that the code does not name."""

from __future__ import annotations

import pytest

from .checking import codes, indented

HEAD = "import os\n\nimport modal\nimport modal.experimental\n\napp = modal.App('demo')\n"
JOB = "import shop\n\n\nclass Job:\n    def env(self, given): ...\n"
COPIED = "modal.Image.debian_slim().add_local_dir('src', '/app', copy=True)"


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("modal.Image.from_registry('acme/llm:latest')", True),
        ("modal.Image.from_registry('acme/llm:cuda-latest')", True),
        ("modal.Image.from_registry(os.environ.get('IMAGE', 'acme/llm'))", True),
        ("modal.Image.from_registry(TAG)", True),
        ("modal.experimental.raw_registry_image('acme/llm:nightly')", True),
        ("modal.Image.from_registry(os.environ.get('IMAGE', 'acme/llm:1.2'))", False),
        ("modal.Image.from_registry(os.environ['IMAGE'])", False),
        ("modal.Image.from_registry('acme/llm:nightly-74fe80ee')", False),
        ("modal.experimental.raw_registry_image('acme/llm:1.2')", False),
        ("modal.Image.from_registry('localhost:5000/llm:1.2')", False),
    ],
)
def test_a_tag_that_moves_is_found(image: str, found: bool) -> None:
    """A word for whatever is newest names no version, also where it is an environment variable's default."""
    text = f"{HEAD}TAG = os.getenv('TAG', 'acme/llm:latest')\nimage = {image}\n"
    assert ("MK303" in codes(text)) is found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("image = IMAGE", "return image"), False),
        (
            ("image = modal.Image.debian_slim()", "if x:", "    image = IMAGE", "return image"),
            False,
        ),
        (("return IMAGE",), False),
        (("image = IMAGE", "return more(image, x)"), False),
        (("images = {'a': IMAGE}", "return images"), False),
        (("image = IMAGE", "return [x, (1, image)]"), False),
        (("return {name: IMAGE for name in x}",), False),
        (("x['a'] = IMAGE",), False),
        (("images = {'a': IMAGE}", "return x"), True),
        (("image = IMAGE", "modal.Sandbox.create(image=image, app=app)"), True),
        (("image = IMAGE", "app.function(image=image)(print)"), True),
    ],
)
def test_an_image_that_is_handed_on_may_be_built_on(lines: tuple[str, ...], found: bool) -> None:
    """What a function returns may get more build steps, which need the copy; what is used as it is does not."""
    body = indented(line.replace("IMAGE", COPIED) for line in lines)
    assert ("MK309" in codes(f"{HEAD}\n\ndef make(x):\n{body}")) is found


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("modal.Image.debian_slim()", True),
        ("modal.Image.from_registry('nvidia/cuda:12.8.0-devel-ubuntu22.04', add_python='3.12')", True),
        ("modal.Image.from_registry('acme/forge:1.2')", False),
        ("modal.Image.debian_slim().pip_install_from_requirements('lock.txt')", False),
        ("modal.Image.debian_slim().uv_sync()", False),
        ("modal.Image.from_dockerfile('Dockerfile')", False),
    ],
)  # fmt: skip
def test_a_hub_variable_is_judged_where_the_code_says_the_packages(image: str, found: bool) -> None:
    """Which hub library a base of its own or a list elsewhere brings is not known, and may read it."""
    text = f"{HEAD}image = {image}.env({{'HF_HUB_ENABLE_HF_TRANSFER': '1'}})\n"
    assert ("MK816" in codes(text)) is found


@pytest.mark.parametrize(
    ("load", "found"),
    [
        ("from_pretrained('acme/model', revision='main')", True),
        ("from_pretrained('acme/model', revision=BRANCH)", True),
        ("from_pretrained(os.environ.get('MODEL', 'acme/model'))", True),
        ("from_pretrained('acme/model', revision='v1.2')", False),
        ("from_pretrained(os.environ['MODEL'])", False),
    ],
)
def test_a_branch_is_no_pin(load: str, found: bool) -> None:
    """The newest commit has a name that stays and a content that does not."""
    text = (
        f"{HEAD}import transformers\nBRANCH = 'master'\n\n\n@app.cls(gpu='L4')\nclass Model:\n"
        f"    @modal.enter()\n    def load(self):\n        self.net = transformers.AutoModel.{load}\n"
    )
    assert ("MK404" in codes(text)) is found


@pytest.mark.parametrize(
    ("fetch", "found"),
    [
        ("hf_hub_download('acme/model', 'net.safetensors')", True),
        ("hf_hub_download(repo_id='acme/model', filename='net.gguf')", True),
        ("hf_hub_download('acme/model', 'net.safetensors', revision='a' * 40)", False),
        ("hf_hub_download('acme/model', 'labels.json')", False),
        ("snapshot_download('acme/data', repo_type='dataset')", False),
        ("snapshot_download('acme/model')", True),
    ],
)
def test_a_download_of_weights_has_a_revision(fetch: str, found: bool) -> None:
    """One file of weights moves like a whole repository; a data set and a list of labels are no model."""
    text = (
        f"{HEAD}from huggingface_hub import hf_hub_download, snapshot_download\n\n\n"
        f"@app.function()\ndef fetch():\n    {fetch}\n"
    )
    assert ("MK404" in codes(text)) is found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (("return image.env({'TOKEN_A': os.environ['API_TOKEN']})",), True),
        (("key = os.environ.get('API_KEY')", "return image.env({'API_KEY': key})"), True),
        (("return image.run_commands(f'git clone https://x:{token}@github.com/a/b')",), True),
        (("line = f'pip install git+https://{token}@github.com/a/b'", "return image.run_commands(line)"), True),
        (("return image.run_commands(f'curl -H {os.environ[\"API_KEY\"]} acme.dev')",), True),
        (("return image.env({'REGION': os.environ['REGION']})",), False),
        (("return image.run_commands(f'git clone https://github.com/{token}/b')",), False),
        (("return image.run_commands(f'git clone ssh://{token}@acme.dev/b')",), False),
        (("return image.run_commands('git clone https://x:$TOKEN@github.com/a/b')",), False),
        (("user = 'git'", "return image.run_commands(f'git clone https://{user}@github.com/a/b')"), False),
        (("user = 'git'", "return image.run_commands(f'git clone https://{user}:{token}@github.com/a/b')"), True),
        (("return Job().env({'TOKEN_A': os.environ['API_TOKEN']})",), False),
        (("job = shop.Task()", "return job.env({'TOKEN_A': os.environ['API_TOKEN']})"), False),
        (("job = shop.base()", "return job.env({'TOKEN_A': os.environ['API_TOKEN']})"), True),
        (("base = modal.Image.debian_slim()", "base.env({'TOKEN_A': os.environ['API_TOKEN']})"), True),
    ],
)  # fmt: skip
def test_a_secret_in_a_build_is_found(lines: tuple[str, ...], found: bool) -> None:
    """What is filled in on this machine stays in the image, in variables and in the commands that build it."""
    text = f"{HEAD}{JOB}\n\ndef make(image: modal.Image, token: str):\n{indented(lines)}"
    assert ("MK205" in codes(text)) is found


@pytest.mark.parametrize(("name", "found"), [("_experimental_server", True), ("server", False)])
def test_the_server_of_an_experiment_has_its_own_name_now(name: str, found: bool) -> None:
    """Modal 1.3 and 1.4 had servers under another name and with other options."""
    text = f"{HEAD}\n\n@app.{name}(port=8000)\nclass Web:\n    @modal.enter()\n    def up(self):\n        pass\n"
    assert ("MK801" in codes(text)) is found
