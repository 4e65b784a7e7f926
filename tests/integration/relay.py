#!/usr/bin/python3
"""A TCP relay that delays what passes, in both directions; the order stays.

    relay.py PORT=HOST:PORT [PORT=HOST:PORT ...]

Each line on its standard input is a delay in seconds, for what comes from then on, which "delayed" confirms. It ends with
its standard input.
"""

import asyncio
import collections
import subprocess
import sys

import support

CHUNK_BYTES = 1 << 16
WAITING_CHUNKS = 1024  # per direction; then the sender waits


class Relay:
    """All connections of this process."""

    def __init__(self):
        self.delay = 0.0

    async def pump(self, reader, writer):
        """One direction of a connection, until it ends."""
        waiting = collections.deque()
        there = asyncio.Condition()

        async def receive():
            data = b"first"
            while data:
                try:
                    data = await reader.read(CHUNK_BYTES)
                except OSError:
                    data = b""
                async with there:
                    await there.wait_for(lambda: len(waiting) < WAITING_CHUNKS)
                    waiting.append((asyncio.get_running_loop().time() + self.delay, data))
                    there.notify_all()

        receiving = asyncio.ensure_future(receive())
        try:
            while True:
                async with there:
                    await there.wait_for(lambda: waiting)
                    due, data = waiting.popleft()
                    there.notify_all()
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            receiving.cancel()
            writer.close()

    def serve(self, host, port):
        async def connected(reader, writer):
            try:
                onward_reader, onward_writer = await asyncio.open_connection(host, port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(self.pump(reader, onward_writer), self.pump(onward_reader, writer))

        return connected

    async def run(self, routes):
        for listen, (host, port) in routes:
            await asyncio.start_server(self.serve(host, port), "127.0.0.1", listen)
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        print("ready", flush=True)
        while True:
            line = await orders.readline()
            if not line:
                return
            self.delay = float(line)
            print("delayed", flush=True)


class RelayedServer(support.Server):
    """A member that the others reach through a relay."""

    def __init__(self, binary, data_dir, label):
        super().__init__(binary, data_dir, label=label)
        self.relay_port, = support.free_ports(1)

    @property
    def peer_url(self):
        return "http://127.0.0.1:%d" % self.relay_port


class Process:
    """The relay in front of these servers."""

    def __init__(self, servers):
        self.process = subprocess.Popen(
            [sys.executable, __file__] + ["%d=%s:%d" % (s.relay_port, s.host, s.peer_port) for s in servers],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=support.die_with_parent)
        if self.process.stdout.readline() != "ready\n":
            support.fail("the relay does not start")

    def delay(self, seconds):
        self.process.stdin.write("%g\n" % seconds)
        self.process.stdin.flush()
        if self.process.stdout.readline() != "delayed\n":
            support.fail("the relay has ended")

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def main():
    routes = []
    for word in sys.argv[1:]:
        listen, to = word.split("=")
        host, port = to.split(":")
        routes.append((int(listen), (host, int(port))))
    asyncio.run(Relay().run(routes))


if __name__ == "__main__":
    main()
