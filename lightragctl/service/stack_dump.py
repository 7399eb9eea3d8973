"""The built-in stack dump of our services: on a signal, all threads' stacks go to standard error, which is the log.

A dump names files, lines and functions, and no values. It is written by C code without Python's lock, so that it works
in a process that hangs.
"""

import faulthandler
import signal

STACK_DUMP_SIGNAL = signal.SIGUSR2


def dump_stacks_on_signal() -> None:
    """Handle the signal in this process; by default it would end it."""
    faulthandler.register(STACK_DUMP_SIGNAL, all_threads=True)
