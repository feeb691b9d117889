"""A full disk: the run stops with a sentence, the checkpoint before stays whole, and with room the run goes on.

    full_disk_test.py PROGRAMS MODEL TOKEN_FILE

Needs a small tmpfs, so the right to mount one (as root, or in a user namespace of its own: unshare).
"""

import os
import subprocess
import sys
from pathlib import Path

import training

STEPS = 6


def main():
    programs, model, data = (str(Path(each).resolve()) for each in sys.argv[1:])
    if os.environ.get("MIDUS_OWN_MOUNTS") != "1":  # again, where a mount is seen by nobody else
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL).returncode:
            print("skipped: no tmpfs can be mounted here")
            return
        sys.exit(subprocess.run([*unshare, sys.executable, "-B", __file__, programs, model, data],
                                env=os.environ | {"MIDUS_OWN_MOUNTS": "1"}).returncode)

    done = training.train(programs, model, data, "roomy", STEPS)
    if done.returncode:
        sys.exit(done.stdout)
    size = sum(map(len, training.files(training.checkpoints("roomy")[-1]).values()))

    Path("small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(2.5 * size)}", "tmpfs", "small"]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        print("skipped: no tmpfs can be mounted here")
        return
    out = Path("small/run")
    done = training.train(programs, model, data, out, STEPS)
    if done.returncode == 0 or "No space left on device" not in done.stdout:
        sys.exit(f"expected an error that names the full disk, found status {done.returncode}: {done.stdout[-400:]}")
    left = training.checkpoints(out)
    if not left or any(out.glob("*.tmp")):
        sys.exit(f"expected complete checkpoints alone, found {sorted(out.iterdir())}")
    subprocess.run(["mount", "-o", f"remount,size={8 * size}", "small"], check=True)
    done = training.train(programs, model, data, out, STEPS)
    if done.returncode or f"resumed at step {int(left[-1].name[5:])} " not in done.stdout:
        sys.exit(f"the run does not go on: {done.stdout[-400:]}")
    if training.records("roomy") != training.records(out) or training.files("roomy/final") != training.files(out / "final"):
        sys.exit("the continued run is another one")
    print(f"full after {len(left)} checkpoints of {size:,} bytes: {done.stdout.splitlines()[0]}; it ended with the same bits")


if __name__ == "__main__":
    main()
