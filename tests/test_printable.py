"""Control characters are written out, wherever a text of a stranger is shown or logged."""

from __future__ import annotations

import ast
import email.policy
import json
import unicodedata
from email.message import EmailMessage
from pathlib import Path

import pytest

from gpu_sentinel import logs, printable
from gpu_sentinel.stack.catcher import mail_lines, webhook_line

CLI = Path(__file__).parents[1] / "exporter" / "gpu_sentinel" / "cli"
ODD = "\x1b[31m\x07\r\n\x00\x7f\x9b\u202e\u2066\u2028\ud800\U000e0041"


def is_clean(text: str) -> bool:
    return all(character == "\n" or printable.safe(character) for character in text)


def test_all_control_characters_are_unsafe():
    for number in range(0x110000):
        character = chr(number)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            assert not printable.safe(character), hex(number)
    for character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f\ufeff":
        assert not printable.safe(character), hex(ord(character))


def test_what_people_write_stays():
    for text in (
        "GPU 0 \u00e9 \u2603",
        "50 \u00b0C",
        "\u0645\u0631\u062d\u0628\u0627",
        "\U0001f680",
        "a\\b",
    ):
        assert printable.line(text) == text


def test_a_line_is_a_line():
    assert printable.line("a\nb\tc\x1b\u202e\U000e0041") == r"a\nb\tc\x1b\u202e\U000e0041"
    assert printable.text("a\nb\r\n") == "a\nb\\r\n"
    assert is_clean(printable.line(ODD))


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_the_same_value(ascii_only: bool):
    dumped = printable.as_json({"a": ODD}, ascii_only=ascii_only)
    assert json.loads(dumped) == {"a": ODD}
    assert is_clean(dumped)


@pytest.mark.parametrize("formatter", [logs.LogfmtFormatter(), logs.JsonFormatter()])
def test_log_lines(formatter):
    import logging  # noqa: PLC0415

    record = logging.makeLogRecord(
        {"msg": f"x{ODD}", "name": "gpu_sentinel.a", "fields": {"b": ODD}}
    )
    line = formatter.format(record)
    assert "\n" not in line
    assert is_clean(line)


def test_mails_and_webhooks():
    mail = EmailMessage()
    mail["To"], mail["Subject"] = "a@b", "GPU \x1b[31m\u202e"
    mail.set_content("one\x1b[2J\u2066\ntwo\n")
    shown = mail_lines(mail.as_bytes(policy=email.policy.SMTP))  # lines end with CR and LF
    assert is_clean(shown)
    assert "\\r" not in shown
    assert "    one\\x1b[2J\\u2066\n    two" in shown
    body = {"status": ODD, "alerts": [{"annotations": {"summary": ODD}}]}
    line = webhook_line(json.dumps(body).encode())
    assert is_clean(line)
    assert "\n" not in line
    assert "no notification" in webhook_line(b"[" * 100_000)


@pytest.mark.parametrize("charset", ["nosuch", "idna", "utf-7", "unicode_escape", "zlib"])
def test_mails_with_odd_charsets(charset: str):
    head = f"To: a\nSubject: =?{charset}?b?//8=?=\nContent-Type: text/plain; charset={charset}\n\n"
    assert is_clean(mail_lines(head.encode() + b"\xff\xfe\x1b"))


def test_commands_print_by_one_way():
    for path in CLI.glob("*.py"):
        if path.name in ("output.py", "__init__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("print", "click.echo", "click.secho"), f"{path.name}: {name}"
