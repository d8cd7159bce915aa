# SPDX-License-Identifier: BSD-2-Clause
"""Hosts for tests: network namespaces, or an ordinary user on this host, and processes in them.

    Rig     two hosts on one machine: namespaces A (server) and B (client), joined by veth
    Local   one host and an ordinary user on it: 127.0.0.1, ::1 and an address of the host's own

Everything a rig makes, it removes: at the end, at an exception, at SIGINT and SIGTERM.
Processes are stopped by the pids that the rig started, never by name; what is left in a namespace
that the rig made is its, too.
"""
import atexit, json, os, re, resource, select, shlex, shutil, signal, subprocess, sys, tempfile, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("O", os.path.join(TOP, "build"))
if not os.path.isabs(BUILD):
    BUILD = os.path.join(TOP, BUILD)
ONRAMP = os.path.join(BUILD, "bin", "onramp")
PYTHON = "/usr/bin/python3"     # every user's; root's own may be unreadable to others
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_open = []      # the rigs that must be closed


class Failed(Exception):
    """A command or a check failed; the text says which, and shows its output."""


def check(cond, what):
    if not cond:
        raise Failed(what)


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


def wait_for(cond, what, seconds=15):
    end = time.time() + seconds
    while not cond():
        if time.time() > end:
            raise Failed("waited %d s in vain: %s" % (seconds, what))
        time.sleep(0.05)


def _close_all():
    for r in reversed(list(_open)):
        r.close()


def _signalled(number, frame):
    _close_all()
    os._exit(128 + number)


