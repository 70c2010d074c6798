"""Skips work that Copier repeats for each file. This halves the time of a render."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from copier._main import Worker
from jinja2 import Environment
from jinja2.lexer import get_lexer


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Keep the compiled code of each name and answer. Do not ask git for core.fileMode, which only Windows needs."""
    compile_once(patch)
    patch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None)


def compile_once(patch: pytest.MonkeyPatch) -> None:
    """Keep the compiled code of every template text, for environments of the same syntax and extensions."""
    compiled: dict[tuple[Any, ...], Any] = {}
    compile_anew: Callable[..., Any] = Environment.compile

    @wraps(compile_anew)
    def compile_(
        self: Environment, source: Any, name: str | None = None, filename: str | None = None, **more: Any
    ) -> Any:
        if not isinstance(source, str) or more:
            return compile_anew(self, source, name, filename, **more)
        key = (get_lexer(self), *self.extensions, source, name, filename)
        if key not in compiled:
            compiled[key] = compile_anew(self, source, name, filename)
        return compiled[key]

    patch.setattr(Environment, "compile", compile_)
