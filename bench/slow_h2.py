"""Clients of HTTP/2 that take as long as they can, by the h2 package: on half of the connections
every stream sends a byte of its body a second, on the other half it opens its window by a byte a
second.

    slow_h2.py PORT CONNECTIONS STREAMS SECONDS
"""

import asyncio
import sys
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

HOST = "127.0.0.1"
ROUND_SECONDS = 1.0
BODY_BYTES = 16 << 20
WINDOW_BYTES = 256
READ_BYTES = 65536


class Connection:
    def __init__(self, sends: bool, streams: int):
        self.sends, self.count = sends, streams
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration())
        self.streams: set[int] = set()
        self.opened = 0

    async def open(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection(HOST, port)
        if not self.sends:
            window = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
            self.h2.local_settings = h2.settings.Settings(
                client=True, initial_values={window: WINDOW_BYTES})
        self.h2.initiate_connection()
        self.writer.write(self.h2.data_to_send())
        self.task = asyncio.create_task(self.read())
        for _ in range(self.count):
            self.ask()
        self.writer.write(self.h2.data_to_send())

    def ask(self) -> None:
        stream = self.h2.get_next_available_stream_id()
        method, path = ("POST", "/drain") if self.sends else ("GET", f"/bytes/{BODY_BYTES}")
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "slow")]
        if self.sends:
            fields.append(("content-length", str(BODY_BYTES)))
        self.h2.send_headers(stream, fields, end_stream=not self.sends)
        self.streams.add(stream)
        self.opened += 1

    async def read(self) -> None:
        try:
            while data := await self.reader.read(READ_BYTES):
                for event in self.h2.receive_data(data):
                    ends = (h2.events.StreamReset, h2.events.StreamEnded)
                    if isinstance(event, ends):
                        self.streams.discard(event.stream_id)
                self.writer.write(self.h2.data_to_send())
        except (OSError, h2.exceptions.ProtocolError):
            pass
        self.streams.clear()
        self.writer.close()

    def dawdle(self) -> None:
        """A byte of every stream."""
        for stream in list(self.streams):
            try:
                if self.sends:
                    self.h2.send_data(stream, b"x")
                else:
                    self.h2.increment_flow_control_window(1, stream)
            except h2.exceptions.ProtocolError:
                self.streams.discard(stream)
        if self.streams:
            self.writer.write(self.h2.data_to_send())


async def main(port: int, connections: int, streams: int, seconds: float) -> None:
    all_ = [Connection(number % 2 == 0, streams) for number in range(connections)]
    for connection in all_:
        await connection.open(port)
    print(f"open {sum(connection.opened for connection in all_)}", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for connection in all_:
            connection.dawdle()
        await asyncio.sleep(ROUND_SECONDS)
    senders, readers = (sum(len(one.streams) for one in all_ if one.sends == sends)
                        for sends in (True, False))
    print(f"still open {senders} senders, {readers} readers", flush=True)


if __name__ == "__main__":
    words = sys.argv[1:5]
    asyncio.run(main(int(words[0]), int(words[1]), int(words[2]), float(words[3])))
