#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Decodes apertures between hosts from a capture: written from docs/internals/apertures-wire.md,
and sharing no line with the implementation, so that the two check each other.

usage: ci_decode.py FILE.pcap [--port N]... [--expect LINES]
       ci_decode.py --listen INTERFACE --seconds S [--port N]...

Prints a JSON object per burst, read, event and message; exit 1 if any frame breaks the format, if
a checksum is wrong, or if what was decoded lacks, in order, the objects of LINES (a line each;
only the keys given are compared). UDP datagrams are looked at if they go to or from a --port.
"""
import json, socket, struct, sys, time

DATA, EVENT, MSG = 0x88B5, 0x88B6, 0x4F41
TYPES = {1: "CONNECT", 2: "ACCEPT", 3: "REJECT", 4: "CLOSE", 5: "ALIVE", 6: "ALIVEACK", 7: "ERROR", 8: "MESSAGE"}


class Bad(Exception):
    pass


def need(cond, what):
    if not cond:
        raise Bad(what)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def ones_sum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def index_nonce(eight):
    n = int.from_bytes(eight, "big")
    return n >> 40, n & (1 << 40) - 1


def ip(n):
    return socket.inet_ntoa(struct.pack(">I", n))


def message(p):
    need(len(p) >= 64, "message cut off")
    need(ones_sum(p[:64]) == 0xFFFF, "message checksum")
    magic, version, kind, dst, dport, sport, src = struct.unpack_from(">HBBIHHI", p)
    _, flags, size_class, ap_type, body = struct.unpack_from(">HBBHH", p, 16)
    size, seq0, step, every, arg, arg2 = struct.unpack_from(">QIHHII", p, 40)
    need(magic == MSG and version == 1, "message version")
    index, nonce = index_nonce(p[24:32])
    pindex, pnonce = index_nonce(p[32:40])
    out = {"what": TYPES.get(kind, "type %d" % kind), "dst": ip(dst), "dport": dport, "src": ip(src), "sport": sport,
           "ack": bool(flags & 1), "flags": flags, "class": size_class, "ap_type": ap_type, "index": index,
           "nonce": nonce, "peer_index": pindex, "peer_nonce": pnonce, "size": size, "seq0": seq0, "step": step,
           "every": every, "arg": arg, "arg2": arg2}
    if body:
        need(len(p) >= 64 + body + 4, "body cut off")
        need(struct.unpack_from(">I", p, 64 + body)[0] == crc32c(p[64:64 + body]), "body CRC")
        out["body"] = p[64:64 + body].hex()
    return [out]


def bursts(p, hdr_len, count, base, data):
    at, used, prev_len, first = 36, 0, None, True
    here = dict(base)
    for _ in range(count):
        need(at < hdr_len, "descriptors cut off")
        ctl = p[at]
        at += 1
        need(ctl & ~0x0F == 0, "descriptor bits")
        if prev_len is not None:
            here["offset"] = here["offset"] + prev_len & 0xFFFFFFFF
        here["section"] = first
        if ctl & 4:
            need(ctl & 2 and not first, "address without offset, or at the start")
            here["index"], here["nonce"] = index_nonce(p[at:at + 8])
            here["seq"], here["from"] = struct.unpack_from(">IH", p, at + 8)
            here["section"] = True
            at += 14
        if ctl & 2:
            need(not first, "offset at the start")
            here["offset"], = struct.unpack_from(">I", p, at)
            at += 4
        if ctl & 1:
            prev_len, = struct.unpack_from(">H", p, at)
            at += 2
        need(prev_len is not None and at <= hdr_len, "no length, or cut off")
        out = dict(here, what="WRITE", len=prev_len, event=bool(ctl & 8), data=data[used:used + prev_len].hex())
        used += prev_len
        first = False
        yield out
    need(used == len(data), "lengths do not add up")
    need(hdr_len - at < 4 and not any(p[at:hdr_len]), "padding")


def frame(ether_type, p):
    if ether_type == MSG or ether_type == EVENT and p[:2] == b"OA":
        return message(p)
    need(len(p) >= 36, "header cut off")
    version, op, words, flags, _, n = struct.unpack_from(">BBBBHH", p)
    hdr_len = words * 4
    need(36 <= hdr_len <= len(p) and len(p) >= hdr_len + n + 4, "lengths")
    need(ones_sum(p[:hdr_len]) == 0xFFFF, "header checksum")
    need(version == 1 and flags == 0, "version")
    host, = struct.unpack_from(">I", p, 8)
    index, nonce = index_nonce(p[12:20])
    offset, seq, src, out_index, count, zero = struct.unpack_from(">IIIHBB", p, 20)
    need(zero == 0, "reserved")
    data = p[hdr_len:hdr_len + n]
    need(struct.unpack_from(">I", p, hdr_len + n)[0] == crc32c(data), "data CRC")
    base = {"host": ip(host), "index": index, "nonce": nonce, "offset": offset, "seq": seq, "src": ip(src),
            "from": out_index}
    need((op == 4) == (ether_type == EVENT), "operation of the other type")
    if op == 1:
        return list(bursts(p, hdr_len, count, base, data))
    if op == 2:
        need(hdr_len == 52 and not n, "request")
        tag, length = struct.unpack_from(">II", p, 36)
        rindex, rnonce = index_nonce(p[44:52])
        return [dict(base, what="READ_REQ", tag=tag, len=length, reply_index=rindex, reply_nonce=rnonce)]
    if op == 3:
        need(hdr_len == 48, "answer")
        tag, accepted, status = struct.unpack_from(">III", p, 36)
        return [dict(base, what="READ_RESP", tag=tag, accepted=accepted, status=status, len=n, data=data.hex())]
    need(op == 4 and hdr_len == 36 and n == 8, "operation")
    a, b = struct.unpack(">II", data)
    return [dict(base, what="EVENT", a=a, b=b)]


def ethernet(raw, ports):
    """What is ours of an Ethernet frame: (type, payload), or None."""
    kind, = struct.unpack_from(">H", raw, 12)
    if kind in (DATA, EVENT):
        return kind, raw[14:]
    if kind != 0x0800 or len(raw) < 34 or raw[23] != 17 or struct.unpack_from(">H", raw, 20)[0] & 0x3FFF:
        return None
    at = 14 + (raw[14] & 15) * 4
    sport, dport, n = struct.unpack_from(">HHH", raw, at)
    if sport not in ports and dport not in ports:
        return None
    p = raw[at + 8:at + n]
    return struct.unpack_from(">H", p)[0], p[2:]


def capture(path):
    with open(path, "rb") as f:
        head = f.read(24)
        order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        need(struct.unpack(order + "I", head[20:])[0] == 1, "not Ethernet")
        while True:
            rec = f.read(16)
            if len(rec) < 16:
                return
            yield f.read(struct.unpack(order + "IIII", rec)[2])


def listen(interface, seconds):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)     # SO_RCVBUFFORCE
    s.bind((interface, 0))
    s.settimeout(0.1)
    print("listening", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            yield s.recv(65535)
        except socket.timeout:
            pass


def matches(want, got):
    return all(got.get(k) == v for k, v in want.items())


def main():
    args, ports, expect, where, seconds = sys.argv[1:], set(), None, None, 0.0
    path = None
    while args:
        a = args.pop(0)
        if a == "--port":
            ports.add(int(args.pop(0)))
        elif a == "--expect":
            with open(args.pop(0)) as f:
                expect = [json.loads(line) for line in f if line.strip()]
        elif a == "--listen":
            where = args.pop(0)
        elif a == "--seconds":
            seconds = float(args.pop(0))
        else:
            path = a
    frames = listen(where, seconds) if where else capture(path)
    bad = decoded = 0
    for raw in frames:
        mine = ethernet(raw, ports)
        if not mine:
            continue
        try:
            for x in frame(*mine):
                decoded += 1
                print(json.dumps(x))
                if expect and matches(expect[0], x):
                    expect.pop(0)
        except (Bad, struct.error) as e:
            bad += 1
            print(json.dumps({"what": "bad", "why": str(e), "frame": raw.hex()}))
    if expect:
        print("ci_decode: not seen: %s" % json.dumps(expect[0]), file=sys.stderr)
    if bad or not decoded:
        print("ci_decode: %d decoded, %d bad" % (decoded, bad), file=sys.stderr)
    return 1 if bad or expect or not decoded else 0


sys.exit(main())
