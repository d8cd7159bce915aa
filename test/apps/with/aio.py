# SPDX-License-Identifier: BSD-2-Clause
"""aio.py server HOST PORT | client HOST PORT: asyncio streams, datagrams and a subprocess at once; the
client sends known bytes over many connections and compares the echo."""
import asyncio, hashlib, os, sys

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


async def echo(r, w):
    while data := await r.read(50000):
        w.write(data)
        await w.drain()
    w.close()


class EchoDatagram(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def serve():
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(EchoDatagram, local_addr=(host, port))
    s = await asyncio.start_server(echo, host, port, backlog=200)
    await s.serve_forever()


async def one(i):
    data = os.urandom(1 + i * 9973)
    r, w = await asyncio.open_connection(host, port)

    async def send():
        for at in range(0, len(data), 30000):
            w.write(data[at:at + 30000])
            await w.drain()
        w.write_eof()
    got, _ = await asyncio.gather(r.read(-1), send())
    w.close()
    await w.wait_closed()
    assert got == data, "%d of %d bytes" % (len(got), len(data))


class Ask(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = asyncio.Queue()

    def datagram_received(self, data, addr):
        self.got.put_nowait(data)


async def datagrams():
    loop = asyncio.get_running_loop()
    t, p = await loop.create_datagram_endpoint(Ask, remote_addr=(host, port))
    for n in range(1, 1400, 100):
        d = os.urandom(n)
        t.sendto(d)
        assert await asyncio.wait_for(p.got.get(), 10) == d
    t.close()


async def child():
    p = await asyncio.create_subprocess_exec("sha256sum", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    data = os.urandom(300000)
    out, _ = await p.communicate(data)
    assert out.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def ask():
    await asyncio.gather(*(one(i) for i in range(40)), datagrams(), child())
    print("same")

asyncio.run(serve() if role == "server" else ask())
