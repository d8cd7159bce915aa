# SPDX-License-Identifier: BSD-2-Clause
"""mc.py HOST PORT THREADS N: each thread stores N values of odd sizes in memcached, reads all back, one by
one and many at once, and compares."""
import os, random, socket, sys, threading

host, port, threads, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
wrong = []


def value(f):
    head = f.readline()
    if head == b"END\r\n":
        return None, None
    _, key, _, size = head.split()
    data = f.read(int(size) + 2)
    return key.decode(), data[:-2]


def work(t):
    s = socket.create_connection((host, port), 20)
    f = s.makefile("rb")
    rnd = random.Random(t)
    kept = {"k%d_%d" % (t, i): os.urandom(rnd.choice((1, 17, 1000, 1500, 9001, 60000))) for i in range(n)}
    for k, v in kept.items():
        s.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (k.encode(), len(v), v))
        assert f.readline() == b"STORED\r\n"
    for k, v in kept.items():
        s.sendall(b"get %s\r\n" % k.encode())
        assert value(f) == (k, v), k
        assert value(f) == (None, None)
    names = list(kept)
    for i in range(0, n, 20):
        s.sendall(b"get %s\r\n" % " ".join(names[i:i + 20]).encode())
        got = {}
        while True:
            k, v = value(f)
            if k is None:
                break
            got[k] = v
        assert got == {k: kept[k] for k in names[i:i + 20]}


def guarded(t):
    try:
        work(t)
    except Exception as e:
        wrong.append(repr(e)[:200])


ts = [threading.Thread(target=guarded, args=(t,)) for t in range(threads)]
[t.start() for t in ts]
[t.join() for t in ts]
if wrong:
    sys.exit("; ".join(wrong))
print("same")
