# SPDX-License-Identifier: BSD-2-Clause
"""Ten active connections alone and among N idle ones (test/bench/idle.c), between the hosts of a rig."""
import json, os, resource, select, signal, subprocess
import rig

PER_CLIENT = 25000      # a pair of stacks has 32,767 channels from each side
PORTS = 16              # the server's, as in idle.c
SECONDS = 150


def line(p, what):
    some = select.select([p.stdout], [], [], SECONDS)[0]
    text = p.stdout.readline().decode(errors="replace").strip() if some else ""
    rig.check(text and "failed" not in text, "idle: waited for %s: %r" % (what, text or "nothing"))
    return text


def segment(pid):
    """Bytes that a process's stack takes; 0 without one."""
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, fd)
        try:
            if "onramp-seg" in os.readlink(path):
                return os.stat(path).st_blocks * 512
        except OSError:
            pass
    return 0


def measure(r, n, port, accel, idle_accel=None):
    """What idle.c says, as a dict; of an accelerated server besides the bytes of its stack an idle connection
    ("bytes"), and what the kernel served ("plain"). Idle clients are the kernel's, but with idle_accel."""
    exe, started = r.test("bench/idle"), []
    each = min(PER_CLIENT, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000)
    try:
        s = r.start(r.a, [exe, "server", r.A4, str(port), str(n)], accel=accel, cpu=0, ready="ready", stdin=subprocess.PIPE)
        started.append(s)
        started.append(r.start(r.b, [exe, "active", r.A4, str(port)], accel=accel, cpu=1))
        line(s, "the ten alone")
        before = segment(s.pid)
        s.stdin.write(b"g")
        s.stdin.flush()
        for at in range(0, n, each):
            started.append(r.start(r.b, [exe, "hold", r.A4, str(port), str(min(each, n - at))], accel=idle_accel,
                                   stdin=subprocess.PIPE, cpu=1))
        ret = json.loads(line(s, "the ten among %d" % n))
        if accel:
            ret["bytes"] = (segment(s.pid) - before) / n
            ret["plain"] = [x for p in started if p is s or idle_accel for x in rig.on_kernel(r.why(r.a if p is s else r.b, p.pid))]
        return ret
    finally:
        for p in reversed(started):
            r.stop(p, signal.SIGKILL)
