"""What every test relies on: an interrupt that interrupts."""

from __future__ import annotations

import signal

# A background job of a shell starts with SIGINT ignored, and its children could then never be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)
