"""Typer commands and groups that reject empty arguments and arguments that are not text."""

import sys
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

_FILES = ("profile", "paths", "command")
"""Parameters beside those of type Path that may name files, and names of files are bytes."""
_COMMAND = "command"
"""The words of another command: all but the first may be empty."""


class StrictCommand(TyperCommand):
    """A command that rejects empty arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; rejects empty ones."""
        _check(self, ctx, args)
        return list(super().parse_args(ctx, args))


class StrictGroup(TyperGroup):
    """A command group that rejects empty options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command's name; rejects empty ones."""
        _check(self, ctx, args)
        return list(super().parse_args(ctx, args))


def _check(command: TyperCommand | TyperGroup, ctx: Any, args: list[str]) -> None:
    """Reject empty values: an unset shell variable must never mean the default.

    Raises:
        typer.BadParameter: a value is empty or not text.
    """
    if not args or ctx.resilient_parsing:
        return
    given, _, order = command.make_parser(ctx).parse_args(args=list(args))
    for param in order:
        value = given.get(str(param.name))
        texts = [one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str)]
        for text in texts[:1] if param.name == _COMMAND else texts:
            _check_text(text, ctx, param)


def _check_text(text: str, ctx: Any, param: Any) -> None:
    if not text.strip():
        raise typer.BadParameter("empty value; set one or omit the option", ctx=ctx, param=param)
    annotation = param.type_descriptor.annotation
    if param.name in _FILES or Path in (annotation, *get_args(annotation)):
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        raise typer.BadParameter(f"'{text}' is not valid {encoding}", ctx=ctx, param=param) from None
