"""What all tests share."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# `make test` runs the same examples everywhere, so that a red run is red for everyone; `make soak` draws new ones each
# time. The machine is shared: how long an example takes says nothing about the code.
settings.register_profile("test", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, print_blob=True)
settings.load_profile("soak" if os.environ.get("URSA_SOAK") else "test")

# A shell without job control starts what it runs in the background deaf to Ctrl-C, and so would be every process that a
# test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
