"""A device plugin without devices, as a process of its own: registers a resource with the kubelet.

Usage: deviceplugin.py FOLDER RESOURCE DEVICE... (the folder that the kubelet's plugin socket is in)

Messages: k8s.io/kubelet, pkg/apis/deviceplugin/v1beta1/api.proto.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
from wire import field

folder, resource, ids = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
name = f"{resource.replace('/', '-')}.sock"
ended = threading.Event()


def list_and_watch(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
    """ListAndWatchResponse{1 devices{1 ID, 2 health, 3 topology{1 nodes{1 ID}}}}."""
    node = field(3, field(1, field(1, 0)))
    yield b"".join(field(1, field(1, id_) + field(2, "Healthy") + node) for id_ in ids)
    ended.wait()


def allocate(request: bytes, _: grpc.ServicerContext) -> bytes:
    """AllocateResponse{1 container_responses*}; a request has one field for each container."""
    containers, at = 0, 0
    while at < len(request):
        containers += 1
        at += 2 + request[at + 1]
    return field(1, b"") * containers


class Plugin(grpc.GenericRpcHandler):
    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if call.method.endswith("/ListAndWatch"):
            return grpc.unary_stream_rpc_method_handler(list_and_watch)
        if call.method.endswith("/Allocate"):
            return grpc.unary_unary_rpc_method_handler(allocate)
        return grpc.unary_unary_rpc_method_handler(lambda _, __: b"")


(folder / name).unlink(missing_ok=True)
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Plugin(),))
server.add_insecure_port(f"unix:{folder / name}")
server.start()
# RegisterRequest{1 version, 2 endpoint, 3 resource_name}
with grpc.insecure_channel(f"unix:{folder}/kubelet.sock") as channel:
    register = channel.unary_unary("/v1beta1.Registration/Register")
    request = field(1, "v1beta1") + field(2, name) + field(3, resource)
    register(request, timeout=60, wait_for_ready=True)
print("registered", flush=True)
sys.stdin.read()
ended.set()
server.stop(None)
