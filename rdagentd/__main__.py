"""`python -m rdagentd`."""

import sys

from rdagentd.cli import main

sys.exit(main())
