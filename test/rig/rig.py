# SPDX-License-Identifier: BSD-2-Clause
"""Two hosts on one machine: network namespaces A (server) and B (client), joined by veth.

Everything a rig makes, it removes: at the end, at an exception, at SIGINT and SIGTERM.
Processes are stopped by the pids that the rig started, never by name.
"""
import atexit, os, shlex, signal, socket, subprocess, sys, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("O", os.path.join(TOP, "build"))
if not os.path.isabs(BUILD):
    BUILD = os.path.join(TOP, BUILD)
ONRAMP = os.path.join(BUILD, "bin", "onramp")


class Failed(Exception):
    """A command or a check failed; the text says which, and shows its output."""


def run(cmd, check=True, timeout=120, **kw):
    """Runs a command to its end; returns its standard output."""
    if isinstance(cmd, str):
        cmd = shlex.split(cmd)
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                       stdin=subprocess.DEVNULL, **kw)
    if check and p.returncode != 0:
        raise Failed("%s: exit %d\n%s%s" % (" ".join(cmd), p.returncode,
                     p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")))
    return p.stdout.decode(errors="replace")


class Rig:
    A4, B4, A6, B6 = "10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"

    def __init__(self, mtu=1500, tag=""):
        self.a, self.b = ["onr%d%s%s" % (os.getpid(), tag, x) for x in "ab"]
        self.procs, self.attached, self.open = [], [], True
        atexit.register(self.close)
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, self._signalled)
        for ns in (self.a, self.b):
            run(["ip", "netns", "add", ns])
            run(["ip", "-n", ns, "link", "set", "lo", "up"])
        run(["ip", "link", "add", "eth0", "netns", self.a, "mtu", str(mtu), "type", "veth",
             "peer", "name", "eth0", "netns", self.b, "mtu", str(mtu)])
        for ns, v4, v6 in ((self.a, self.A4, self.A6), (self.b, self.B4, self.B6)):
            run(["ip", "-n", ns, "link", "set", "eth0", "up"])
            run(["ip", "-n", ns, "addr", "add", v4 + "/24", "dev", "eth0"])
            run(["ip", "-n", ns, "addr", "add", v6 + "/64", "dev", "eth0", "nodad"])
        for ns, v4, v6 in ((self.a, self.B4, self.B6), (self.b, self.A4, self.A6)):
            for ip in (v4, v6):
                self.wait_for(lambda: run(["ip", "netns", "exec", ns, "ping", "-c1", "-W1", ip],
                                          check=False).find(" 0% packet loss") >= 0, "ping " + ip)

    def _signalled(self, number, frame):
        self.close()
        os._exit(128 + number)

    @staticmethod
    def wait_for(cond, what, seconds=15):
        end = time.time() + seconds
        while not cond():
            if time.time() > end:
                raise Failed("waited %d s in vain: %s" % (seconds, what))
            time.sleep(0.05)

    def cmd(self, ns, argv, accel=None, cpu=None, user=None, env=None):
        """The command line that runs argv in a namespace; accel names a profile, or None."""
        if isinstance(argv, str):
            argv = shlex.split(argv)
        pre = ["ip", "netns", "exec", ns]
        if env:
            pre += ["env"] + ["%s=%s" % kv for kv in env.items()]
        if cpu is not None:
            pre += ["taskset", "-c", str(cpu)]
        if user is not None:
            pre += ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
        if accel:
            pre += [ONRAMP, "run", "-p", accel, "--"]
        return pre + argv

    def run(self, ns, argv, check=True, timeout=120, cwd=None, **kw):
        return run(self.cmd(ns, argv, **kw), check=check, timeout=timeout, cwd=cwd)

    def start(self, ns, argv, ready=None, port=None, log=None, stdin=subprocess.DEVNULL, cwd=None, **kw):
        """Starts a process. `ready`: a line to wait for on its stdout; `port`: wait until the
        kernel of that namespace listens there."""
        out = subprocess.PIPE if ready else (open(log, "wb") if log else subprocess.DEVNULL)
        p = subprocess.Popen(self.cmd(ns, argv, **kw), stdin=stdin, stdout=out, cwd=cwd,
                             stderr=subprocess.STDOUT if log else subprocess.DEVNULL,
                             start_new_session=True)
        self.procs.append(p)
        if ready:
            line = p.stdout.readline().decode(errors="replace")
            if ready not in line:
                raise Failed("%s said %r instead of %r" % (argv, line, ready))
        if port:
            self.wait_for(lambda: p.poll() is not None or self.listens(ns, port),
                          "%s to listen on %d" % (argv, port))
            if p.poll() is not None:
                raise Failed("%s ended with %s" % (argv, p.returncode))
        return p

    @staticmethod
    def listens(ns, port):
        return (":%d " % port) in run(["ip", "netns", "exec", ns, "ss", "-Hltn"])

    def stop(self, p, sig=signal.SIGTERM):
        """Ends a process that start() began, and what it left in its session."""
        if p.poll() is None:
            try:
                os.killpg(p.pid, sig)
            except ProcessLookupError:
                pass
            try:
                p.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
        if p in self.procs:
            self.procs.remove(p)
        if p.stdout:
            p.stdout.close()

    def attach(self, *namespaces, args=()):
        lines = []
        for ns in namespaces or (self.a, self.b):
            if ns not in self.attached:
                lines.append(run(["ip", "netns", "exec", ns, ONRAMP, "attach", "eth0"] + list(args)).strip())
                self.attached.append(ns)
        return lines

    def detach(self, *namespaces):
        for ns in namespaces or list(self.attached):
            if ns in self.attached:
                self.attached.remove(ns)
                run(["ip", "netns", "exec", ns, ONRAMP, "detach", "eth0"])

    def set_mtu(self, mtu):
        for ns in (self.a, self.b):
            run(["ip", "-n", ns, "link", "set", "eth0", "mtu", str(mtu)])

    def close(self):
        if not self.open:
            return
        self.open = False
        for p in list(self.procs):
            try:
                os.killpg(p.pid, signal.SIGCONT)
            except (ProcessLookupError, PermissionError):
                pass
            self.stop(p)
        for ns in list(self.attached):
            try:
                self.detach(ns)
            except (Failed, subprocess.TimeoutExpired) as e:
                print("rig: %s" % e, file=sys.stderr)
        for ns in (self.a, self.b):
            subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def table(rows, head):
    """Prints rows (lists of str) under a header, columns aligned, numbers to the right."""
    w = [max(len(str(r[i])) for r in rows + [head]) for i in range(len(head))]
    def line(r):
        return "  ".join(str(c).ljust(w[i]) if i == 0 else str(c).rjust(w[i]) for i, c in enumerate(r))
    print(line(head))
    print("  ".join("-" * x for x in w))
    for r in rows:
        print(line(r))
