"""A pod-resources service by grpcio, as a process of its own: gRPC's threads stay out of the tests.

It answers what the file `answer` says, when it is asked: JSON with `message` (hex), or `code` and
`details`, and `seconds` to wait. `asked` counts the calls.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
from wire import LIST

folder = Path(sys.argv[1])


def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
    with (folder / "asked").open("ab") as asked:
        asked.write(request.hex().encode() + b"\n")
    told = json.loads((folder / "answer").read_text())
    time.sleep(told.get("seconds", 0))
    if "code" in told:
        context.abort(grpc.StatusCode[told["code"]], told["details"])
    return bytes.fromhex(told["message"])


class Handler(grpc.GenericRpcHandler):
    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(answer) if call.method == LIST else None


# Nothing is too large for this one, so that it is for the client to say so.
server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_send_message_length", -1)])
server.add_generic_rpc_handlers((Handler(),))
server.add_insecure_port(f"unix:{folder}/kubelet.sock")
server.start()
print("up", flush=True)
sys.stdin.read()
server.stop(None)
