"""Tells when Python's collector of cycles ran, and for how long. Python 3 only: 2.7 has no gc.callbacks."""

import atexit
import gc
import os
import time

_log = os.environ.get("HERD_GC_LOG")
if _log and hasattr(gc, "callbacks"):
    _file = open(_log, "a", buffering=1)
    _began = [0.0]

    def _told(phase, info):
        if phase == "start":
            _began[0] = time.perf_counter()
        else:
            _file.write("gen%d %.6f\n" % (info["generation"], time.perf_counter() - _began[0]))

    gc.callbacks.append(_told)
    atexit.register(gc.callbacks.remove, _told)
    if os.environ.get("HERD_GC_THRESHOLD"):
        gc.set_threshold(*map(int, os.environ["HERD_GC_THRESHOLD"].split(",")))
