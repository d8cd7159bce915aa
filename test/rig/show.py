# SPDX-License-Identifier: BSD-2-Clause
"""What the demos share: redis, nginx and memcached, unmodified, on the kernel and under `onramp
run`, between the two hosts of a rig, as rows of a table; and what onramp says while they run."""
import os, time
import programs, rig
from rig import Failed

SECONDS = 2


def say(text=""):
    print(text, flush=True)


class Show:
    def __init__(self, r, modes):
        """modes: (title, server accelerated?, client accelerated?); the first is the standard."""
        self.r, self.modes, self.port, self.rows, self.shown, self.title = r, modes, 6400, [], set(), None
        self.dir = getattr(r, "dir", None) or r.tempdir("onramp-demo-")
        self.plain = []     # what should have been accelerated, and was not

    def start(self, server, profile):
        """server: a function of a port, which returns a command line."""
        self.port += 1
        return self.r.start(self.r.a, server(self.port), accel=profile, cpu=0, port=self.port, cwd=self.dir)

    def lines_of(self, args, keep, client):
        """Output of onramp while the client runs: as soon as its connections are there."""
        while client.poll() is None:
            time.sleep(0.05)
            out = self.r.run(self.r.a, [self.r.onramp()] + args, check=False).splitlines()
            if any(keep(l) for l in out):
                return out
        return []

    def show_connections(self, client, server, why):
        out = self.lines_of(["ss", "-t", "-n"], lambda l: "ESTAB" in l, client)
        lines = [l for l in out if "ESTAB" in l or l.startswith("Netid")]
        if len(lines) >= 2:
            say("  onramp ss, on the server's host, while it runs (first 2 of %d connections):" % (len(lines) - 1))
            for l in lines[:3]:
                say("    " + l.rstrip())
            self.shown.add(self.title)
        if why:
            served = [" aperture ", " kernel ", " tcp "]
            out = self.lines_of(["why", str(server.pid)], lambda l: any(s in l for s in served[:2]), client)
            rows = [i for s in served for i, l in enumerate(out) if s in l]
            say("  onramp why %d:" % server.pid)
            for l in out[:rows[0] + 1] if rows else out[:4]:
                say("    " + l.rstrip())

    def client(self, argv, profile, server=None, why=False):
        log = os.path.join(self.dir, "client")
        p = self.r.start(self.r.b, argv, accel=profile, cpu=1, log=log)
        if profile and self.title not in self.shown:
            self.show_connections(p, server, why)
        if p.wait(60) != 0:
            raise Failed("%s: %s" % (argv[0], open(log).read()[-500:]))
        self.r.procs.remove(p)
        return open(log).read()

    def run(self, title, server, client, read, profile="default", why=False):
        base, self.title = None, title
        for mode, s, c in self.modes:
            say("  %s: %s ..." % (title, mode))
            p = self.start(server, profile if s else None)
            try:
                rps, p50, p99 = read(self.client(client(self.port), profile if c else None, p, why))
                if s and (bad := rig.on_kernel(self.r.why(self.r.a, p.pid))) and c:
                    self.plain.append("%s: %s" % (title, bad[0]))
            finally:
                self.r.stop(p)
            base = base or rps
            self.rows.append([title, mode, "%.0f" % rps, "%.2fx" % (rps / base), "%.0f" % p50, "%.0f" % p99])

    def redis(self, conns, n, **kw):
        at = self.r.A4
        self.run("redis GET, %d conn." % conns, lambda port: programs.redis_server(port, at),
                 lambda port: programs.redis_benchmark(at, port, conns, n), programs.read_redis, **kw)

    def memcached(self):
        at = self.r.A4
        self.run("memcached get, 50 conn.", lambda port: programs.memcached(port, at),
                 lambda port: [self.r.test("bench/mcload"), at, str(port), "50", str(SECONDS)], programs.read_mcload)

    def nginx(self):
        with open(self.dir + "/index.html", "w") as f:
            f.write("hello, world\n" * 8)
        at = self.r.A4
        self.run("nginx keep-alive, 64 conn.", lambda port: programs.nginx(self.dir, port, [at], self.dir),
                 lambda port: programs.wrk(at, port, 64, SECONDS), programs.read_wrk)

    def table(self):
        rig.table(self.rows, ["program", "server and client", "requests/s", "gain", "p50 us", "p99 us"])
