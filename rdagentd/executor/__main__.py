"""`python -m rdagentd.executor`."""

import sys

from rdagentd.executor.main import main

sys.exit(main(sys.argv[1:]))
