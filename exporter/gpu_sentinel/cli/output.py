"""The one way to the terminal: text of others goes there without control characters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from gpu_sentinel import printable

#: Of an error: what it quotes may be as long as a file.
_LONGEST_ERROR = 2000


class Styled(str):
    """A text with colours of ours, in which everything else is safe already."""

    __slots__ = ()


def styled(text: str, **style: Any) -> Styled:
    """A text in a colour or in bold."""
    return Styled(click.style(printable.line(text), **style))


def say(*parts: str) -> None:
    """Print one line; an end of a line in it is written out, as no text of ours holds one."""
    safe = (part if isinstance(part, Styled) else printable.line(part) for part in parts)
    click.echo("".join(safe))


def say_text(text: str, *, end: str = "\n") -> None:
    """Print several lines, all of whose ends are meant."""
    click.echo(printable.text(text) + end, nl=False)


def say_json(value: Any) -> None:
    """Print a value for a program."""
    click.echo(printable.as_json(value, indent=2))


def complain(message: object, who: str = "gpu-sentinel") -> None:
    """Print one line on standard error, by the name of the program or of the command."""
    text = printable.line(message)
    if len(text) > _LONGEST_ERROR:
        half = _LONGEST_ERROR // 2
        text = f"{text[:half]} ... {text[-half:]}"
    click.echo(f"{who}: {text}", err=True)


def date(moment: datetime, *, seconds: bool = False) -> str:
    """A date and time of day, with its year."""
    # Not by strftime: years before 1000 would have no four digits.
    text = f"{moment.day:02d} {_MONTHS[moment.month - 1]} {moment.year:04d} "
    return text + moment.strftime("%H:%M:%S" if seconds else "%H:%M")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
