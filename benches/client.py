"""A small HTTPS client that many at once can be of, and that trusts one certificate."""

import asyncio
import json
import resource
import ssl
import time
import urllib.parse


def trusting(certificate):
    return ssl.create_default_context(cafile=certificate)


def allow_connections(count):
    """A descriptor for each, and some more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1024), hard))


class Closed(Exception):
    """The server closed the connection before it answered: it waits only so long for a request."""


class Answer:
    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds


class Connection:
    """Stays open until it is closed."""

    def __init__(self, context, url):
        self.context, self.parts = context, urllib.parse.urlsplit(url)
        self.streams = None

    async def ask(self, method, path, psk, body=None, key=None):
        start = time.monotonic()
        if self.streams is None:
            self.streams = await asyncio.open_connection(
                self.parts.hostname, self.parts.port, ssl=self.context, ssl_handshake_timeout=300
            )
        reader, writer = self.streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-ESPM-PSK: {psk}\r\n"
        if key is not None:
            head += f"Idempotency-Key: {key}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        writer.write(head.encode() + b"\r\n" + content)
        status_line = await reader.readline()
        if not status_line:
            raise Closed
        headers = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status_line.split()[1]), headers, body, time.monotonic() - start)

    def close(self):
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def ask_once(context, url, psk, method="GET", body=None):
    connection = Connection(context, url)
    try:
        parts = urllib.parse.urlsplit(url)
        return await connection.ask(method, parts.path, psk, body)
    finally:
        connection.close()
