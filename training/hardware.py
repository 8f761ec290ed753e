"""Describe the hardware that a run or measurement used."""

import os
import platform

import keras


def hardware():
    """One line naming the processor, the cores used and the accelerator, if any."""
    accelerators = [d for d in keras.distribution.list_devices() if not d.lower().startswith("cpu")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    noun = "core" if cores == 1 else "cores"
    parts = [f"{cores} {noun} of {_processor()}", *accelerators]
    return ", ".join(parts)


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
