"""`python -m echoq_desktop` is `echoq`."""

import sys

from echoq_desktop.cli import main

if __name__ == "__main__":
    sys.exit(main())
