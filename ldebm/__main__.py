"""`python -m ldebm`."""

import sys

from ldebm.cli import main

sys.exit(main())
