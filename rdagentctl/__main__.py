"""python3 -m rdagentctl, and the whole directory as a program: python3 -I -S .../rdagentctl."""

from __future__ import annotations

import sys

if not __package__:  # started by path: the directory itself is on sys.path, not the one that holds it
    sys.path[0] = __file__.rpartition("/")[0].rpartition("/")[0] or "."

from rdagentctl.cli import main

sys.exit(main())
