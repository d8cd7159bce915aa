# SPDX-License-Identifier: BSD-2-Clause
"""A program of test cases: functions of one world, each ok or FAILED with its reason; the last
line counts, for dev/test. What the cases share (files with known content) is the world's."""
import hashlib, os, subprocess, sys, time
from rig import Failed

TROUBLE = (Failed, subprocess.TimeoutExpired, OSError, ValueError, LookupError)


class Cases:
    def __init__(self, title, doc):
        self.title, self.doc, self.all = title, doc, []

    def __call__(self, fn):
        self.all.append(fn)
        return fn

    def chosen(self, argv, options=()):
        """The cases that the command line names, all if none, and its options' values {name: int}."""
        names, values, argv = [], {}, list(argv)
        while argv:
            a = argv.pop(0)
            if a in ("-h", "--help"):
                print(self.doc)
                sys.exit(0)
            if a == "--list":
                print("\n".join(c.__name__ for c in self.all))
                sys.exit(0)
            if a in options:
                values[a] = int(argv.pop(0))
            else:
                names.append(a)
        unknown = set(names) - {c.__name__ for c in self.all}
        if unknown:
            print("%s: no such case: %s (see --list)" % (self.title, ", ".join(sorted(unknown))), file=sys.stderr)
            sys.exit(2)
        return [c for c in self.all if not names or c.__name__ in names], values

    def run(self, todo, world, tidy=None):
        """Runs cases; after each failure stops what it left running, then calls tidy()."""
        passed = failed = 0
        for c in todo:
            t0 = time.time()
            try:
                note = c(world)
                passed += 1
                print("ok      %-40s %5.1f s%s" % (c.__name__, time.time() - t0, "  " + note if note else ""), flush=True)
            except TROUBLE as e:
                failed += 1
                print("FAILED  %-40s %5.1f s: %s" % (c.__name__, time.time() - t0, str(e)[:1500]), flush=True)
                world.r.stop_all()
                if tidy:
                    tidy()
        print("%s: %d passed, %d failed" % (self.title, passed, failed))
        return 1 if failed else 0


class World:
    """A rig, ports that no case used yet, and files."""

    def __init__(self, r, first_port=7000):
        self.r, self.port = r, first_port
        self.dir = getattr(r, "dir", None) or r.tempdir()

    def next_port(self):
        self.port += 1
        return self.port

    def path(self, name):
        return os.path.join(self.dir, name)

    def blob(self, mib):
        """A file of that size whose content is not repetitive, and its digest."""
        p = self.path("blob%d" % mib)
        if not os.path.exists(p):
            block = os.urandom(1 << 20)
            with open(p, "wb") as f:
                for i in range(mib):
                    f.write(i.to_bytes(8, "big") + block[8:])
        return p, digest(p)


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()
