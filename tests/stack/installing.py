"""What tests of `gpu-sentinel install` call it with."""

HOOK = ("--webhook-url", "http://127.0.0.1:1/secret")
PARTS = ("exporter", "alertmanager", "prometheus")
