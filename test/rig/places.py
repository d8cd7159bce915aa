# SPDX-License-Identifier: BSD-2-Clause
"""Where a program is tried, and who served it.

    Wire    server and client are root's, in two namespaces joined by veth, the agent attached in both
    Same    both are an ordinary user's, on one host, with no agent but the user's own

A Watch looks while a case runs, through the descriptor tables (`onramp why`), at who serves the
sockets of every process in the place; what it saw becomes a row of a table.
"""
import json, os, subprocess, threading
import cases, rig
from rig import Failed, check

BOTH = ("NONE", "APERTURE")         # reasons that mean: accelerated
NOTHING = ("UNDECIDED", "NOT_INET")  # ... and: nothing that could have been


class Place(cases.World):
    """One of the two above; `accel` None runs everything on the kernel, to test the test."""

    def __init__(self, r, name, a, b, addr4, addr6, accel, user):
        super().__init__(r, first_port=7300)
        self.name, self.a, self.b, self.addr4, self.addr6, self.accel, self.user = name, a, b, addr4, addr6, accel, user
        self.back4 = getattr(r, "B4", addr4)    # by which the server's side reaches the client's
        self.watch = None
        self.root = user is None and os.geteuid() == 0

    def server(self, argv, accel="place", ns=None, **kw):
        return self.r.start(ns or self.a, argv, accel=self.accel if accel == "place" else accel, cwd=self.dir, **kw)

    def client(self, argv, accel="place", ns=None, **kw):
        kw.setdefault("timeout", 120)
        return self.r.run(ns or self.b, argv, accel=self.accel if accel == "place" else accel, cwd=self.dir, **kw)

    def background(self, argv, **kw):
        """A client that goes on."""
        return self.server(argv, ns=self.b, **kw)

    def write(self, name, text):
        p = self.path(name)
        with open(p, "w") as f:
            f.write(text)
        return p

    def folder(self, name, mode=0o777):
        p = self.path(name)
        os.makedirs(p, exist_ok=True)
        os.chmod(p, mode)
        if self.user is not None:
            os.chown(p, self.user, self.user)
        return p

    def stop(self, *procs):
        """What they had is looked at once more, before it is gone."""
        if self.watch and any(p.poll() is None for p in procs):
            self.watch.look()
        for p in procs:
            self.r.stop(p)


class Watch(threading.Thread):
    """Sockets of the place's processes by reason, the most that each process ever showed."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place, self.over, self.counts, self.whole = place, threading.Event(), {}, {}

    def look(self):
        for ns in {self.place.a, self.place.b}:
            for pid, name in pids_of(self.place, ns).items():
                if name.startswith("onramp") or not preloaded(pid):
                    continue
                try:
                    why = self.place.r.why(ns, pid)
                except (Failed, OSError, ValueError, subprocess.SubprocessError):
                    continue    # it has ended
                if not why.get("preloaded"):
                    continue
                for code, n in why["counts"].items():
                    key = (pid, name, code)
                    self.counts[key] = max(n, self.counts.get(key, 0))
                if why["code"] != "NONE":
                    self.whole[name] = why["code"]

    def run(self):
        while not self.over.wait(0.4):
            self.look()

    def __enter__(self):
        if self.place.accel:
            self.place.watch = self
            self.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.place.watch = None
        if self.place.accel:
            self.join()

    def accelerated(self):
        return {name for (_, name, code), n in self.counts.items() if n and code in BOTH}

    def on_kernel(self):
        """{reason: names of programs} of sockets that stayed with the kernel."""
        found = {}
        for (_, name, code), n in self.counts.items():
            if n and code not in BOTH + NOTHING:
                found.setdefault(code, set()).add(name)
        for name, code in self.whole.items():
            found.setdefault(code, set()).add(name)
        return found


def preloaded(pid):
    try:
        with open("/proc/%d/maps" % pid) as f:
            return "libonramp.so" in f.read()
    except OSError:
        return False


def pids_of(place, ns):
    if not ns:      # this host, as ourselves: what the rig started, and its descendants
        out = rig.run(["ps", "-e", "-o", "pid=,sid="])
        mine = {p.pid for p in place.r.procs}
        pids = [int(f[0]) for f in map(str.split, out.splitlines()) if int(f[1]) in mine]
    else:
        pids = map(int, rig.run(["ip", "netns", "pids", ns], check=False).split())
    return {pid: name for pid, name in ((p, rig.name_of(p)) for p in pids) if name}


def wire(accel):
    r = rig.Rig(tag="w")
    if accel:
        r.attach()
    return Place(r, "wire", r.a, r.b, r.A4, r.A6, accel, None)


def same(accel):
    r = rig.Local(tag="s")
    return Place(r, "same host", r.a, r.a, r.A4, r.A6, accel, r.user)
