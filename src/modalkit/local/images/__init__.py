"""Images: what the client's builder asks for, made from this machine's own parts.

dockerfile, recipes, commands, projects   from an image's definition to its steps
builder, running, layers                  carrying the steps out: files, commands
python_steps, environments, installers    carrying the steps out: Python and its packages
requirements, gpu_stack                   what is here already, what is better not fetched
built, store, locks, logs, builds         what a build left; every image; who builds; its log
folders                                   what lies in an image's folder
snapshots, packing                        the files of a running container as an image
"""

from .builder import HostBuilder, ImageBuilder, Job
from .builds import Build, Builds
from .built import Built
from .running import Runner, container_path
from .steps import AddFiles, Recipe
from .store import Images, ImageUse, Surroundings

__all__ = [
    "AddFiles",
    "Build",
    "Builds",
    "Built",
    "HostBuilder",
    "ImageBuilder",
    "ImageUse",
    "Images",
    "Job",
    "Recipe",
    "Runner",
    "Surroundings",
    "container_path",
]
