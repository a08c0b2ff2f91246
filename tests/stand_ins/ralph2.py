"""Ralph 2.x as its source says it ends: ralph2.py run … with the exit code that stands in the file `code`; `--version`.

0 completed, 1 failed, 2 a limit of its own, 3 start me again, 130 interrupted. After 3 the next run completes.
"""

import sys
from pathlib import Path

if sys.argv[1:] == ["--version"]:
    print("ralph-cli 2.10.1")
    sys.exit(0)
code = int(Path("code").read_text())
Path("code").write_text("0" if code == 3 else str(code))
print(f"loop over, {' '.join(sys.argv[1:])}", flush=True)
sys.exit(code)
