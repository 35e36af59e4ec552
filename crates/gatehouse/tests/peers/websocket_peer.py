"""A real WebSocket server and client (websockets), and a client over HTTP/2 (h2, RFC 8441).

serve                  prints its port, then echoes until it is killed
ask URL COUNT [CA]     sends COUNT mixed messages and checks each echo; prints "done COUNT"
ask2 URL COUNT [CA]    the same on a stream of HTTP/2: by prior knowledge, or under TLS
"""

import asyncio
import random
import ssl
import sys
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import h2.settings
import websockets
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

BLOCK = random.Random(7).randbytes(70000)
SIZES = [0, 1, 125, 126, 1000, 4000, 65535, 65536]
LARGE = ["hello", "x" * 3000000, b"\x00\xff" * 70000]
# A busy machine is no dead peer: nobody is pinged unasked.
QUIET = {"max_size": None, "compression": None, "ping_interval": None}
# Bytes that are handed to the connection at once.
BATCH = 16 * 1024


def mixed(count):
    """Texts and bytes of all sizes that frames write differently."""
    chance = random.Random(11)
    for at in range(count):
        size = chance.choice(SIZES) if at % 50 == 0 else at % 200
        start = chance.randrange(1000)
        part = BLOCK[start : start + size]
        yield part if at % 3 else part.hex()


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def serve():
    async with websockets.serve(echo, "127.0.0.1", 0, **QUIET) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


def trust(authority, protocols=()):
    if authority is None:
        return None
    context = ssl.create_default_context(cafile=authority)
    # The name is of the certificate, the address of the test.
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def pieces(at, message):
    """Every hundredth message goes in frames of its own pieces."""
    return [message[:3], message[3:5], message[5:]] if at % 100 == 7 else message


async def ask(url, count, authority=None):
    async with websockets.connect(url, ssl=trust(authority), **QUIET) as socket:
        for message in LARGE:
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())

        async def say():
            for at, message in enumerate(mixed(count)):
                await socket.send(pieces(at, message))
                if at % 1000 == 0:
                    await socket.ping()

        saying = asyncio.create_task(say())
        for message in mixed(count):
            assert await socket.recv() == message
        await saying
    print(f"done {count}")


class Tunnel:
    """A WebSocket on one stream of HTTP/2."""

    STREAM = 1

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(config)
        self.frames = Protocol(CLIENT, max_size=None)
        self.widened = asyncio.Event()
        self.settled = self.answered = self.ended = False

    async def open(self, url):
        self.connection.initiate_connection()
        # All that it is sent may be under way.
        window = (1 << 31) - 1 - 65535
        self.connection.increment_flow_control_window(window)
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        while not self.settled:
            await self.read()
        settings = self.connection.remote_settings
        assert settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1
        scheme = {"ws": "http", "wss": "https"}[url.scheme]
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", scheme),
                (":path", "/"), (":authority", url.netloc), ("sec-websocket-version", "13")]
        self.connection.send_headers(self.STREAM, head)
        while not self.answered:
            await self.read()

    async def read(self):
        """Takes in what comes next; gives the frames that were in it."""
        self.writer.write(self.connection.data_to_send())
        data = await self.reader.read(1 << 18)
        assert data, "the connection ended"
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.frames.receive_data(event.data)
                size = event.flow_controlled_length
                self.connection.acknowledge_received_data(size, event.stream_id)
            elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
                self.settled = True
                self.widened.set()
            elif isinstance(event, h2.events.ResponseReceived):
                assert dict(event.headers)[":status"] == "200", event.headers
                self.answered = True
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise SystemExit(f"{event}")
        self.writer.write(self.connection.data_to_send())
        return self.frames.events_received()

    async def write(self, data):
        data = memoryview(data)
        while data:
            room = min(self.connection.local_flow_control_window(self.STREAM),
                       self.connection.max_outbound_frame_size, len(data))
            if room == 0:
                self.widened.clear()
                await self.widened.wait()
                continue
            self.connection.send_data(self.STREAM, bytes(data[:room]))
            data = data[room:]
            self.writer.write(self.connection.data_to_send())
            await self.writer.drain()

    def put(self, message, fin=True, opcode=None):
        data = message.encode() if isinstance(message, str) else message
        if opcode is Opcode.CONT:
            self.frames.send_continuation(data, fin)
        elif isinstance(message, str):
            self.frames.send_text(data, fin)
        else:
            self.frames.send_binary(data, fin)

    async def say(self, messages):
        held = bytearray()
        for at, message in enumerate(messages):
            parts = pieces(at, message)
            if isinstance(parts, list):
                self.put(parts[0], False)
                self.put(parts[1], False, Opcode.CONT)
                self.put(parts[2], True, Opcode.CONT)
            else:
                self.put(message)
            if at % 1000 == 0:
                self.frames.send_ping(b"there?")
            held += b"".join(self.frames.data_to_send())
            if len(held) >= BATCH:
                await self.write(held)
                held = bytearray()
        await self.write(held)

    async def hear(self, messages):
        expected, pongs = iter(messages), 0
        wanted = next(expected, None)
        parts = []
        while wanted is not None:
            for frame in await self.read():
                if frame.opcode is Opcode.PONG:
                    pongs += 1
                    continue
                parts.append(bytes(frame.data))
                if not frame.fin:
                    continue
                whole, parts = b"".join(parts), []
                assert whole == (wanted.encode() if isinstance(wanted, str) else wanted)
                wanted = next(expected, None)
        return pongs


async def ask2(url, count, authority=None):
    parts = urlsplit(url)
    context = trust(authority, ["h2"])
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context,
                                                   limit=1 << 18)
    tunnel = Tunnel(reader, writer)
    await tunnel.open(parts)

    def messages():
        yield from LARGE
        yield from mixed(count)

    saying = asyncio.create_task(tunnel.say(messages()))
    pongs = await tunnel.hear(messages())
    await saying
    assert pongs >= count // 1000, pongs
    tunnel.frames.send_close(1000)
    await tunnel.write(b"".join(tunnel.frames.data_to_send()))
    while not tunnel.ended:
        await tunnel.read()
    print(f"done {count}")


def main():
    name, *rest = sys.argv[1:]
    if name == "serve":
        return asyncio.run(serve())
    url, count, *authority = rest
    return asyncio.run({"ask": ask, "ask2": ask2}[name](url, int(count), *authority))


if __name__ == "__main__":
    main()
