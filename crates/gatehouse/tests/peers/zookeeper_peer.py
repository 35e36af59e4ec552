#!/usr/bin/env python3
"""A client of ZooKeeper by other people (kazoo), told what to do line by line.

    zookeeper_peer.py HOSTS [digest|sasl USER PASSWORD]

A line is a word and its arguments, separated by tabs; each is answered by one line.
"""

import logging
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError
from kazoo.retry import KazooRetry
from kazoo.security import make_digest_acl


def shown(data):
    return data.decode("utf-8", "backslashreplace").replace("\n", "\\n")


def main():
    logging.disable(logging.CRITICAL)
    hosts, login = sys.argv[1], sys.argv[2:]
    more = {}
    if login and login[0] == "digest":
        more["auth_data"] = [("digest", f"{login[1]}:{login[2]}")]
    # Back as soon as the servers are, before its session expires.
    retry = KazooRetry(max_tries=-1, delay=0.05, backoff=1, max_delay=0.1)
    again = KazooRetry(max_tries=200, delay=0.05, backoff=1, max_delay=0.1)
    client = KazooClient(
        hosts=hosts, timeout=4.0, connection_retry=retry, command_retry=again, **more
    )
    client.start(timeout=30)

    def owned(user, password):
        return [make_digest_acl(user, password, all=True)]

    def ephemeral(path, data):
        # A server that dies may take the answer with it: asked again, the node is there and ours.
        try:
            return client.retry(
                client.create, path, data.encode(), ephemeral=True, makepath=True
            )
        except NodeExistsError:
            found = client.exists(path)
            if found is None or found.ephemeralOwner != client.client_id[0]:
                raise
            return path

    def stat(path):
        found = client.exists(path)
        if found is None:
            return "none"
        return f"{found.ephemeralOwner:#x} {found.version}"

    commands = {
        "create": lambda path, data: client.create(path, data.encode(), makepath=True),
        "ephemeral": ephemeral,
        "owned": lambda path, data, user, password: client.create(
            path, data.encode(), acl=owned(user, password), makepath=True
        ),
        "set": lambda path, data: client.set(path, data.encode()).version,
        "delete": lambda path: client.delete(path, recursive=True),
        "get": lambda path: shown(client.retry(client.get, path)[0]),
        "children": lambda path: " ".join(sorted(client.retry(client.get_children, path))),
        "stat": stat,
    }
    print("ready", flush=True)
    for line in sys.stdin:
        word, *arguments = line.rstrip("\n").split("\t")
        arguments = [text.replace("\\n", "\n") for text in arguments]
        try:
            print("ok", commands[word](*arguments), flush=True)
        except NoNodeError:
            print("none", flush=True)
        except KazooException as error:
            print("error", type(error).__name__, error, flush=True)
    client.stop()


main()
