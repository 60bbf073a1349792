"""Start the command line: python3 -m control."""

import sys

from control.cli import main

sys.exit(main())
