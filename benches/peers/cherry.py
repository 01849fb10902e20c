"""A daemon as the original was one: CherryPy with its own TLS, which runs the command for each request.

cherry.py PORT CERTIFICATE KEY PRESHARED_KEY COMMAND SLOW_COMMAND
"""

import hmac
import json
import subprocess
import sys

import cherrypy

port, certificate, key, preshared, command, slow_command = sys.argv[1:]


def names(program):
    given = cherrypy.request.headers.get("X-ESPM-PSK", "")
    if not hmac.compare_digest(given.encode(), preshared.encode()):
        raise cherrypy.HTTPError(401)
    output = subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout
    cherrypy.response.headers["Content-Type"] = "application/json"
    return json.dumps({"classes": output.decode().splitlines()}).encode()


class Helper:
    @cherrypy.expose
    def classes(self):
        return names(command)

    @cherrypy.expose
    def slow(self):
        return names(slow_command)

    @cherrypy.expose
    def health(self):
        return b'{"status": "ok"}'


cherrypy.config.update(
    {
        "environment": "production",
        "log.screen": False,
        "server.socket_host": "127.0.0.1",
        "server.socket_port": int(port),
        "server.ssl_module": "builtin",
        "server.ssl_certificate": certificate,
        "server.ssl_private_key": key,
    }
)
cherrypy.quickstart(Helper(), "/")
