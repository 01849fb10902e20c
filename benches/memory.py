"""Memory of a process and its descendants: the proportional set size, in MiB."""

import os
import threading


def tree(root):
    """The numbers of a process and all that descend from it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
            except OSError:
                pass
    found, left = [], [root]
    while left:
        process = left.pop()
        found.append(process)
        left.extend(children.get(process, []))
    return found


def pss(process):
    """Kibibytes; none of a process that has just ended."""
    try:
        with open(f"/proc/{process}/smaps_rollup", encoding="utf-8") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except OSError:
        return 0


def of(*roots):
    return sum(pss(process) for root in roots for process in tree(root)) / 1024


class Peak:
    """The most that was seen of some process trees while the block ran, looked at every 0.1 s."""

    def __init__(self, roots):
        self.roots = roots
        self.mib = 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while True:
            self.mib = max(self.mib, of(*self.roots))
            if self.over.wait(0.1):
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
