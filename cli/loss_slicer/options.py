"""The options of `run`, composed from the fields of `Job` and the methods table, so that neither is written twice."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from slicer_core.errors import UsageError
from slicer_core.job.configuration import Job, flag, read_config
from slicer_core.methods import METHODS, MethodOption, all_options

# The options of a run that are not the job's own are parameters of the command itself.
_LISTS = ("checkpoints", "set", "params", "exclude")
_NUMBERS: dict[str, type] = {"int": int, "float": float}


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of `Job` and for each option of a method, before its own.

    The command receives them as keywords; what was not given is None or an empty list.
    """
    own = inspect.signature(command, eval_str=True)
    parameters = [
        *(_job_parameter(entry) for entry in dataclasses.fields(Job) if entry.name != "method_options"),
        *_method_parameters(),
        *(parameter for parameter in own.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD),
    ]
    command.__signature__ = own.replace(parameters=parameters)
    return command


def given_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of the command's keywords, those that were given, with numbers as such and `--set` as a mapping.

    Raises:
        UsageError: a `--set` is not KEY=VALUE.
    """
    kinds = _number_types()
    given = {
        name: _number(value, kinds[name]) if name in kinds else value
        for name, value in values.items()
        if value not in (None, [], ())
    }
    if "set" in given:
        given["set"] = parse_settings(given["set"])
    return given


def with_config(given: Mapping[str, Any], config: Path | None) -> dict[str, Any]:
    """The options of a configuration file with the given ones in their place, and both's `--set` together.

    Raises:
        UsageError: the file can't be read, or has a key that is no option.
    """
    values = read_config(config) if config is not None else {}
    settings = values.get("set")
    both = values | dict(given)
    if isinstance(settings, Mapping) and "set" in given:
        both["set"] = {**settings, **given["set"]}
    return both


def parse_settings(entries: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts as a mapping; a value is a TOML value or one of Python's if it can be read as one, else a text.

    Raises:
        UsageError: an entry has no `=`, a key that is not a Python name, or the value None.
    """
    settings: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UsageError(f"--set {entry!r} is not of the form KEY=VALUE, as in --set width=64")
        settings[key.strip()] = _setting(key.strip(), text)
    return settings


def _number_types() -> dict[str, type]:
    """The type of each option that is a number."""
    texts = {entry.name: str(entry.type).removesuffix(" | None") for entry in dataclasses.fields(Job)}
    texts |= {name: type(option.default).__name__ for name, option in all_options().items()}
    return {name: _NUMBERS[text] for name, text in texts.items() if text in _NUMBERS}


def _number(text: Any, kind: type) -> Any:
    """The number; a text that is none stays one, which `Job` refuses in its own words."""
    try:
        return kind(text)
    except ValueError:
        return text


def _setting(key: str, text: str) -> Any:
    if text.strip() == "None":
        raise UsageError(
            f"--set {key}=None: no file can repeat that. Leave it out where None is the default of build, or give "
            f"{key}='\"None\"' for the text"
        )
    if "\n" in text or "\r" in text:
        return text
    try:
        # In an inline table a `#` begins no comment that would end the value, and a comma no other.
        (value,) = tomllib.loads(f"all = {{value = {text}}}")["all"].values()
        return value
    except (tomllib.TOMLDecodeError, ValueError):
        return _python_value(text)


def _python_value(text: str) -> Any:
    """What Python has for a truth or a number and TOML has not, as True or .5; else the text."""
    try:
        with warnings.catch_warnings():
            # Of a text such as 1if, which is no number.
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    given = value if isinstance(value, list) else [value] if isinstance(value, bool | float) else [None]
    return value if all(isinstance(one, bool | int | float | str) for one in given) else text


def _job_parameter(entry: dataclasses.Field[Any]) -> inspect.Parameter:
    default = entry.default
    silent = default is dataclasses.MISSING or default is None or default is False or default == ()
    choices = entry.metadata["choices"]
    words = tuple(METHODS) if entry.name == "method" else choices or ()
    option = typer.Option(
        flag(entry.name),
        help=entry.metadata["help"] + ("" if silent else f" (default: {default})"),
        rich_help_panel=entry.metadata["panel"],
        show_default=False,
        metavar="|".join(choices) if choices else _metavar(entry.name, str(entry.type)),
        autocompletion=_completing(words) if words else None,
    )
    return _parameter(entry.name, _python_type(entry.name, str(entry.type)), option)


def _method_parameters() -> list[inspect.Parameter]:
    parameters: dict[str, inspect.Parameter] = {}
    for row in METHODS.values():
        for method_option in row.options:
            owners = [other.name for other in METHODS.values() if method_option.name in other.option_names]
            panel = f"Only for --method {' and '.join(owners)}"
            parameters.setdefault(method_option.name, _method_parameter(method_option, panel))
    return list(parameters.values())


def _method_parameter(method_option: MethodOption, panel: str) -> inspect.Parameter:
    kind = type(method_option.default)
    option = typer.Option(
        method_option.flag,
        help=f"{method_option.help} (default: {method_option.default})",
        rich_help_panel=panel,
        show_default=False,
        metavar=_metavar(method_option.name, kind.__name__),
    )
    return _parameter(method_option.name, _python_type(method_option.name, kind.__name__), option)


def _completing(words: Sequence[str]) -> Callable[[str], list[str]]:
    """What a shell offers where one of the words is begun; where nothing is, it completes names of files."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def _parameter(name: str, annotation: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, option]
    )


def _python_type(name: str, text: str) -> Any:
    if name in _LISTS:
        return list[str] | None
    base = text.removesuffix(" | None")
    # Numbers are read by `given_values`, so that what is none is told as all else is.
    return (bool if base == "bool" else str) | None


def _metavar(name: str, text: str) -> str | None:
    special = {"checkpoints": "PATH", "set": "KEY=VALUE", "module": "FILE[:NAME]", "logdir": "DIR", "grid": "N|NxM"}
    special |= {"range": "LO:HI", "params": "GLOB", "exclude": "GLOB", "name": "TAG", "metrics": "a,b"}
    special |= {"hf": "FOLDER", "text": "FILE"}
    special |= {"memory_budget": "SIZE", "weight_decay": "LAMBDA"}
    if name in special:
        return special[name]
    return None if text.startswith("bool") else {"int": "N"}.get(text.removesuffix(" | None"), "TEXT")
