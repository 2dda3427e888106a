"""The package's exception."""

from __future__ import annotations


class Error(Exception):
    """What went wrong, where, and what to do.

    `code` names a likely mistake, as docs/troubleshooting.md lists them; `help` is the next step. Both are `None` where there
    is none to name. The text has all of it.
    """

    code: str | None
    help: str | None

    def __init__(self, text: str, code: str | None = None, help: str | None = None) -> None:
        super().__init__(text if help is None else f"{text}\nhelp: {help}")
        self.code = code
        self.help = help
