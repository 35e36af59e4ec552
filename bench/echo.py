"""WebSockets that echo, by the websockets package: an origin, and clients that never pause.

    echo.py serve PORT           echoes until it is ended
    echo.py hold PORT COUNT      says `open COUNT`; tells what it saw once its input ends
"""

import asyncio
import json
import os
import sys
import time

import websockets
from websockets.exceptions import ConnectionClosed, InvalidHandshake

HOST = "127.0.0.1"
# Each sends so often, and waits so long for what it sent.
EVERY_SECONDS, ECHO_SECONDS = 0.5, 10.0
CONNECT_SECONDS, REST_SECONDS = 10.0, 0.05


class Seen:
    """What all clients saw. Times are of the clock that all processes share."""

    def __init__(self):
        self.echoes = self.wrong = 0
        self.longest = 0.0
        self.drops: list[dict] = []
        self.refused: list[str] = []

    def told(self) -> str:
        return json.dumps({"echoes": self.echoes, "wrong": self.wrong, "drops": self.drops,
                           "refused": self.refused, "longest_ms": self.longest * 1e3})


async def echo(socket) -> None:
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


async def origin(port: int) -> None:
    async with websockets.serve(echo, HOST, port, ping_interval=None):
        await asyncio.Future()


async def client(number: int, port: int, seen: Seen, opened: asyncio.Queue) -> None:
    """One WebSocket; another in its place as soon as it is dropped."""
    while True:
        try:
            async with websockets.connect(f"ws://{HOST}:{port}/echo", ping_interval=None,
                                          open_timeout=CONNECT_SECONDS) as socket:
                opened.put_nowait(number)
                await converse(number, socket, seen)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
            seen.drops.append({"at": time.monotonic(), "code": code})
        except (OSError, TimeoutError, InvalidHandshake) as error:
            seen.refused.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(REST_SECONDS)


async def converse(number: int, socket, seen: Seen) -> None:
    # They do not all speak at once.
    await asyncio.sleep(number % 100 / 100 * EVERY_SECONDS)
    turn = 0
    while True:
        turn += 1
        said, begun = f"{number}/{turn}", time.monotonic()
        await socket.send(said)
        heard = await asyncio.wait_for(socket.recv(), ECHO_SECONDS)
        took = time.monotonic() - begun
        seen.longest = max(seen.longest, took)
        seen.echoes += 1
        seen.wrong += heard != said
        await asyncio.sleep(max(EVERY_SECONDS - took, 0))


async def hold(port: int, count: int) -> None:
    seen, opened = Seen(), asyncio.Queue()
    clients = [asyncio.create_task(client(number, port, seen, opened)) for number in range(count)]
    for _ in range(count):
        await asyncio.wait_for(opened.get(), CONNECT_SECONDS)
    print(f"open {count}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    alive = sum(not task.done() for task in clients)
    print(json.dumps({"alive": alive} | json.loads(seen.told())), flush=True)
    # Nobody waits for so many goodbyes.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(origin(int(sys.argv[2])))
    else:
        asyncio.run(hold(int(sys.argv[2]), int(sys.argv[3])))
