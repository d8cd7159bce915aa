# SPDX-License-Identifier: BSD-2-Clause
"""A steady server and its clients (test/apps/steady.c) on one host, what they have counted, and
what a process holds of onramp's: for tests in which somebody dies or lies."""
import collections, mmap, os, re, struct, time
from rig import Failed

Counts = collections.namedtuple("Counts", "ids client server opened_client opened_server ended_client ended_server "
                                          "broken_client broken_server")
HEAD = "%dQ" % len(Counts._fields)


class Pair:
    def __init__(self, r, accel, addr, port, workers=5):
        self.r, self.accel, self.addr, self.port, self.workers = r, accel, addr, str(port), str(workers)
        self.ledger = os.path.join(r.dir, "ledger%d" % port)
        self.procs = {}
        with open(self.ledger, "wb") as f:
            f.truncate(struct.calcsize(HEAD) + 4096 * 8)
            os.chmod(self.ledger, 0o666)
        with open(self.ledger, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)

    def counts(self):
        return Counts(*struct.unpack(HEAD, self.map[:struct.calcsize(HEAD)]))

    def start(self, side):
        more = [self.workers] if side == "client" else []
        self.procs[side] = self.r.start(self.r.a, [self.r.test("apps/steady"), side, self.addr, self.port, self.ledger] + more,
                                        accel=self.accel, ready="ready")

    def check(self, sides=("server", "client")):
        """Whoever should live does; else what it complained of."""
        for side in sides:
            p = self.procs[side]
            if p.poll() is not None:
                said = p.stdout.read().decode(errors="replace").strip()
                raise Failed("the %s ended with %s: %s" % (side, p.returncode, said or "it said nothing"))

    def kill(self, side, sig):
        p = self.procs[side]
        os.kill(p.pid, sig)
        try:
            p.wait(10)
        except Exception:
            raise Failed("the %s (%d) does not die of signal %d: %s" % (side, p.pid, sig, where_is(p.pid)))
        said = p.stdout.read().decode(errors="replace").strip()
        self.r.stop(p)
        if said:
            raise Failed("before it was killed: " + said)

    def wait_progress(self, since, bytes_=1, seconds=20):
        """Until both sides have checked bytes since then, and both live."""
        end = time.monotonic() + seconds
        while True:
            self.check()
            c = self.counts()
            if c.client >= since.client + bytes_ and c.server >= since.server + bytes_:
                return
            if time.monotonic() > end:
                raise Failed("no byte moved for %d s: %s, then %s; client %s; server %s" % (seconds, since, c,
                             where_is(self.procs["client"].pid), where_is(self.procs["server"].pid)))
            time.sleep(0.001)


def where_is(pid):
    """Where a process's threads are in the kernel, for a report."""
    found = collections.Counter()
    try:
        for t in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/wchan" % (pid, t)) as f, open("/proc/%d/task/%s/stat" % (pid, t)) as g:
                found[g.read().rsplit(")", 1)[1].split()[0] + " " + (f.read() or "-")] += 1
    except OSError as e:
        return str(e)
    return ", ".join("%d in %s" % (n, w) for w, n in found.items())


def holds(pid):
    """What a process has of onramp's: mappings of memfds by name, descriptors by what they are, KiB
    resident in those mappings (its part of what is shared)."""
    n, kib, name = collections.Counter(), 0, None
    with open("/proc/%d/smaps" % pid) as f:
        for line in f:
            m = re.match(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$", line)
            if m:
                found = re.match(r"/memfd:(onramp-[\w-]+)", m.group(1))
                name = found and found.group(1)
                if name:
                    n[name] += 1
            elif name and line.startswith("Pss:"):
                kib += int(line.split()[1])
    fds = collections.Counter()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            fds[re.sub(r":\[?\d+\]?| \(deleted\)", "", os.readlink("/proc/%d/fd/%s" % (pid, fd)))] += 1
        except OSError:
            pass
    return dict(n), dict(fds), kib
