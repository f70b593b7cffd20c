"""Writes requirements/*.txt from pyproject.toml: the first half of `make lock`.

Versions stay as they are where they still fit; `make lock ARGS=--upgrade` takes the newest ones,
and `ARGS="--upgrade-package NAME"` that of one package. One lock is good for all the versions of
Python that the package supports, and for all systems.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from lockfile import LOCKS, ROOT, path_of, pyproject

#: The oldest Python that pyproject.toml allows.
OLDEST_PYTHON = "3.10"


def compile_lock(name: str, before: list[str], options: list[str]) -> None:
    """Write one lock; the pins of the locks in `before` hold in it too."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise SystemExit("lock.py: uv is missing: run `make lock`")
    command = [
        *(uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate"),
        # Nothing of this machine's own settings gets into the file.
        *("--no-config", "--no-emit-index-url", "--no-emit-find-links"),
        *("--custom-compile-command", "make lock", "--python-version", OLDEST_PYTHON),
        *(f"--constraints={path_of(other)}" for other in before),
        *("--output-file", str(path_of(name)), *options),
    ]
    extras = LOCKS[name]
    if extras is None:
        builders = "\n".join(pyproject()["build-system"]["requires"])
        subprocess.run([*command, "-"], check=True, cwd=ROOT, input=builders, text=True)
    else:
        chosen = [f"--extra={extra}" for extra in extras]
        subprocess.run([*command, *chosen, "pyproject.toml"], check=True, cwd=ROOT)


def main() -> None:
    done: list[str] = []
    for name in LOCKS:
        compile_lock(name, done, sys.argv[1:])
        done.append(name)
        print(f"requirements/{name}.txt")


if __name__ == "__main__":
    main()
