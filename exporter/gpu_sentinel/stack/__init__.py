"""The stack as local processes, and as services."""

from pathlib import Path

#: The data directory of `gpu-sentinel install`.
INSTALLED = Path("/var/lib/gpu-sentinel")
