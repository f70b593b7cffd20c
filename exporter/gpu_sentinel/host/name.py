"""What this host is called."""

from __future__ import annotations

import socket
from collections.abc import Mapping


def node_name(env: Mapping[str, str]) -> str:
    """The name of the node; in a pod `NODE_NAME`, for there the host has the name of the pod."""
    return env.get("NODE_NAME") or socket.gethostname()
