"""Requests over HTTP/2 in clear text at a fixed rate, by the h2 package, from a client that does
what RFC 9113 section 6.8 says: on GOAWAY it asks on a new connection, and asks again only for what the
server says it did nothing about.

    paced_h2.py PORT RATE CONNECTIONS    says `begun`; tells what it saw once its input ends
"""

import asyncio
import json
import sys
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

HOST, PATH = "127.0.0.1", "/bytes/1024"
BODY_BYTES = 1024
FRAME_HEAD_BYTES = 9
# How long an answer may take, and how long is waited for the last ones.
ANSWER_SECONDS, LAST_SECONDS = 5.0, 2.0


class Seen:
    def __init__(self):
        self.answered = self.again = self.connections = 0
        self.failed: list[str] = []
        self.took: list[float] = []

    def told(self) -> str:
        took = sorted(self.took) or [0.0]
        within = lambda share: took[min(int(share * len(took)), len(took) - 1)] * 1e3
        return json.dumps({"answered": self.answered, "failed": self.failed, "again": self.again,
                           "connections": self.connections, "p50": within(0.5),
                           "p99": within(0.99), "max": took[-1] * 1e3})


class Request:
    """One request; its answer is awaited, wherever it comes from in the end."""

    def __init__(self, due: float):
        self.due = due
        self.status: str | None = None
        self.bytes = 0


class Connection:
    def __init__(self, seen: Seen, retry):
        self.seen, self.retry = seen, retry
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.streams: dict[int, Request] = {}
        # Nothing new is asked here.
        self.going = False

    async def open(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection(HOST, port)
        self.seen.connections += 1
        self.h2.initiate_connection()
        self.flush()
        self.task = asyncio.create_task(self.read())

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def ask(self, request: Request) -> None:
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = request
        self.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":path", PATH),
                                      (":authority", "test")], end_stream=True)
        self.flush()

    async def read(self) -> None:
        why = "closed"
        try:
            while True:
                head = await self.reader.readexactly(FRAME_HEAD_BYTES)
                body = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                for event in self.h2.receive_data(head + body):
                    self.take(event)
                self.flush()
        except asyncio.IncompleteReadError:
            pass
        except (OSError, h2.exceptions.ProtocolError) as error:
            why = f"{type(error).__name__}: {error}"
        self.going = True
        for request in self.streams.values():
            self.seen.failed.append(f"connection {why}")
        self.streams.clear()
        self.writer.close()

    def take(self, event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            if event.stream_id in self.streams:
                self.streams[event.stream_id].status = dict(event.headers)[":status"]
        elif isinstance(event, h2.events.DataReceived):
            if event.stream_id in self.streams:
                self.streams[event.stream_id].bytes += len(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answered(self.streams.pop(event.stream_id, None))
        elif isinstance(event, h2.events.StreamReset):
            self.reset(self.streams.pop(event.stream_id, None), event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.leave(event.last_stream_id or 0)

    def answered(self, request: Request | None) -> None:
        if request is None:
            return
        if request.status == "200" and request.bytes == BODY_BYTES:
            self.seen.answered += 1
            self.seen.took.append(time.monotonic() - request.due)
        else:
            self.seen.failed.append(f"status {request.status}, {request.bytes} bytes")

    def reset(self, request: Request | None, code: int) -> None:
        if request and code == h2.errors.ErrorCodes.REFUSED_STREAM:
            self.retry(request)
        elif request:
            self.seen.failed.append(f"reset {code}")

    def leave(self, last: int) -> None:
        """What is above the last one was not looked at, and is asked for again."""
        self.going = True
        # The package takes a GOAWAY for the end, and would refuse the answers that still come.
        self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        for stream in [number for number in self.streams if number > last]:
            self.retry(self.streams.pop(stream))


class Client:
    """Connections in turn, each replaced when it is going."""

    def __init__(self, port: int, count: int):
        self.port, self.seen = port, Seen()
        self.places: list[Connection | None] = [None] * count
        self.locks = [asyncio.Lock() for _ in range(count)]
        self.turn = 0
        self.tasks: set[asyncio.Task] = set()

    async def ask(self, request: Request) -> None:
        at = self.turn = (self.turn + 1) % len(self.places)
        async with self.locks[at]:
            connection = self.places[at]
            if connection is None or connection.going:
                connection = Connection(self.seen, self.ask_again)
                try:
                    await asyncio.wait_for(connection.open(self.port), ANSWER_SECONDS)
                except (OSError, TimeoutError) as error:
                    self.seen.failed.append(f"connect {type(error).__name__}: {error}")
                    return
                self.places[at] = connection
        try:
            connection.ask(request)
        except h2.exceptions.ProtocolError as error:
            self.seen.failed.append(f"{type(error).__name__}: {error}")

    def ask_again(self, request: Request) -> None:
        self.seen.again += 1
        request.status, request.bytes = None, 0
        self.start(request)

    def start(self, request: Request) -> None:
        task = asyncio.create_task(self.ask(request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def open_streams(self) -> int:
        return sum(len(place.streams) for place in self.places if place)


async def main(port: int, rate: int, count: int) -> None:
    client, ended = Client(port, count), asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    print("begun", flush=True)
    begun, number = time.monotonic(), 0
    while not ended.done():
        now = time.monotonic()
        while begun + number / rate <= now:
            client.start(Request(begun + number / rate))
            number += 1
        await asyncio.sleep(max(begun + number / rate - time.monotonic(), 0))
    end = time.monotonic() + LAST_SECONDS
    while (client.open_streams() or client.tasks) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    told = json.loads(client.seen.told())
    print(json.dumps(told | {"asked": number, "unanswered": client.open_streams()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*(int(argument) for argument in sys.argv[1:4])))
