"""`python -m gpu_sentinel`, and the command `gpu-sentinel`."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from gpu_sentinel.shortage import NO_MEMORY, shortage

_NO_MEMORY = f"gpu-sentinel: {NO_MEMORY}\n".encode()


def main() -> None:
    """Run a command; where there is too little memory even to load it, one line says so."""
    if not sys.warnoptions:
        # Of libraries, such as about parts of them that could not be loaded: for who writes code.
        warnings.simplefilter("ignore")
    # What libraries log is no output of a command; our own log goes its own way.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        from gpu_sentinel.cli import main as run  # noqa: PLC0415 - what fails here is told too

        run()
    except Exception as error:
        try:
            said = shortage(error)
            line = f"gpu-sentinel: {said}\n".encode()
        except MemoryError:  # there is not even enough to tell what there is too little of
            said, line = NO_MEMORY, _NO_MEMORY
        if said is None:
            raise
        # An orderly exit, and a text stream, need memory; and a thread may be inside the driver.
        os.write(2, line)
        os._exit(1)


if __name__ == "__main__":
    main()
