"""What a file declares, however it is written: aliases, constants, dicts, inheritance, chains."""

from __future__ import annotations

import pytest

from modalkit.check.declared import ModalFile
from modalkit.check.images import read_image
from modalkit.check.models import loads_of, named_parameters
from modalkit.check.packages import installed_in, package_for, requirements_of
from modalkit.check.runner import check_source
from modalkit.check.source import parse_source

from .checking import codes


def _file(text):
    return ModalFile(parse_source("demo.py", text))


WRITTEN = {
    "plain": "import modal\napp = modal.App()\n@app.function(gpu='X1')\ndef f(): ...\n",
    "alias of the module": "import modal as m\na = m.App()\n@a.function(gpu='X1')\ndef f(): ...\n",
    "alias of the class": "from modal import App as A\na = A('x')\n@a.function(gpu='X1')\ndef f(): ...\n",
    "an inner module": "from modal.app import App\na = App('x')\n@a.function(gpu='X1')\ndef f(): ...\n",
    "a constant": "import modal\napp = modal.App()\nG = 'X1'\n@app.function(gpu=G)\ndef f(): ...\n",
    "an f-string": "import modal\napp = modal.App()\nG, N = 'X1', 2\n@app.function(gpu=f'{G}:{N}')\ndef f(): ...\n",
    "a branch": "import modal\napp = modal.App()\n@app.function(gpu='T4' if big() else 'X1')\ndef f(): ...\n",
    "assigned in branches": "import modal\napp = modal.App()\nif big():\n    G = 'T4'\nelse:\n    G = 'X1'\n@app.function(gpu=G)\ndef f(): ...\n",
    "an environment default": "import modal, os\napp = modal.App()\n@app.function(gpu=os.environ.get('GPU', 'X1'))\ndef f(): ...\n",
    "a list": "import modal\napp = modal.App()\n@app.function(gpu=['T4', 'X1'])\ndef f(): ...\n",
    "a dict": "import modal\napp = modal.App()\no = {'gpu': 'X1'}\n@app.function(**o)\ndef f(): ...\n",
    "dicts in dicts": "import modal\napp = modal.App()\no = dict(gpu='X1')\np = {**o, 'timeout': 9}\n@app.function(**p)\ndef f(): ...\n",
    "decorators over lines": "import modal\napp = modal.App()\n@app.function(\n    # which one\n    gpu=(\n        'X1'\n    ),\n)\n@modal.concurrent(\n    max_inputs=3\n)\ndef f(): ...\n",
    "an app of another file": "import modal\nfrom shop import app\n@app.function(gpu='X1')\ndef f(): ...\n",
    "in a function": "import modal\ndef make():\n    app = modal.App()\n    @app.function(gpu='X1')\n    def f(): ...\n    return app\n",
    "a class": "import modal\napp = modal.App()\n@app.cls(gpu='X1')\nclass C: ...\n",
    "with_options": "import modal\nC = modal.Cls.from_name('a', 'b')\nD = C.with_options(gpu='X1')\n",
    "a profile": "import modal\nfrom modalkit import GPUProfile as P\ng = P('T4', fallbacks=['X1'])\n",
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_value_is_found_however_it_is_written(name):
    """The same wrong GPU is found through every way of writing it."""
    assert "MK101" in codes(WRITTEN[name])


UNKNOWN = {
    "an argument": "import modal\ndef make(app, gpu):\n    return app.function(gpu=gpu)(print)\n",
    "a loop": "import modal\napp = modal.App()\nfor g in ['X1']:\n    app.function(gpu=g)(print)\n",
    "another library": "import ray\n@ray.remote(gpu='X1')\ndef f(): ...\n",
    "not Modal": "import flask\napp = flask.Flask('x')\n@app.function(gpu='X1')\ndef f(): ...\n",
    "a shadowed name": "import modal\ndef f(modal):\n    return modal.App().function(gpu='X1')\n",
    "a local name": "import modal\napp = modal.App()\nG = 'X1'\ndef g():\n    G = compute()\n    return app.function(gpu=G)(print)\n",
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_sure_is_not_reported(name):
    """A value that is not followed, and code that is not Modal's, give nothing."""
    assert "MK101" not in codes(UNKNOWN[name])


def test_members_of_base_classes_count():
    """Methods and decorators of base classes in the same file belong to the class."""
    text = "import modal\napp = modal.App()\nclass Base:\n    @modal.enter()\n    def up(self): ...\n    @modal.method()\n    def run(self): ...\n@app.cls()\nclass C(Base):\n    @modal.method()\n    def run(self): ...\n"
    (unit,) = _file(text).units
    assert [(one.name, [d.qualname for d in one.decorators]) for one in unit.members] == [
        ("run", ["modal.method"]),
        ("up", ["modal.enter"]),
    ]


def test_options_of_the_app_are_defaults():
    """What the app says holds where the function says nothing."""
    text = "import modal\nimage = modal.Image.debian_slim()\napp = modal.App('x', image=image.pip_install('numpy==2.3.5'))\n@app.function()\ndef f():\n    import numpy\n@app.function(image=image)\ndef g():\n    import numpy\n"
    findings = check_source(parse_source("demo.py", text))
    assert [(one.code, one.span.line) for one in findings] == [("MK304", 9)]


def test_images_are_followed_through_names():
    """A chain goes on over names, up to the place where it is used."""
    text = "import modal\ni = modal.Image.debian_slim()\ni = i.apt_install('git')\nj = i.pip_install('a==1')\ni = i.pip_install('b==1')\nk = i\n"
    file = _file(text)
    names = {assign.targets[0].id: assign.value for assign in file.source.tree.body[1:]}
    assert [step.method for step in read_image(names["j"], file.names).steps] == [
        "apt_install",
        "pip_install",
    ]
    assert installed_in(read_image(names["k"], file.names), file.names).distributions == {"b"}


@pytest.mark.parametrize(
    "step",
    [
        "pip_install_from_requirements('r.txt')", "run_commands('pip install -r r.txt')", "uv_sync()",
        "run_commands('make install')", "pip_install('git+https://x/y.git')", "pip_install(*EXTRA)",
        "dockerfile_commands('RUN pip install x')", "pip_install('a-package-nobody-knows==1')",
        "run_commands(COMMAND)", "run_commands('pip install .')", "apt_install('python3-numpy')",
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_read_to_the_end_misses_nothing(step):
    """Where a step may install anything, no import is reported."""
    text = f"import modal\nfrom elsewhere import EXTRA, COMMAND\napp = modal.App()\nimage = modal.Image.debian_slim().{step}\n@app.function(image=image)\ndef f():\n    import cv2\n"
    assert not codes(text) & {"MK304", "MK305"}


def test_imports_under_guards_are_left_alone():
    """Imports under try, if and image.imports() are not those that every container runs."""
    text = "import modal\nimage = modal.Image.debian_slim()\napp = modal.App()\ntry:\n    import cv2\nexcept ImportError:\n    cv2 = None\nif modal.is_local():\n    import numpy\nwith image.imports():\n    import torch\n@app.function()\ndef f(): ...\n"
    assert not codes(text) & {"MK304", "MK305"}


def test_modules_beside_the_file_need_no_package(tmp_path):
    """An import of a module that lies beside the file is not a missing package."""
    (tmp_path / "shop.py").write_text("")
    text = "import modal\nimport shop\napp = modal.App()\n@app.function()\ndef f(): ...\n"
    found = check_source(parse_source(str(tmp_path / "a.py"), text))
    assert "MK305" not in {one.code for one in found}
    (tmp_path / "shop.py").unlink()
    assert [one.code for one in check_source(parse_source(str(tmp_path / "a.py"), text))] == [
        "MK305"
    ]


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("cv2", "opencv-python"), ("PIL.Image", "pillow"), ("sklearn.svm", "scikit-learn"),
        ("yaml", "pyyaml"), ("bs4", "beautifulsoup4"), ("dotenv", "python-dotenv"),
        ("jwt", "pyjwt"), ("sentence_transformers", "sentence-transformers"), ("requests", "requests"),
    ],
)  # fmt: skip
def test_imports_have_their_packages(module, package):
    """The package of an import is the one that brings it, not the one of its name."""
    assert package_for(module)[0] == package


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("pip install vllm==0.9 torch", ["vllm==0.9", "torch"]),
        ("python -m pip install -U 'a>=1' -r x.txt", ["a>=1"]),
        ("uv pip install --system --index-url https://x/y b", ["b"]),
        ("apt-get install -y git", []),
        ("pip install git+https://x/y.git", []),
    ],
)
def test_commands_install_packages(command, found):
    """Requirements are read out of pip commands, without their options."""
    assert requirements_of(command) == found


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("Qwen/Qwen3-0.6B", 0.6), ("mistralai/Mixtral-8x7B-v0.1", 44.8), ("Qwen/Qwen3-30B-A3B", 30),
        ("a/b-70b-instruct-awq", 70), ("openai/gpt-oss-120b", 120), ("google/gemma-3n-E4B-it", None),
        ("black-forest-labs/FLUX.1-dev", None), ("a/v2b", None), ("a/1.5B-2bit", 1.5),
    ],
)  # fmt: skip
def test_names_say_parameters(model, billions):
    """The size in a model's name is read; what only looks like one is not."""
    found = named_parameters(model)
    assert (
        (found / 1e9 if found else None) == pytest.approx(billions) if billions else found is None
    )


