#!/usr/bin/env python3
"""Plants faults in the coordinator's core, one at a time, and shows which test finds each.

    mutations.py              all faults; on two cores about half a minute each
    mutations.py NAME...      those whose name contains one of the words

The tests are this folder's, unchanged. Exit code 1 where a fault is not found, or a place to plant one is gone. Nothing
in the working tree is touched: a copy of the workspace is built, in MUSTER_MUTATIONS or a folder that is removed.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
TESTS = ["random", "scripts", "generations"]
# Seconds; a fault may keep a test from ending, and is found by that.
PATIENCE = 240
FIRST_BUILD = 1800

# (name, file, old text, new text): the first occurrence of the old text is replaced.
FAULTS = [
    ("no fence on reports", "core/sessions.rs",
     "fence::admit_held(worker.fence().as_ref(), claimed)?;", "let _ = (fence::admit_held, claimed);"),
    ("no fence on sessions of an earlier life", "core/sessions.rs",
     "match fence::admit_incarnation(known.incarnation, hello.incarnation) {",
     "match fence::admit_incarnation(hello.incarnation, hello.incarnation).and(if known.incarnation.0 == 0 { Err(()) } else { Ok(()) }.map_err(|()| Stale::Incarnation { current: known.incarnation, claimed: hello.incarnation })) {"),
    ("generation used twice", "core/generations.rs",
     "let generation = job.state.generation.next();",
     "let generation = if before.is_some() { job.state.generation } else { job.state.generation.next() };"),
    ("announced before it is durable", "core/outbox.rs",
     "self.actions.insert(0, Action::Persist(self.writes));", "self.actions.push(Action::Persist(self.writes));"),
    ("a change is not made durable", "core/outbox.rs", "self.changed.insert(job);", "let _ = job;"),
    ("sessions that were replaced are kept", "membership.rs",
     "if let Some(before) = before {\n            self.sessions.remove(&before);\n        }", ""),
    ("sessions of lost workers are kept", "membership.rs",
     "if let Some(session) = worker.session {\n            self.sessions.remove(&session);\n        }", ""),
    ("heartbeats do not count", "core/sessions.rs", "worker.deadline = deadline;", "let _ = (deadline, worker);"),
    ("silence does not count", "membership.rs", "worker.deadline <= now", "worker.deadline <= now && false"),
    ("a rank for one who has not stopped", "core/generations.rs",
     "worker.hold == Hold::Idle && worker.session.is_some()", "worker.session.is_some()"),
    ("generations without progress go on for ever", "core/generations.rs", "job.state.fruitless += 1;", ""),
    ("a new rank is not held", "core/generations.rs", "        self.hold_ranks(id, generation, workers);\n", ""),
]


def main():
    words = sys.argv[1:]
    faults = [fault for fault in FAULTS if not words or any(word in fault[0] for word in words)]
    given = os.environ.get("MUSTER_MUTATIONS")
    folder = pathlib.Path(given or tempfile.mkdtemp(prefix="muster-mutations-"))
    copy = folder / "workspace"
    try:
        shutil.rmtree(copy, ignore_errors=True)
        left_out = shutil.ignore_patterns("target", ".git", "runs", "*.proptest-regressions")
        shutil.copytree(ROOT, copy, ignore=left_out)
        sound, output = test(copy, folder, FIRST_BUILD)
        if not sound:
            sys.exit(f"the tests fail without any fault:\n{output[-3000:]}")
        missed = [name for name, *fault in faults if not found(copy, folder, name, *fault)]
    finally:
        if not given:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(faults) - len(missed)} of {len(faults)} found")
    sys.exit(1 if missed else 0)


def found(copy, folder, name, file, old, new):
    path = copy / "coordinator/core/src" / file
    text = path.read_text()
    if old not in text:
        print(f"{name}: {file} has no place for it any more")
        return False
    path.write_text(text.replace(old, new, 1))
    try:
        sound, output = test(copy, folder)
    finally:
        path.write_text(text)
    if "error: could not compile" in output:
        print(f"{name}: does not compile\n{output[-2000:]}")
        return False
    tests = sorted(set(re.findall(r"^test (\S+) \.\.\. FAILED", output, re.MULTILINE)))
    print(f"{name}: " + (f"found by {', '.join(tests)}" if tests else "NOT FOUND" if sound else "found, by a test that does not end"),
          flush=True)
    return not sound


def test(copy, folder, patience=PATIENCE):
    command = ["cargo", "test", "--offline", "-p", "muster-core", "--no-fail-fast"]
    command += [word for test in TESTS for word in ("--test", test)]
    environment = dict(os.environ, CARGO_TARGET_DIR=str(folder / "target"), RUST_BACKTRACE="0",
                       PROPTEST_DISABLE_FAILURE_PERSISTENCE="1", RUSTFLAGS="-A warnings")
    running = subprocess.Popen(command, cwd=copy, env=environment, text=True, start_new_session=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = running.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        output = running.communicate()[0] + "\nthe tests did not end"
    return running.returncode == 0, output


if __name__ == "__main__":
    main()
