"""Tab completion: a script for the user's shell, which needs no Python at each key."""

import argparse

import shtab

from pipelines.push.request import PUSHABLE
from sources.insightly.entities import ENTITIES
from sources.insightly.selection import PRESETS


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of the program for a shell that shtab supports.

    Args:
        parser: of the program. Its arguments get choices that they do not have for parsing, where any case is accepted.
        shell: `bash`, `zsh`, `fish`, `tcsh` or `powershell`.
    """
    names = [*PRESETS, *(name for name, entity in ENTITIES.items() if entity.read != "embedded")]
    (commands,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command, command_parser in dict(commands or {}).items():
        for action in command_parser._actions:
            if action.metavar == "ENTITY":
                action.choices = PUSHABLE if command == "push" else names
            elif action.metavar in ("FILE", "FILE|TABLE", "PATH"):
                action.complete = shtab.FILE
            elif action.metavar == "DIR":
                action.complete = shtab.DIRECTORY
    completion: str = shtab.complete(parser, shell=shell)
    return completion