@pytest.mark.parametrize(
    "start",
    [
        "Popen(['vllm', 'serve', M, '--port', str(PORT)])",
        "Popen(f'vllm serve {M} --port {PORT}', shell=True)",
        "Popen(' '.join(cmd), shell=True)",
        "run(cmd, check=True)",
        "Popen([*BASE, '--model-path', M])",
        "Popen(shlex.split('vllm serve ' + M))",
    ],
)
def test_models_of_commands_are_found(start):
    """The model of a server process is found in lists, f-strings, joins and added lists."""
    text = f"import modal, shlex, subprocess\napp = modal.App()\nM = 'Qwen/Qwen3-8B'\nPORT = 8000\nBASE = ['python', '-m', 'sglang.launch_server']\n@app.function()\ndef f():\n    cmd = ['vllm', 'serve']\n    cmd += [M]\n    subprocess.{start}\n"
    file = _file(text)
    assert [load.model for load in loads_of(file, file.units[0])] == ["Qwen/Qwen3-8B"]


def test_an_instances_own_methods_are_modals():
    """What Modal's instances have themselves is no method that needs .remote; the user's methods are."""
    head = "import modal\nModel = modal.Cls.from_name('a', 'Model')\nmodel = Model()\n"
    assert "MK813" not in codes(head + "model.update_autoscaler(min_containers=2)\n")
    assert "MK813" in codes(head + "model.predict(3)\n")


