"""rdagentctl completion: prints completions for a shell."""

from __future__ import annotations

from rdagentctl import complete, render
from rdagentctl.failure import UsageError
from rdagentctl.table import SHELLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rdagentctl.client import Client
    from rdagentctl.parse import Arguments


def run(client: Client, arguments: Arguments) -> int:
    """The exit code."""
    shell = arguments.words[0]
    if shell not in SHELLS:
        raise UsageError(f"cannot complete for {shell}: one of {', '.join(SHELLS)} is expected")
    script = {"bash": complete.bash, "zsh": complete.zsh, "fish": complete.fish}[shell]()
    if arguments.flag("json"):
        render.show_json({"shell": shell, "script": script})
    else:
        print(script, end="")
    return 0
