"""`python -m suites`: the graymesh command."""

import sys

from suites.entry import main

sys.exit(main())
