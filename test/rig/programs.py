# SPDX-License-Identifier: BSD-2-Clause
"""Real programs as tests, demos and benchmarks start them, and what their clients' output means.

An address is a host's, or the path of an AF_UNIX socket where the program takes one; readers
return requests a second, and the median and 99th percentile in microseconds.
"""
import glob, json, os, re
from rig import Failed


def redis_server(port, *addrs):
    argv = ["redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"]
    if addrs[0].startswith("/"):
        return argv + ["--port", "0", "--unixsocket", addrs[0]]
    return argv + ["--port", str(port), "--bind"] + list(addrs)


def redis_benchmark(addr, port, conns, n, pipeline=1):
    at = ["-s", addr] if addr.startswith("/") else ["-h", addr, "-p", str(port)]
    return ["redis-benchmark"] + at + ["-t", "get", "-c", str(conns), "-P", str(pipeline), "-n", str(n), "--csv"]


def read_redis(out):
    line = re.search(r'^"GET".*$', out, re.M)
    if not line:
        raise Failed("redis-benchmark said: " + out[-500:])
    f = [x.strip('"') for x in line.group(0).split(",")]
    return float(f[1]), float(f[4]) * 1000, float(f[6]) * 1000


def memcached(port, addr, threads=1):
    at = ["-s", addr] if addr.startswith("/") else ["-p", str(port), "-l", addr]
    return ["memcached", "-u", "nobody", "-t", str(threads)] + at


def read_mcload(out):
    j = json.loads(out)
    return j["rps"], j["p50_us"], j["p99_us"]


def nginx(folder, port, addrs, root, workers=1, master=False, top="", server=""):
    """Writes a configuration; `top` and `server` are further directives of the whole and of its server."""
    conf = os.path.join(folder, "nginx%d.conf" % port)
    own = os.path.join(folder, "nginx%d" % port)
    os.makedirs(own, exist_ok=True)
    os.chmod(own, 0o777)    # the server may be another user
    listens = "".join("listen %s:%d; " % ("[%s]" % a if ":" in a else a, port) for a in addrs)
    temps = "".join("%s_temp_path %s/%s; " % (x, own, x) for x in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(conf, "w") as f:
        f.write("daemon off; master_process %s; worker_processes %d; pid %s/pid; error_log %s/log; %s\n"
                "events { worker_connections 1024; }\n"
                "http { access_log off; sendfile on; client_max_body_size 0; keepalive_requests 100000000; %s\n"
                " server { %sroot %s; %s } }\n"
                % ("on" if master else "off", workers, own, own, top, temps, listens, root, server))
    return ["nginx", "-e", own + "/log", "-c", conf]


def wrk(addr, port, conns, seconds, path="/", close=False):
    host = "[%s]" % addr if ":" in addr else addr
    return ["wrk", "-t1", "-c%d" % conns, "-d%ds" % max(1, round(seconds)), "--latency"] + \
        (["-H", "Connection: close"] if close else []) + ["http://%s:%d%s" % (host, port, path)]


def read_wrk(out):
    if re.search(r"Socket errors: connect [1-9]|Non-2xx", out):
        raise Failed("wrk saw errors:\n" + out)
    def us(text):
        m = re.match(r"([\d.]+)(us|ms|s|m)", text)
        if not m:
            raise Failed("wrk measured nothing:\n" + out)
        v, unit = m.groups()
        return float(v) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit]
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            us(re.search(r"^ +50%\s+(\S+)", out, re.M).group(1)),
            us(re.search(r"^ +99%\s+(\S+)", out, re.M).group(1)))


class Postgres:
    """A cluster of its own below `folder`, made by the rig's user (PostgreSQL refuses to be root's)."""

    def __init__(self, r, folder):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
        if not found:
            raise Failed("PostgreSQL is not installed: dev/deps")
        self.r, self.folder, self.bin = r, folder, found[-1]
        self.data = os.path.join(folder, "pg")
        if not os.path.exists(self.data):
            r.run(r.a, [self.bin + "/initdb", "-D", self.data, "-A", "trust", "-U", "bench", "-N", "--no-locale", "-E", "UTF8",
                        "--no-instructions"], cwd=folder)
            with open(self.data + "/postgresql.conf", "a") as f:
                f.write("fsync = off\nsynchronous_commit = off\nmax_connections = 50\nshared_buffers = 32MB\n"
                        "max_wal_senders = 0\nwal_level = minimal\nlog_min_messages = fatal\n")
            with open(self.data + "/pg_hba.conf", "w") as f:
                f.write("local all all trust\nhost all all all trust\n")

    def server(self, port, addr):
        """Always on an AF_UNIX socket in the folder, too."""
        return [self.bin + "/postgres", "-D", self.data, "-p", str(port), "-k", self.folder,
                "-h", "" if addr.startswith("/") else addr]

    def socket(self, port):
        return os.path.join(self.folder, ".s.PGSQL.%d" % port)

    def client(self, name, addr, port, *args):
        host = self.folder if addr.startswith("/") else addr
        return [self.bin + "/" + name, "-h", host, "-p", str(port), "-U", "bench"] + list(args) + ["postgres"]

    def fill(self, port):
        return self.client("pgbench", "/", port, "-i", "-q", "-s", "1")

    def pgbench(self, addr, port, clients, seconds):
        return self.client("pgbench", addr, port, "-n", "-S", "-c", str(clients), "-j", "1", "-T", str(max(1, round(seconds))))


def read_pgbench(out):
    tps = re.search(r"^tps = ([\d.]+)", out, re.M)
    if not tps or not re.search(r"failed transactions: 0 ", out):
        raise Failed("pgbench said: " + out[-500:])
    return float(tps.group(1))
