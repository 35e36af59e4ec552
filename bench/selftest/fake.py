"""A server that answers by itself, rightly or wrongly: what a comparison must see through.

usage: fake.py PORT ORIGIN_PORT FOLDER GOOD WRONG

Right answers are the origin's. The first GOOD answers for bytes are right and all others WRONG:
`right`, `502`, `short` (a body half as long, and a head that says so), `other` (another body of the
same length), `cut` (a body half as long as its head says) or `silent` (the connection is closed).
Its id is left in FOLDER/pid.
"""

import asyncio
import json
import os
import pathlib
import sys
import urllib.request


class Fake:
    def __init__(self, origin: str, good: int, wrong: str):
        self.origin = origin
        self.good = good
        self.wrong = wrong
        self.bodies: dict[str, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                answer, closes = self.answer(head.split(b" ")[1].decode())
                writer.write(answer)
                await writer.drain()
                if closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    def answer(self, path: str) -> tuple[bytes, bool]:
        """The answer, and whether the connection ends with it."""
        if path == "/echo":
            body = json.dumps({"fields": [["X-Forwarded-For", "127.0.0.1"]]}).encode()
            return written("200 OK", len(body), body), False
        if path not in self.bodies:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.origin}{path}") as answer:
                self.bodies[path] = answer.read()
        body = self.bodies[path]
        length = len(body)
        right = written("200 OK", length, body)
        self.good -= 1
        if self.good >= 0 or self.wrong == "right":
            return right, False
        half = body[:length // 2]
        return {
            "502": (written("502 Bad Gateway", 4, b"bad\n"), False),
            "short": (written("200 OK", len(half), half), False),
            "other": (written("200 OK", length, b"o" * length), False),
            "cut": (written("200 OK", length, half), True),
            "silent": (b"", True),
        }[self.wrong]


def written(status: str, length: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nX-Origin: origin\r\nContent-Type: application/octet-stream\r\n" \
        f"Content-Length: {length}\r\n\r\n".encode() + body


async def main(port: int, folder: pathlib.Path, fake: Fake) -> None:
    server = await asyncio.start_server(fake.serve, "127.0.0.1", port, backlog=1024)
    (folder / "pid").write_text(str(os.getpid()))
    await server.serve_forever()


if __name__ == "__main__":
    _, port, origin, folder, good, wrong = sys.argv
    asyncio.run(main(int(port), pathlib.Path(folder), Fake(origin, int(good), wrong)))
