"""Completions for bash, zsh and fish, made from the table."""

from __future__ import annotations

from rdagentctl import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.table import Command, Option

SIGNALS = ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL", "CONT", "STOP", "WINCH")

_NAMES = "rdagentctl status --quiet 2>/dev/null"
_FILES = frozenset({"PATH", "FILE", "DIR", "FILE…"})


def bash() -> str:
    """A script for bash: one case for the option before the cursor, one for the command."""
    values, words = [], []
    for command in table.COMMANDS:
        options = (*command.options, *table.COMMON)
        flags = " ".join(name for option in options for name in _names(option))
        words.append(f"        {command.name}) flags='{flags}'; kind='{command.kind}' ;;")
        values += [
            f"        {command.name}:{name}) {_bash_value(option)}; return ;;"
            for option in options
            if option.value
            for name in _names(option)
        ]
    return _BASH.format(
        commands=" ".join(command.name for command in table.COMMANDS),
        words="\n".join(words),
        values="\n".join(values),
        signals=" ".join(SIGNALS),
        shells=" ".join(table.SHELLS),
        names=_NAMES,
    )


def _names(option: Option) -> tuple[str, ...]:
    return (option.flag, option.short) if option.short else (option.flag,)


def _bash_value(option: Option) -> str:
    if option.choices:
        return f"COMPREPLY=($(compgen -W '{' '.join(_choices(option))}' -- \"$cur\"))"
    return 'COMPREPLY=($(compgen -f -- "$cur"))' if option.value in _FILES else "COMPREPLY=()"


def _choices(option: Option) -> tuple[str, ...]:
    return tuple(f"{choice}=" for choice in option.choices) if "=" in option.value else option.choices


_BASH = """\
# bash completion for rdagentctl; made by: rdagentctl completion bash
_rdagentctl() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" command='' flags='' kind='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${{COMP_WORDS[i]}}" in
        --) COMPREPLY=($(compgen -c -f -- "$cur")); return ;;
        --socket) ((i++)) ;;
        -*) ;;
        *) [ -n "$command" ] || command="${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$command:$prev" in
{values}
    esac
    case "$command" in
        '') COMPREPLY=($(compgen -W '{commands} --help --socket' -- "$cur")); return ;;
{words}
    esac
    case "$cur" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")); return ;;
    esac
    case "$kind" in
    worker) COMPREPLY=($(compgen -W "$({names})" -- "$cur")) ;;
    signal)
        if [ "$prev" = signal ]; then COMPREPLY=($(compgen -W '{signals}' -- "$cur"))
        else COMPREPLY=($(compgen -W "$({names})" -- "$cur")); fi ;;
    file) COMPREPLY=($(compgen -f -- "$cur")) ;;
    shell) COMPREPLY=($(compgen -W '{shells}' -- "$cur")) ;;
    esac
}}
complete -F _rdagentctl rdagentctl
"""


def zsh() -> str:
    """A script for zsh's _arguments."""
    commands = "\n".join(f"        {_quote(f'{c.name}:{_colons(c.says)}')}" for c in table.COMMANDS)
    cases = []
    for command in table.COMMANDS:
        lines = [_zsh_option(option) for option in (*command.options, *table.COMMON)] + _zsh_words(command)
        cases.append(f"    {command.name}) _arguments -s -S \\\n        " + " \\\n        ".join(lines) + " ;;")
    return _ZSH.format(commands=commands, cases="\n".join(cases), names=_NAMES)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _colons(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("[", "(").replace("]", ")")


def _zsh_option(option: Option) -> str:
    many = "*" if option.many else ""
    action = ""
    if option.value:
        what = f"({' '.join(_choices(option))})" if option.choices else "_files" if option.value in _FILES else " "
        action = f":{_colons(option.value)}:{what}"
    says = f"[{_colons(option.says)}]{action}"
    if not option.short:
        return _quote(f"{many}{option.flag}{says}")
    return f"'({option.short} {option.flag})'{{{option.short},{option.flag}}}{_quote(says)}"


def _zsh_words(command: Command) -> list[str]:
    if command.rest:
        return ["'(-)*:::command:_normal'"]
    actions = {
        "worker": ["'*:worker:_rdagentctl_workers'"],
        "signal": [f"'1:signal:({' '.join(SIGNALS)})'", "'*:worker:_rdagentctl_workers'"],
        "file": ["'*:file:_files'"],
        "shell": [f"'1:shell:({' '.join(table.SHELLS)})'"],
    }
    return actions.get(command.kind, [])


_ZSH = """\
#compdef rdagentctl
# zsh completion for rdagentctl; made by: rdagentctl completion zsh
_rdagentctl_workers() {{
    local -a workers
    workers=(${{(f)"$({names})"}})
    compadd -a workers
}}
_rdagentctl() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case "$words[1]" in
{cases}
    esac
}}
if [ "$funcstack[1]" = _rdagentctl ]; then _rdagentctl "$@"; else compdef _rdagentctl rdagentctl; fi
"""


def fish() -> str:
    """A script for fish: one line for each command, option and kind of word."""
    lines = ["# fish completion for rdagentctl; made by: rdagentctl completion fish", "complete -c rdagentctl -f"]
    for command in table.COMMANDS:
        lines.append(
            f"complete -c rdagentctl -n __fish_use_subcommand -a {command.name} -d {_fish_quote(command.says)}"
        )
        seen = f"complete -c rdagentctl -n '__fish_seen_subcommand_from {command.name}'"
        lines += [_fish_option(seen, option) for option in (*command.options, *table.COMMON)]
        lines += [f"{seen} {words}" for words in _FISH_WORDS.get("rest" if command.rest else command.kind, ())]
    return "\n".join(lines) + "\n"


_FISH_WORDS = {
    "worker": (f"-a '({_NAMES})'",),
    "signal": (f"-a '{' '.join(SIGNALS)}'", f"-a '({_NAMES})'"),
    "file": ("-F",),
    "shell": (f"-a '{' '.join(table.SHELLS)}'",),
    "rest": ("-a '(__fish_complete_subcommand)'",),
}


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_option(seen: str, option: Option) -> str:
    parts = [seen, "-l", option.flag[2:]]
    if option.short:
        parts += ["-s", option.short[1:]]
    if option.value:
        parts.append("-r")
    if option.choices:
        parts += ["-a", _fish_quote(" ".join(_choices(option)))]
    elif option.value in _FILES:
        parts.append("-F")
    return " ".join([*parts, "-d", _fish_quote(option.says)])
