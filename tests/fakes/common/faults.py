# SPDX-License-Identifier: Apache-2.0
# Faults in the order in which a test arranged them, and the moment at which it wants its client killed.
import os
import signal


def next_fault(faults, hits):
    """The fault that this call meets, {} where it meets none: the first that `hits` says yes to. A fault lets `skip` calls
    pass, befalls `times` of them (1 where it does not say), and is then taken from the list."""
    for fault in faults:
        if not hits(fault):
            continue
        if fault.get("skip", 0) > 0:
            fault["skip"] -= 1
            continue
        fault["times"] = fault.get("times", 1) - 1
        if fault["times"] <= 0:
            faults.remove(fault)
        return fault
    return {}


class Kill:
    """kill -9 of whom a test named. `order`: {"pid", "at": n, "after": bool}, at the n-th request from then, before or
    after it is carried out."""

    def __init__(self):
        self.order = None

    def now(self, after):
        """To be called before and after each request."""
        if self.order is None:
            return
        if not after:
            self.order["at"] -= 1
        if self.order["at"] <= 0 and self.order["after"] == after:
            os.kill(self.order["pid"], signal.SIGKILL)
            self.order = None
