"""The reference of the command line, made of the commands themselves, and of the cases, as Markdown."""

import typer

from normsuite.cli import app
from normsuite.measure import cases


def commands() -> list[str]:
    """Return every command: what it does, its usage, its arguments and its options."""
    lines = []
    for path, command in _leaves(typer.main.get_command(app), "normsuite"):
        lines += [f"## `{path}`", "", *_described(path, command), ""]
    return lines


def _leaves(command, path: str):
    if hasattr(command, "commands"):
        for name, within in sorted(command.commands.items()):
            if not within.hidden:
                yield from _leaves(within, f"{path} {name}")
    else:
        yield path, command


def _described(path: str, command) -> list[str]:
    context = command.context_class(command, info_name=path)
    lines = [" ".join(part.split()) for part in (command.help or "").replace("\b", "").split("\n\n") if part.strip()]
    lines = [text for part in lines for text in (part, "")]
    lines += ["```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", ""]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    rows = [(f"`{(p.metavar or p.name).upper()}`", getattr(p, "help", None), _default(p)) for p in arguments]
    rows += [(", ".join(f"`{name}`" for name in (*p.opts, *p.secondary_opts)), p.help, _default(p)) for p in options]
    return [*lines, "| | | default |", "|---|---|---|", *(_row(*row) for row in rows)]


def _row(name: str, text: str | None, default: str) -> str:
    return f"| {name} | {' '.join((text or '').split()).replace('|', chr(92) + '|')} | {default} |"


def _default(parameter) -> str:
    default = parameter.default
    is_flag = getattr(parameter, "is_flag", False)
    return "" if default in (None, False, "") or is_flag or callable(default) else f"`{default}`"


def case_table() -> list[str]:
    """Return every case by the name that --case takes: its shape, its groups and what it stands for."""
    lines = ["| case | shape | layout | groups | norms | what it is |", "|---|---|---|---|---|---|"]
    for name, case in cases.every().items():
        layout = "channels_last" if case.channels_last else "contiguous"
        norms = ", ".join(case.norms) or "all that suit"
        shape = "×".join(map(str, case.shape))
        lines.append(f"| `{name}` | {shape} | {layout} | {case.num_groups} | {norms} | {case.meaning} |")
    return lines


PARTS = {"commands": commands, "cases": case_table}
