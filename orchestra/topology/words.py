"""Splitting a string `command` into words as a shell would, though none runs it.

Quotes, backslashes and `${…}` work; what only a shell could do (pipes, redirections, wildcards, `&&`, `$(…)`) is
refused, because passing it on as plain text would do something else than what was meant.
"""

from __future__ import annotations

import re

_NO_SHELL = "No shell runs the command."
_SHELL_HINT = f"{_NO_SHELL} Write [sh, -c, '…'] if you want one; in quotes the sign is plain text."
_OPERATORS = {
    "&&": "`&&` joins two commands",
    "||": "`||` joins two commands",
    "|": "`|` is a pipe between two commands",
    ">>": "`>>` redirects output",
    ">": "`>` redirects output",
    "<": "`<` redirects input",
    "&": "`&` starts a command in the background",
    ";": "`;` separates two commands",
    "$(": "`$(…)` runs a command",
    "`": "a backquote runs a command",
    "(": "`(` starts a subshell",
    ")": "`)` ends a subshell",
    "*": "`*` is a wildcard",
    "?": "`?` is a wildcard",
}
_HINTS = {
    "|": f"{_NO_SHELL} Declare a pipe under `pipes:` and two processes that use it, or write [sh, -c, '…'].",
    "&&": f"{_NO_SHELL} Make two processes with `depends_on: {{first: completed}}`, or write [sh, -c, '…'].",
    "&": "Every process runs in the background already: remove it.",
    ">": f"{_NO_SHELL} What a process prints is in the log; for a file write [sh, -c, '…'].",
}
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


class SplitError(ValueError):
    """A command string that only a shell could run, or with an open quote."""

    def __init__(self, message: str, hint: str = _SHELL_HINT, token: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.token = token  # the text the message is about


def split(text: str) -> list[str]:
    """Return the words of a command. `${…}` stays as it is, also inside quotes. Raises SplitError."""
    words: list[str] = []
    word: list[str] = []
    started = False  # `""` is a word too
    at = 0
    text = text.rstrip("\r\n")
    while at < len(text):
        char = text[at]
        if char in " \t\r\n":
            if char == "\n" and "".join([*words, *word]):
                raise SplitError(
                    "the command has more than one line", "One process runs one command: fold it with `>-`."
                )
            if started:
                words.append("".join(word))
            word, started = [], False
            at += 1
            continue
        if text.startswith("${", at) or text.startswith("$${", at):
            end = closing_brace(text, text.index("{", at))
            word.append(text[at:end])
            at = end
        elif char == "'":
            end = text.find("'", at + 1)
            if end < 0:
                raise SplitError("a single quote is never closed", "Write the command as a list to avoid quoting.", "'")
            word.append(text[at + 1 : end])
            at = end + 1
        elif char == '"':
            piece, at = _double_quoted(text, at + 1)
            word.append(piece)
        elif char == "\\":
            word.append("" if text[at + 1 : at + 2] == "\n" else text[at + 1 : at + 2])
            at += 2
        else:
            _refuse_operator(text, at, started)
            word.append(char)
            at += 1
        started = True
    if started:
        words.append("".join(word))
    if words and _ASSIGNMENT.match(words[0]):
        name = words[0].split("=", 1)[0]
        raise SplitError(
            f"`{words[0]}` sets a variable, as in a shell", f"Write `environment: {{{name}: …}}`.", words[0]
        )
    return words


def closing_brace(text: str, opening: int) -> int:
    """Return the index behind the `}` that closes the `{` at `opening`; the end of the text when none does."""
    depth = 0
    at = opening
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
            at += 1
        elif at == opening and depth == 0:
            depth = 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


def _double_quoted(text: str, at: int) -> tuple[str, int]:
    piece: list[str] = []
    while at < len(text):
        char = text[at]
        if char == '"':
            return "".join(piece), at + 1
        if char == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`"):
            piece.append(text[at + 1])
            at += 2
        elif text.startswith("${", at) or text.startswith("$${", at):
            end = closing_brace(text, text.index("{", at))
            piece.append(text[at:end])
            at = end
        else:
            piece.append(char)
            at += 1
    raise SplitError("a double quote is never closed", "Write the command as a list to avoid quoting.", '"')


def _refuse_operator(text: str, at: int, inside_word: bool) -> None:
    for token, what in _OPERATORS.items():
        if text.startswith(token, at):
            raise SplitError(what, _HINTS.get(token, _SHELL_HINT), token)
    if text[at] == "~" and not inside_word:
        raise SplitError("`~` stands for a folder in a shell only", "Write ${HOME}.", "~")
