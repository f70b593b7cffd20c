"""What a host is called."""

from __future__ import annotations

import socket

from gpu_sentinel.host.name import node_name


def test_a_pod_says_on_which_node_it_is():
    assert node_name({"NODE_NAME": "node-7"}) == "node-7"
    assert node_name({"NODE_NAME": ""}) == socket.gethostname()
    assert node_name({}) == socket.gethostname()
