# SPDX-License-Identifier: Apache-2.0
# Faults in the order in which a test arranged them, who does not wait as a 429 asked, and the moment at which a test wants
# its client killed.
import os
import signal
import time


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


def break_off(request):
    """The connection of `request` breaks without a word, as a broken network's does. A caller who has gone already, while
    the call was played, took it along."""
    if request.transport is not None:
        request.transport.abort()


class Patience:
    """Whoever was told by a 429 to come later and comes earlier does what every platform forbids: a complaint. A fault that
    says `unwatched` is left out: of a test without the part that waits, or with one that kills it."""
    UNDER_WAY = 0.1  # what was sent before the answer arrived is no fault

    def __init__(self, complaints):
        self.complaints, self.waits = complaints, {}

    def told(self, route, wait, fault=None):
        if not (fault or {}).get("unwatched"):
            self.waits[route] = (time.monotonic(), wait)

    def came(self, *routes):
        for route in routes:
            at, wait = self.waits.get(route, (0.0, 0.0))
            passed = time.monotonic() - at
            if self.UNDER_WAY < passed < wait:
                self.complaints.append("%s: called %.2f s after a 429 that asked for %.2f s" % (route, passed, wait))


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
