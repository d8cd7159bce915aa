# SPDX-License-Identifier: BSD-2-Clause
"""fetch.py HOST PORT PATH SHA256 THREADS SECONDS [keep] [resets=N]: GETs a file again and again, over new
connections or one kept; every answer must be whole and right, but N connections may be reset before
anything came. Prints how many answers there were."""
import hashlib, http.client, sys, threading, time

host, port, path, want, threads, seconds = sys.argv[1:7]
keep, end = "keep" in sys.argv[7:], time.time() + float(seconds)
resets = [int(a[7:]) for a in sys.argv[7:] if a.startswith("resets=")] or [0]
done, wrong = [0] * int(threads), []


def get(c):
    c.request("GET", path, headers={} if keep else {"Connection": "close"})
    r = c.getresponse()
    body = r.read()
    if r.status != 200 or hashlib.sha256(body).hexdigest() != want:
        raise ValueError("status %d, %d bytes" % (r.status, len(body)))
    return r


def loop(i):
    c = None
    while time.time() < end and len(wrong) < 5:
        try:
            c = c or http.client.HTTPConnection(host, int(port), timeout=20)
            r = get(c)
            done[i] += 1
            if not keep or r.will_close:
                c.close()
                c = None
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as e:
            resets[0] -= not keep    # a kept connection may be closed between two requests
            if resets[0] < 0:
                wrong.append(repr(e))
            c = None
        except Exception as e:
            wrong.append(repr(e))
            c = None


ts = [threading.Thread(target=loop, args=(i,)) for i in range(int(threads))]
[t.start() for t in ts]
[t.join() for t in ts]
if wrong or not all(done):
    sys.exit("after %d right answers: %s; by thread %s" % (sum(done), wrong, done))
print(sum(done))
