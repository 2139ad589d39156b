"""Imported by the server process that forks the processes of runs, and only there.

A terminal that is closed sends SIGHUP to all processes that it started. The app then ends its runs in good order, which
it cannot do if this server ends first.
"""

import signal

if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
