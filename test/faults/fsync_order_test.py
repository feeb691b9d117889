"""The order of system calls: what a name comes to stand for is on disk before the name is given.

    fsync_order_test.py PROGRAMS MODEL TOKEN_FILE

Traces a short run with strace. Before a checkpoint is renamed, each of its files and the directory itself must have been
synchronised after the last write; after it, the run's directory; and only then may an older checkpoint go.
"""

import re
import shutil
import sys
from pathlib import Path

import training

CALL = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
OF_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")


def calls(trace):
    """(call, its paths) of those that succeeded, in order."""
    for line in trace.read_text(encoding="utf-8").splitlines():
        found = CALL.search(line)
        if found and int(found[3]) >= 0:
            described = OF_DESCRIPTOR.findall(found[2])
            yield found[1], QUOTED.findall(found[2]) or described, described


def main():
    programs, model, data = sys.argv[1:]
    if not shutil.which("strace"):
        print("skipped: strace is not installed")
        return
    trace = Path("trace")
    strace = ("strace", "-f", "-y", "-o", str(trace), "-e",
              "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat")
    done = training.train(programs, model, data, "traced", 4, prefix=strace)
    if done.returncode:
        sys.exit(done.stdout)
    here = str(Path.cwd().resolve())
    dirty, unsynced_parent, renames = set(), None, 0
    for call, paths, described in calls(trace):
        if call in ("write", "pwrite64"):
            if described and "/step-" in described[0]:
                dirty.add(described[0])
        elif call in ("fsync", "fdatasync"):
            dirty.discard(described[0])
            synced = described[0]
            if synced.endswith(".tmp"):
                dirty.discard(synced + "/")
            if synced == unsynced_parent:
                unsynced_parent = None
        elif call.startswith("rename") and re.search(r"/step-\d+\.[0-9a-f]+\.tmp$", "/" + paths[0]):
            left = [path for path in dirty if Path(path).parts[-2:-1] == Path(paths[0]).parts[-1:]]
            if left:
                sys.exit(f"{paths[0]} is renamed, and {left} are not on disk")
            renames += 1
            unsynced_parent = f"{here}/traced"
        elif call.startswith("unlink") and unsynced_parent and re.search(r"step-\d+(/|$)", described[0] if described else paths[0]):
            sys.exit(f"{paths} is removed before the new checkpoint's name is on disk")
    if renames != 4:
        sys.exit(f"expected 4 checkpoints to be renamed, found {renames}")
    text = trace.read_text(encoding="utf-8")
    synced = {path for call, _, described in calls(trace) if call == "fsync" for path in described}
    for step in range(1, 5):
        of_step = [path for path in synced if re.search(rf"/step-0*{step}\.[0-9a-f]+\.tmp", path)]
        names = {Path(path).name for path in of_step}
        wanted = {"model.safetensors", "optimizer.safetensors", "trainer.json", "config.json"}
        if not wanted <= names or not any(path.endswith(".tmp") for path in of_step):
            sys.exit(f"step {step}: expected fsync of {sorted(wanted)} and of the directory, found {sorted(names)}")
    print(f"{renames} checkpoints: files, directory and parent are synchronised in this order ({len(text.splitlines())} calls)")


if __name__ == "__main__":
    main()