LEFT = "import modal\nimport shop\napp = modal.App()\n@app.function({0})\ndef f(): ...\n"
ADDED = "image=modal.Image.debian_slim().add_local_python_source('shop')"


@pytest.mark.parametrize(
    ("options", "guard", "package", "found"),
    [
        ("", False, False, True),
        ("image=modal.Image.debian_slim().pip_install('a==1')", False, False, True),
        (ADDED, False, False, False),
        ("image=modal.Image.debian_slim().add_local_dir('.', '/root')", False, False, False),
        ("image=modal.Image.from_registry('me/mine:1')", False, False, False),
        ("serialized=True", False, False, False),
        ("include_source=False", False, False, False),
        ("**options()", False, False, False),
        ("", True, False, False),
        ("", False, True, False),
    ],
)
def test_a_module_beside_the_file_must_come_along(tmp_path, options, guard, package, found):
    """A module beside the file is left behind, unless an image, a package or a guard takes care of it."""
    (tmp_path / "shop.py").write_text("")
    if package:
        (tmp_path / "__init__.py").write_text("")
    text = LEFT.format(options)
    if guard:
        text = text.replace("import shop", "if modal.is_local():\n    import shop")
    caught = {one.code for one in check_source(parse_source(str(tmp_path / "a.py"), text))}
    assert ("MK312" in caught) is found