class Host:
    """Processes, started and stopped; namespaces and temporary directories, made and removed."""

    def __init__(self):
        self.procs, self.namespaces, self.dirs, self.open, self.build = [], [], [], True, BUILD
        if not _open:
            atexit.register(_close_all)
            for s in SIGNALS:
                signal.signal(s, _signalled)
        _open.append(self)

    wait_for = staticmethod(wait_for)

    def tempdir(self, prefix="onramp-test-"):
        """A directory that others can read, removed at the end."""
        d = tempfile.mkdtemp(prefix=prefix)
        self.dirs.append(d)
        os.chmod(d, 0o755)
        return d

    def add_namespace(self, name):
        self.namespaces.append(name)
        run(["ip", "netns", "add", name])
        run(["ip", "-n", name, "link", "set", "lo", "up"])

    def onramp(self):
        return os.path.join(self.build, "bin", "onramp")

    def test(self, name):
        """A program of ours below test/."""
        return os.path.join(self.build, "test", name)

    def cmd(self, ns, argv, accel=None, cpu=None, user=None, env=None):
        """The command line that runs argv in a namespace; accel names a profile, or None."""
        if isinstance(argv, str):
            argv = shlex.split(argv)
        pre = ["ip", "netns", "exec", ns] if ns else []
        if env:
            pre += ["env"] + ["%s=%s" % kv for kv in env.items()]
        if cpu is not None:
            pre += ["taskset", "-c", str(cpu)]
        if user is not None:
            pre += ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
        if accel:
            pre += [self.onramp(), "run", "-p", accel, "--"]
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
            some = select.select([p.stdout], [], [], 30)[0]
            line = p.stdout.readline().decode(errors="replace") if some else "nothing for 30 s"
            if ready not in line:
                raise Failed("%s said %r instead of %r" % (argv, line, ready))
        if port:
            self.wait_for(lambda: p.poll() is not None or self.listens(ns, port),
                          "%s to listen on %s" % (argv, port))
            if p.poll() is not None:
                raise Failed("%s ended with %s" % (argv, p.returncode))
        return p

    @staticmethod
    def listens(ns, port):
        """Whether the kernel listens there: a TCP port, or the path of an AF_UNIX socket."""
        if isinstance(port, str):
            return os.path.exists(port)
        pre = ["ip", "netns", "exec", ns] if ns else []
        return (":%d " % port) in run(pre + ["ss", "-Hltn"])

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
                p.wait(10)
        if p in self.procs:
            self.procs.remove(p)
        if p.stdout:
            try:
                p.stdout.close()
            except RuntimeError:    # Ctrl-C came while it was being read
                pass

    def stop_all(self, sig=signal.SIGKILL):
        """After a failure: whatever still runs, stopped ones included."""
        for p in list(self.procs):
            try:
                os.killpg(p.pid, signal.SIGCONT)
            except (ProcessLookupError, PermissionError):
                pass
            self.stop(p, sig)

    def others(self):
        """Processes in the rig's namespaces that start() did not begin: {pid: name}."""
        mine, found = {p.pid for p in self.procs}, {}
        for ns in self.namespaces:
            for pid in map(int, run(["ip", "netns", "pids", ns], check=False).split()):
                if pid not in mine:
                    found[pid] = name_of(pid)
        return {pid: name for pid, name in found.items() if name}

    def why(self, ns, pid, *args):
        """What `onramp why --json` says of a process."""
        return json.loads(self.run(ns, [self.onramp(), "why", "--json", str(pid)] + [str(a) for a in args]))

    def ss(self, ns, *args):
        """The rows of `onramp ss --json`; none without an agent."""
        out = self.run(ns, [self.onramp(), "ss", "-a", "--json"] + list(args), check=False)
        return json.loads(out) if out.strip().startswith("[") else []

    def remove(self):
        """What a kind of rig made besides namespaces and directories."""

    def close(self):
        if not self.open:
            return
        self.open = False
        old = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for step in (lambda: self.stop_all(signal.SIGTERM), self.remove):
                try:
                    step()
                except (OSError, Failed, subprocess.SubprocessError) as e:
                    print("rig: %s" % e, file=sys.stderr)
            for pid in self.others():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for ns in self.namespaces:
                subprocess.run(["ip", "netns", "del", ns], stderr=subprocess.DEVNULL)
            for d in self.dirs:
                shutil.rmtree(d, ignore_errors=True)
            _open.remove(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def name_of(pid):
    """The name of a process; "" if there is none, or only its zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            text = f.read()
    except OSError:
        return ""
    return "" if text.rsplit(")", 1)[1].split()[0] in "ZX" else text[text.index("(") + 1:text.rindex(")")]


def on_kernel(why):
    """What, as `onramp why --json` says, the kernel served of a process that should be accelerated."""
    if why["code"] != "NONE":
        return [why["reason"]]
    return ["%s for %d sockets" % (code, n) for code, n in why["counts"].items()
            if n and code not in ("NONE", "APERTURE", "UNDECIDED", "NOT_INET")]


class Rig(Host):
    A4, B4, A6, B6 = "10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"

    def __init__(self, mtu=1500, tag="", wire=None):
        """`wire`: options of test/apps/emulator.c, which then joins the two instead of a veth pair."""
        super().__init__()
        self.a, self.b = ["onr%d%s%s" % (os.getpid(), tag, x) for x in "ab"]
        self.attached, self.wire = [], None
        for ns in (self.a, self.b):
            self.add_namespace(ns)
        if wire is None:
            run(["ip", "link", "add", "eth0", "netns", self.a, "mtu", str(mtu), "type", "veth",
                 "peer", "name", "eth0", "netns", self.b, "mtu", str(mtu)])
        else:
            self.lay_wire("onr%d%sm" % (os.getpid(), tag), mtu, wire)
        for ns, v4, v6 in ((self.a, self.A4, self.A6), (self.b, self.B4, self.B6)):
            run(["ip", "-n", ns, "link", "set", "eth0", "up"])
            run(["ip", "-n", ns, "addr", "add", v4 + "/24", "dev", "eth0"])
            run(["ip", "-n", ns, "addr", "add", v6 + "/64", "dev", "eth0", "nodad"])
        for ns, v4, v6 in ((self.a, self.B4, self.B6), (self.b, self.A4, self.A6)):
            for ip in (v4, v6):
                self.wait_for(lambda: run(["ip", "netns", "exec", ns, "ping", "-c1", "-W1", ip],
                                          check=False).find(" 0% packet loss") >= 0, "ping " + ip)

    def lay_wire(self, middle, mtu, options):
        """Two veth pairs and between them, in a namespace of its own, the emulator."""
        self.add_namespace(middle)
        for ns, end in ((self.a, "ea"), (self.b, "eb")):
            run(["ip", "link", "add", "eth0", "netns", ns, "mtu", str(mtu), "type", "veth",
                 "peer", "name", end, "netns", middle, "mtu", str(mtu)])
            run(["ip", "-n", middle, "link", "set", end, "up"])
            # What a super-frame is, only veth knows: whole frames, with their checksums, go on the wire.
            run(["ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off", "gro", "off"])
        self.wire = self.start(middle, [self.test("apps/emulator"), "ea", "eb"] + list(options), ready="ready")

    def end_wire(self):
        """Takes the emulator away; returns what it did."""
        self.wire.terminate()
        said = self.wire.stdout.read().decode()
        check(self.wire.wait(10) == 0, "the emulator: " + said)
        self.stop(self.wire)
        return json.loads(said)

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

    def remove(self):
        for ns in list(self.attached):
            try:
                self.detach(ns)
            except (Failed, subprocess.TimeoutExpired) as e:
                print("rig: %s" % e, file=sys.stderr)


class Local(Host):
    """As root: a namespace, and in it a user that nobody else is, with what Debian gives users.
    As anybody else: this host and oneself. Both "hosts" are the same one."""
    A4, A6 = "127.0.0.1", "::1"
    OWN4, OWN6 = "10.79.0.1", "fd79::1"
    NAME = "onramp-tester"

    def __init__(self, tag="l"):
        super().__init__()
        self.dir = self.tempdir()
        self.root = os.geteuid() == 0
        self.runtime = os.path.join(self.dir, "run")
        os.mkdir(self.runtime, 0o700)
        self.env = {"XDG_RUNTIME_DIR": self.runtime, "HOME": self.dir}
        self.a = self.b = self.user = None
        if not self.root:
            self.uid, self.OWN4, self.OWN6 = os.geteuid(), own_address(4), own_address(6)
            return
        self.a = self.b = "onr%d%s" % (os.getpid(), tag)
        self.etc = "/etc/netns/" + self.a
        self.user = self.uid = 20000 + os.getpid() % 30000
        self.add_namespace(self.a)
        run(["ip", "-n", self.a, "link", "add", "own0", "type", "veth", "peer", "name", "own1"])
        run(["ip", "-n", self.a, "link", "set", "own1", "up"])
        run(["ip", "-n", self.a, "addr", "add", self.OWN4 + "/24", "dev", "own0"])
        run(["ip", "-n", self.a, "addr", "add", self.OWN6 + "/64", "dev", "own0", "nodad"])
        run(["ip", "-n", self.a, "link", "set", "own0", "up"])
        self.introduce_user()
        for d in (self.dir, self.runtime):
            os.chown(d, self.uid, self.uid)
        if subprocess.run(self.cmd(None, ["test", "-x", ONRAMP, "-a", "-r", BUILD + "/lib/libonramp.so"])).returncode:
            self.build = self.tempdir("onramp-build-")      # our tree is not theirs to read
            for d in ("bin", "lib", "test"):
                if os.path.isdir(os.path.join(BUILD, d)):
                    shutil.copytree(os.path.join(BUILD, d), os.path.join(self.build, d))

    def introduce_user(self):
        """`ip netns exec` puts the files of /etc/netns/NAME over those of /etc."""
        os.makedirs(self.etc)
        for name, line in (("passwd", "%s:x:%d:%d::%s:/bin/sh\n" % (self.NAME, self.uid, self.uid, self.dir)),
                           ("group", "%s:x:%d:\n" % (self.NAME, self.uid))):
            with open("/etc/" + name) as f, open(os.path.join(self.etc, name), "w") as g:
                g.write(f.read() + line)

    def cmd(self, ns, argv, user=None, env=None, **kw):
        line = super().cmd(ns, argv, user=user or self.user, env=dict(self.env, **(env or {})), **kw)
        # A user's limits, not root's: descriptors, and memory that may be locked.
        most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        locked = 8 << 20 if most == resource.RLIM_INFINITY else min(most, 8 << 20)
        return (["prlimit", "--nofile=1024:", "--memlock=%d" % locked] if self.root else []) + line

    def path(self, name):
        return os.path.join(self.dir, name)

    def others(self):
        """As for any host; on a shared one those of our name that began after us."""
        if self.root:
            return super().others()
        found, began = {}, started_at(os.getpid())
        for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
            try:
                if uid_of(pid) == self.uid and started_at(pid) >= began and name_of(pid).startswith("onramp"):
                    found[pid] = name_of(pid)
            except OSError:
                pass
        return found

    def left(self):
        """What is still there when all programs have ended: processes, and names of files."""
        return ["%s (%d)" % (name, pid) for pid, name in self.others().items()] + \
               [os.path.join(d, f)[len(self.runtime) + 1:] for d, _, files in os.walk(self.runtime) for f in files]

    def remove(self):
        if self.root:
            shutil.rmtree(self.etc, ignore_errors=True)
            try:
                os.rmdir("/etc/netns")
            except OSError:
                pass


def uid_of(pid):
    """Whose a process is; the owner of /proc/PID is root if it may not be dumped."""
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"^Uid:\s+(\d+)", f.read(), re.M).group(1))


def started_at(pid):
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rsplit(")", 1)[1].split()[19])


def own_address(family):
    """An address of this host that is neither loopback nor of the link only; None if there is none."""
    links = json.loads(run(["ip", "-j", "-%d" % family, "addr", "show", "scope", "global", "up"]) or "[]")
    return next((a["local"] for l in links for a in l.get("addr_info", []) if "local" in a), None)


def table(rows, head):
    """Prints rows (lists of str) under a header, columns aligned, numbers to the right."""
    w = [max(len(str(r[i])) for r in rows + [head]) for i in range(len(head))]
    def line(r):
        return "  ".join(str(c).ljust(w[i]) if i == 0 else str(c).rjust(w[i]) for i, c in enumerate(r))
    print(line(head))
    print("  ".join("-" * x for x in w))
    for r in rows:
        print(line(r))
