"""`gpu-sentinel top` on a terminal, by curses."""

from __future__ import annotations

import contextlib
import curses
import locale
import os
import threading
import time

import click

from gpu_sentinel.cli.page import Page
from gpu_sentinel.cli.screen import Line, Style, View
from gpu_sentinel.exposition.usagerates import Rates

#: A key is waited for so long at a time; what the page says meanwhile is shown after it.
_WAIT_MILLISECONDS = 200
#: After ESC: whether it was that key, or the first byte of another one.
_ESCAPE_MILLISECONDS = 50
_KEYS = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_PPAGE: "page-up",
    curses.KEY_NPAGE: "page-down",
}


class NoTerminalError(Exception):
    """Nothing that curses can draw on; one line."""


class _Reader:
    """Reads the page again and again in a thread of its own, so that keys are never waited for."""

    def __init__(self, page: Page, interval: float) -> None:
        self._page = page
        self._interval = interval
        self._rates = Rates()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._news = False
        self._latest = View()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it; what it waits for at the moment ends with the program."""
        self._stop.set()

    def tell(self, view: View) -> bool:
        """Put into a view what is new; whether anything is."""
        with self._lock:
            view.page, view.read = self._latest.page, self._latest.read
            view.trouble = self._latest.trouble
            news, self._news = self._news, False
        return news

    def _run(self) -> None:
        while not self._stop.is_set():
            self._read()
            self._stop.wait(self._interval)

    def _read(self) -> None:
        trouble, found = "", None
        try:
            found = self._page.read()
            self._rates.add(found, time.monotonic())
        except click.ClickException as error:
            trouble = error.format_message()
        except Exception as error:  # noqa: BLE001 - a defect of ours is a line, not a frozen screen
            trouble = f"{type(error).__name__}: {error}"
        with self._lock:
            self._news, self._latest.trouble = True, trouble
            if found is not None:
                self._latest.page, self._latest.read = found, time.time()


def run(page: Page, interval: float, sort: str) -> None:
    """Show the page until somebody presses `q`.

    Raises:
        ClickException: the first reading failed.
        NoTerminalError: the terminal can do too little.
    """
    page.read()  # what is wrong with the address is said on a line, not on a screen
    locale.setlocale(locale.LC_ALL, "")
    try:
        curses.setupterm()
        if not curses.tigetstr("clear") or not curses.tigetstr("cup"):
            raise NoTerminalError(f"TERM={os.environ.get('TERM', '')} has no cursor that moves")
    except curses.error as error:
        raise NoTerminalError(str(error)) from None
    curses.set_escdelay(_ESCAPE_MILLISECONDS)
    for name in ("LINES", "COLUMNS"):
        # Curses would take the size from them for ever, whatever the size of the terminal becomes.
        os.environ.pop(name, None)
    reader = _Reader(page, interval)
    reader.start()
    try:
        curses.wrapper(_loop, reader, View(sort=sort))
    finally:
        reader.stop()


def _loop(window: curses.window, reader: _Reader, view: View) -> None:
    styles = _styles()
    with contextlib.suppress(curses.error):
        curses.curs_set(0)
    window.timeout(_WAIT_MILLISECONDS)
    dirty = True
    while True:
        if reader.tell(view) or dirty:
            _draw(window, view, styles)
        key = window.getch()
        dirty = key != curses.ERR
        if dirty and not view.press(_name(key), window.getmaxyx()[0]):
            return


def _name(key: int) -> str:
    return _KEYS.get(key) or (chr(key) if 0 <= key < 0x80 else "")


def _draw(window: curses.window, view: View, styles: dict[Style, int]) -> None:
    height, width = window.getmaxyx()
    window.erase()
    # The last place of the last line cannot be written to without scrolling.
    for row, line in enumerate(view.draw(height, width - 1)):
        _put(window, row, line, styles[line.style])
    window.refresh()


def _put(window: curses.window, row: int, line: Line, style: int) -> None:
    # The window may have become smaller meanwhile, or the terminal may lack a character.
    try:
        window.addstr(row, 0, line.text, style)
    except UnicodeEncodeError:
        with contextlib.suppress(curses.error):
            window.addstr(row, 0, line.text.encode("ascii", "replace").decode(), style)
    except curses.error:
        pass


def _styles() -> dict[Style, int]:
    bad = curses.A_BOLD
    if "NO_COLOR" not in os.environ and curses.has_colors():
        curses.use_default_colors()
        curses.init_pair(1, curses.COLOR_RED, -1)
        bad |= curses.color_pair(1)
    return {
        Style.PLAIN: curses.A_NORMAL,
        Style.HEAD: curses.A_BOLD,
        Style.BAD: bad,
        Style.BAR: curses.A_REVERSE,
    }
