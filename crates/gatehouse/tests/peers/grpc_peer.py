"""A real gRPC server and client (grpcio), without generated code: messages are plain bytes.

serve NAME          prints its port, then serves until it is killed
ask ADDRESS         makes calls of all kinds; prints what it has shown, a line each
balance ADDRESS N   makes N calls on one channel; prints how often each server answered
codes ADDRESS N     makes N calls on one channel; prints how often each status came
killed ADDRESS      makes calls until told to stop by a line on its input; prints what failed
web ADDRESS         makes calls of gRPC-Web, both encodings; prints what it has shown, a line each

A server whose name begins with "busy" answers every call of Name with UNAVAILABLE, one whose name
has "sick" in it says that it is not serving, and one whose name begins with "aging" ends each
connection politely after a tenth of a second.
"""

import base64
import http.client
import struct
import sys
import threading
import time
from concurrent import futures

import grpc

LARGE = 64 << 20
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class Service(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name.encode()
        self.cancelled = threading.Event()

    def service(self, details):
        method = details.method.rsplit("/", 1)[1]
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        handlers = {
            "Name": unary(self.tell_name),
            "Echo": unary(self.echo),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Chat": stream(self.chat),
            "Slow": unary(self.slow),
            "Fail": unary(self.fail),
            "Left": unary(lambda asked, call: str(call.time_remaining()).encode()),
            "Forever": grpc.unary_stream_rpc_method_handler(self.forever),
            "Cancelled": unary(lambda asked, call: str(self.cancelled.wait(5)).encode()),
            # grpc.health.v1: SERVING is 1, NOT_SERVING is 2.
            "Check": unary(lambda asked, call: b"\x08\x02" if b"sick" in self.name else b"\x08\x01"),
        }
        return handlers.get(method)

    def tell_name(self, asked, call):
        if self.name.startswith(b"busy"):
            call.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return self.name

    def echo(self, asked, call):
        sent = dict(call.invocation_metadata())
        call.send_initial_metadata((("x-first", sent.get("x-ask", "none")),))
        call.set_trailing_metadata((("x-last-bin", b"\x00\xff"),))
        return asked

    def count(self, asked, call):
        for number in range(int(asked)):
            yield str(number).encode()

    def sum(self, asked, call):
        return str(sum(int(number) for number in asked)).encode()

    def chat(self, asked, call):
        for word in asked:
            yield word.upper()

    def slow(self, asked, call):
        time.sleep(float(asked))
        return b"late"

    def fail(self, asked, call):
        call.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: \u00fc and %")

    def forever(self, asked, call):
        call.add_callback(self.cancelled.set)
        while call.is_active():
            yield b"tick"
            time.sleep(0.01)


def serve(name):
    aging = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 5000)]
    options = OPTIONS + (aging if name.startswith("aging") else [])
    server = grpc.server(futures.ThreadPoolExecutor(32), options=options)
    server.add_generic_rpc_handlers((Service(name),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


class Calls:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=OPTIONS)

    def unary(self, method, asked=b"", **more):
        return self.channel.unary_unary(f"/test.Service/{method}")(asked, **more)

    def path(self, kind, method):
        return getattr(self.channel, kind)(f"/test.Service/{method}")


def shows(what, expected, found):
    if expected != found:
        sys.exit(f"{what}: {found!r}, not {expected!r}")
    print(what, flush=True)


def code_of(make):
    try:
        make()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def ask(address):
    calls = Calls(address)
    answer, call = calls.path("unary_unary", "Echo").with_call(b"x", metadata=(("x-ask", "why"),))
    shows("unary", b"x", answer)
    shows("initial metadata", "why", dict(call.initial_metadata())["x-first"])
    shows("trailing metadata", b"\x00\xff", dict(call.trailing_metadata())["x-last-bin"])
    numbers = list(calls.path("unary_stream", "Count")(b"1000"))
    shows("server streaming", [str(n).encode() for n in range(1000)], numbers)
    total = calls.path("stream_unary", "Sum")(str(n).encode() for n in range(1000))
    shows("client streaming", b"499500", total)

    heard = []

    def words():
        for number in range(100):
            yield f"word {number}".encode()
            while len(heard) <= number:
                time.sleep(0.0005)

    for word in calls.path("stream_stream", "Chat")(words()):
        heard.append(word)
    shows("conversation", [f"WORD {n}".encode() for n in range(100)], heard)

    try:
        calls.unary("Fail")
    except grpc.RpcError as error:
        shows("status", grpc.StatusCode.FAILED_PRECONDITION, error.code())
        shows("message", "no: \u00fc and %", error.details())
    shows("unknown method", grpc.StatusCode.UNIMPLEMENTED, code_of(lambda: calls.unary("Nothing")))

    started = time.monotonic()
    late = code_of(lambda: calls.unary("Slow", b"5", timeout=0.5))
    shows("deadline", grpc.StatusCode.DEADLINE_EXCEEDED, late)
    shows("deadline in time", True, time.monotonic() - started < 2)
    left = float(calls.unary("Left", timeout=20))
    shows("time passed on", True, 18 < left < 20.5)

    endless = calls.path("unary_stream", "Forever")(b"")
    for _ in range(5):
        next(endless)
    endless.cancel()
    shows("cancellation", b"True", calls.unary("Cancelled"))

    large = bytes(range(256)) * (LARGE // 256)
    shows("64 MiB", True, calls.unary("Echo", large) == large)

    names = [calls.path("unary_unary", "Name").future(b"") for _ in range(1000)]
    shows("a thousand at once", 1000, sum(1 for name in names if name.result()))


def balance(address, count):
    calls = Calls(address)
    names = [calls.unary("Name").decode() for _ in range(int(count))]
    for name in sorted(set(names)):
        print(name, names.count(name), flush=True)


def codes(address, count):
    calls = Calls(address)
    name = calls.path("unary_unary", "Name")
    codes = []
    # A few under way at once.
    for at in range(0, int(count), 20):
        asked = [name.future(b"") for _ in range(min(20, int(count) - at))]
        codes += [code_of(one.result).name for one in asked]
    for code in sorted(set(codes)):
        print(code, codes.count(code), flush=True)


def web_call(address, kind, method, asked):
    """Asks over HTTP/1.1; gives messages, trailers (from wherever they stand), and the head."""
    text = kind.startswith("application/grpc-web-text")
    framed = struct.pack(">BI", 0, len(asked)) + asked
    connection = http.client.HTTPConnection(address, timeout=20)
    fields = {"content-type": kind, "x-grpc-web": "1", "x-ask": "why"}
    body = base64.b64encode(framed) if text else framed
    connection.request("POST", f"/test.Service/{method}", body, fields)
    answer = connection.getresponse()
    head = {name.lower(): value for name, value in answer.getheaders()}
    shows_quietly(kind.split("+")[0], head["content-type"].split("+")[0])
    body = answer.read()
    if text:
        # Each piece may be padded by itself.
        body = b"".join(base64.b64decode(body[at : at + 4]) for at in range(0, len(body), 4))
    messages, trailers = [], {k: v for k, v in head.items() if k.startswith("grpc-")}
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        part, body = body[5 : 5 + size], body[5 + size :]
        shows_quietly(size, len(part))
        if flags & 0x80:
            shows_quietly(b"", body)
            lines = part.decode().split("\r\n")
            trailers |= dict(line.split(":", 1) for line in lines if line)
        else:
            messages.append(part)
    return messages, {name: value.strip() for name, value in trailers.items()}, head


def shows_quietly(expected, found):
    if expected != found:
        sys.exit(f"{found!r}, not {expected!r}")


def web(address):
    for name in ["grpc-web", "grpc-web-text"]:
        ask = lambda method, asked=b"": web_call(address, f"application/{name}+proto", method, asked)
        messages, trailers, head = ask("Echo", b"hello")
        shows(f"{name} unary", ([b"hello"], "0"), (messages, trailers["grpc-status"]))
        shows(f"{name} metadata", ("why", "AP8"), (head["x-first"], trailers["x-last-bin"]))
        messages, trailers, _ = ask("Count", b"1000")
        shows(f"{name} stream", [str(n).encode() for n in range(1000)], messages)
        messages, trailers, _ = ask("Fail")
        told = (messages, trailers["grpc-status"], trailers["grpc-message"])
        shows(f"{name} status", ([], "9", "no: %C3%BC and %25"), told)
        large = bytes(range(256)) * 20000
        shows(f"{name} large", [large], ask("Echo", large)[0])


def killed(address):
    calls = Calls(address)
    failed, done = [], 0
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    print("ready", flush=True)
    while not stop.is_set():
        code = code_of(lambda: calls.unary("Name", timeout=5))
        done += 1
        if code != grpc.StatusCode.OK:
            failed.append(code.name)
    print(done, len(failed), *sorted(set(failed)), flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
