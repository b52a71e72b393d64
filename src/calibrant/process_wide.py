"""What belongs to the whole process and is changed for a time: by one thread after the other.

Two threads that change the level of a log and put back what they found could leave it changed for good.
"""

from __future__ import annotations

import threading

ALONE = threading.RLock()
"""Held meanwhile."""
