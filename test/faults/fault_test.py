"""One fault each in a training run: what is written, what is said, and that the run goes on.

    fault_test.py PROGRAMS MODEL TOKEN_FILE
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import training

STEPS = 12


def expect(condition, what, said=""):
    if not condition:
        sys.exit(f"{what}: {said}")


def wait_for_steps(process, out, steps):
    log = Path(out) / "log.jsonl"
    while not (log.exists() and log.read_bytes().count(b"\n") >= steps):
        expect(process.poll() is None, f"{out}: the run ended before step {steps}", process.poll())
        time.sleep(0.001)


class Faults:
    def __init__(self, programs, model, data):
        self.cpt, self.model, self.data = Path(programs) / "cpt", model, data
        done = self.run("whole")
        expect(done.returncode == 0, "the undisturbed run", done.stdout)

    def command(self, out, *more, model=None, data=None, steps=STEPS):
        return [str(each) for each in (
            self.cpt, model or self.model, "--train", "everything", "--data", data or self.data, "--out", out, "--steps", steps,
            "--batch", 1, "--length", 16, "--warmup", 1, "--threads", 1, *more)]

    def run(self, out, *more, model=None, data=None, steps=STEPS, **options):
        done = subprocess.run(self.command(out, *more, model=model, data=data, steps=steps), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        done.stdout = done.stdout.decode(errors="replace") if done.stdout else ""
        return done

    def goes_on(self, out, *more, **options):
        done = self.run(out, "--resume", *more, **options)
        expect(done.returncode == 0, f"{out} does not go on", done.stdout)
        expect(training.files("whole/final") == training.files(Path(out) / "final"), f"{out}: another model")
        expect(training.records("whole") == training.records(out), f"{out}: another log")

    def test_the_base_goes_away(self):
        shutil.copytree(self.model, "base")
        process = subprocess.Popen(self.command("no-base", "--checkpoint-every", 1, model="base"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wait_for_steps(process, "no-base", 1)
        shutil.rmtree("base")
        said = process.communicate()[0]
        expect(process.returncode == 0, "a run whose base goes away", said)
        expect(training.files("whole/final") == training.files("no-base/final"), "the base went away: another model")

    def test_a_token_that_the_vocabulary_has_not(self):
        content = bytearray(Path(self.data).read_bytes())
        content[-1600:] = b"\xff" * 1600  # the last 50 windows of 16 tokens
        Path("beyond.bin").write_bytes(content)
        done = self.run("beyond", data="beyond.bin", steps=1000)
        expect(done.returncode == 1 and "expected ids below 256" in done.stdout, "a token beyond the vocabulary", done.stdout)
        steps = len(training.records("beyond"))
        expect("The steps before are kept in" in done.stdout and steps > 0, "the steps before it", done.stdout)
        expect((Path("beyond") / f"step-{steps:08}" / "trainer.json").exists(), f"no checkpoint of step {steps}", done.stdout)
        again = self.run("beyond", "--resume", data="beyond.bin", steps=1000)
        expect(f"resumed at step {steps} " in again.stdout and "expected ids below 256" in again.stdout, "again", again.stdout)

    def test_a_token_file_is_cut(self):
        Path("cut.bin").write_bytes(Path(self.data).read_bytes())
        process = subprocess.Popen(self.command("cut", data="cut.bin", steps=100000), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for_steps(process, "cut", 3)
        os.truncate("cut.bin", 200)
        said = process.communicate()[0]
        expect(process.returncode == 1 and "cut.bin" in said and "kept in" in said, "a token file that is cut", said)
        expect(training.checkpoints("cut"), "no checkpoint of the steps before", said)

    def test_a_path_that_is_no_utf8(self):
        os.mkdir(latin := os.fsdecode(b"caf\xe9"))
        shutil.copy(self.data, f"{latin}/w.bin")
        shutil.copytree(self.model, f"{latin}/m")
        done = self.run("latin", model=f"{latin}/m", data=f"{latin}/w.bin")
        expect(done.returncode == 0, "paths that are no UTF-8", done.stdout)
        shutil.rmtree("latin/final")
        self.goes_on("latin", model=f"{latin}/m", data=f"{latin}/w.bin")

    def test_files_may_not_grow(self):
        done = self.run("limited", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
        expect(done.returncode == 1 and "ulimit -f" in done.stdout, "a limit of files' sizes", done.stdout)
        self.goes_on("limited")

    def test_standard_descriptors_are_closed(self):
        for closed in ((0,), (1,), (2,), (1, 2), (0, 1, 2)):
            out = "closed-" + "".join(map(str, closed))
            process = subprocess.Popen(self.command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=lambda: [os.close(each) for each in closed])
            expect(process.wait() == 0, f"descriptors {closed} are closed", process.returncode)
            expect(training.files("whole/final") == training.files(Path(out) / "final"), f"descriptors {closed}: another model")

    def test_few_files_may_be_open(self):
        """Whatever the limit: it is said before the first step, or it is enough to the end."""
        enough = 0
        for limit in range(3, 40):
            out = f"few-{limit}"
            done = self.run(out, "--checkpoint-every", 1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
            if done.returncode == 127:  # not even the program could be loaded
                continue
            if done.returncode == 0:
                enough += 1
            else:
                expect(done.returncode == 1 and "Too many open files" in done.stdout, f"{limit} open files", done.stdout)
                expect(not (Path(out) / "log.jsonl").exists() or not training.records(out), f"{limit} open files: steps were done", done.stdout)
                self.goes_on(out)
            if enough > 3:
                return
        expect(False, "40 open files are not enough")

    def test_the_program_may_not_be_read(self):
        if os.geteuid() != 0:
            print("skipped: a program that may not be read (needs root)")
            return
        folder = Path("installed")
        folder.mkdir()
        shutil.copy2(self.cpt.resolve(), folder / "cpt")
        (folder / "cpt").chmod(0o711)
        Path("by-nobody").mkdir()
        os.chmod(".", 0o755)
        os.chown("by-nobody", 65534, 65534)
        command = self.command("by-nobody")
        done = subprocess.run([str(folder / "cpt"), *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, user=65534, text=True)
        expect(done.returncode == 0, "a program that may not be read", done.stdout)

    def test_resume_never_removes_a_result(self):
        shutil.copytree("whole", "kept", symlinks=True)
        before = training.files("kept/final")
        for step in Path("kept").glob("step-*"):
            (step / "trainer.json").unlink()
        done = self.run("kept", "--resume")
        expect(done.returncode == 1 and "half a checkpoint" in done.stdout, "half a checkpoint", done.stdout)
        for step in Path("kept").glob("step-*"):
            shutil.rmtree(step)
        for last in ("no checkpoint to go on from", "the logs of a run"):
            log = Path("kept/log.jsonl").read_bytes()
            done = self.run("kept", "--resume", "--learning-rate", "1e-2")
            expect(done.returncode == 1 and last in done.stdout, "resume without a checkpoint", done.stdout)
            expect(Path("kept/log.jsonl").read_bytes() == log, "the log was changed")
            if last.startswith("no"):
                expect(training.files("kept/final") == before, "the result was changed")
                shutil.rmtree("kept/final")

    def test_force_removes_only_for_something(self):
        shutil.copytree("whole", "forced", symlinks=True)
        content = bytearray(Path(self.data).read_bytes())
        content[32] = 1  # loss weights, and all are 0
        tokens = int.from_bytes(content[16:24], "little")
        Path("zero.bin").write_bytes(content + bytes(tokens))
        before = {path: path.read_bytes() for path in sorted(Path("forced").rglob("*")) if path.is_file()}
        done = self.run("forced", "--force", "--eval", "x=zero.bin")
        expect(done.returncode == 1 and "no target counts" in done.stdout, "an evaluation without targets", done.stdout)
        after = {path: path.read_bytes() for path in sorted(Path("forced").rglob("*")) if path.is_file()}
        expect(before == after, "the old run is not as it was", done.stdout)
        Path("forced/final/notes.gguf").write_bytes(b"notes")
        done = self.run("forced", "--force")
        expect(done.returncode == 1 and "notes.gguf" in done.stdout, "somebody's notes in the result", done.stdout)
        Path("forced/final/notes.gguf").unlink()
        process = subprocess.Popen(self.command("forced", "--force", steps=100000), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any(Path("forced").glob("replaced-*")):
            time.sleep(0.001)
        process.kill()
        process.wait()
        done = self.run("forced", "--force")
        expect(done.returncode == 0, "replacing", done.stdout)
        expect(not list(Path("forced").glob("replaced-*")) and not (Path("forced") / "rehearsal").exists(), "what was replaced is still there")
        expect(training.files("whole/final") == training.files("forced/final"), "replaced: another model")


def main():
    faults = Faults(*(str(Path(each).resolve()) for each in sys.argv[1:]))
    names = [name for name in dir(faults) if name.startswith("test_")]
    for name in names:
        getattr(faults, name)()
    print(f"{len(names)} faults: " + ", ".join(name[5:].replace("_", " ") for name in names))


if __name__ == "__main__":
    main()
