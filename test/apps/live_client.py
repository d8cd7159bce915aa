# SPDX-License-Identifier: BSD-2-Clause
"""A client that is in the middle of things when the server is stopped or killed.

usage: live_client.py stop|kill ADDR PORT PID

Speaks redis's protocol over an ordinary socket and prints what it saw; exit 0 if it was what
a client of a healthy host sees. Signals go to PID, the server, which is in another network
namespace but the same process table.
"""
import array, fcntl, os, signal, socket, struct, sys, termios, time

how, addr, port, pid = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
SIOCOUTQ = 0x5411


def unacked(s):
    n = array.array("i", [0])
    fcntl.ioctl(s.fileno(), SIOCOUTQ, n)
    return n[0]


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def reply(s):
    s.settimeout(10)
    b = b""
    while not b.endswith(b"\r\n"):
        x = s.recv(4096)
        if not x:
            break
        b += x
    return b


s = socket.create_connection((addr, port), 5)
s.sendall(command(b"SET", b"k", b"v"))
assert reply(s) == b"+OK\r\n"

if how == "stop":
    os.kill(pid, signal.SIGSTOP)
    t0 = time.time()
    s.sendall(command(b"SET", b"big", b"x" * 50000))
    while unacked(s) and time.time() - t0 < 5:
        time.sleep(0.002)
    dt = (time.time() - t0) * 1000
    left = unacked(s)
    print("server stopped: 50,000 bytes acknowledged after %.0f ms by its surrogate" % dt if not left
          else "server stopped: %d bytes were never acknowledged" % left)
    # A new client is accepted, too.
    t1 = time.time()
    n = socket.create_connection((addr, port), 5)
    print("server stopped: a new connection was established in %.0f ms" % ((time.time() - t1) * 1000))
    time.sleep(1)
    os.kill(pid, signal.SIGCONT)
    r = reply(s)
    print("server continued: answered %r" % r.decode())
    n.sendall(command(b"PING"))
    ok = r == b"+OK\r\n" and left == 0 and reply(n) == b"+PONG\r\n"
else:
    t0 = time.time()
    os.kill(pid, signal.SIGKILL)
    s.settimeout(10)
    try:
        x = s.recv(100)
        saw = "end of stream" if x == b"" else "data %r" % x
    except ConnectionResetError:
        x, saw = b"", "connection reset"
    except socket.timeout:
        x, saw = None, "nothing for 10 s"
    print("server killed: the client saw %s after %.0f ms" % (saw, (time.time() - t0) * 1000))
    ok = x == b""
    # The dying process closes its descriptors one by one: the listener may be the last.
    for tries in range(100):
        try:
            socket.create_connection((addr, port), 2).close()
            saw = "its port still accepts"
        except ConnectionRefusedError:
            saw = "a new connection is refused"
            break
        except ConnectionResetError:
            saw = "a new connection is reset"
        except socket.timeout:
            saw = "a new connection gets no answer"
            break
        time.sleep(0.01)
    ok = ok and "refused" in saw
    print("server killed: " + saw)
sys.exit(0 if ok else 1)
