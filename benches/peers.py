"""What a shop would run in espm's place, each as its packages and documents suggest."""

import json
import os

from place import USER, answers, free_port, run
from shop import HERE, class_names

WRONG = "0" * 48


class Target:
    """Something that is asked for the list: where, with which key; the processes whose memory counts."""

    def __init__(self, name, url, psk="", roots=(), refused=False):
        self.name, self.url, self.psk, self.roots, self.refused = name, url, psk, roots, refused
        self.slow = self.health = None


class Peers:
    """CherryPy and webhook with TLS of their own, fcgiwrap and a static file behind nginx."""

    def __init__(self, place, console, shop, cherrypy):
        self.place, self.console, self.shop = place, console, shop
        self.port = free_port()
        self.psk = "b" * 48
        # www-data has to read it; it is thrown away with the rest.
        run(["install", "-d", "-m", "0755", place.path("peers")])
        self.certificate, self.key = place.path("peers", "cert.pem"), place.path("peers", "key.pem")
        run(["install", "-m", "0644", shop.certificate, self.certificate])
        run(["install", "-o", USER, "-m", "0600", shop.certificate.replace(".pem", ".key"), self.key])
        self.cherrypy, self.webhook = self.start_cherrypy(cherrypy), self.start_webhook()
        self.fcgiwrap = {at_once: self.start_fcgiwrap(at_once) for at_once in (1, 8)}
        body = json.dumps({"as_of": "2026-11-24T00:00:00Z", "classes": class_names()})
        place.directory("peers", "static")
        place.write("peers", "static", "classes.json", text=body)

    def start_cherrypy(self, site):
        own = self.place.path("peers", "site")
        run(["cp", "-r", site, own])
        port = free_port()
        process = self.place.start(
            "cherrypy",
            ["/usr/bin/python3", "-B", os.path.join(self.copy("cherry.py")), str(port), self.certificate, self.key,
             self.psk, self.console.stub, self.console.slow_stub],
            environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": own},
        )
        self.place.wait_until("CherryPy listens", lambda: answers(port))
        target = Target("CherryPy daemon", f"https://127.0.0.1:{port}/classes", self.psk, [process.pid])
        target.slow, target.health = f"https://127.0.0.1:{port}/slow", f"https://127.0.0.1:{port}/health"
        return target

    def start_webhook(self):
        port = free_port()

        def hook(name, command):
            key = {"type": "value", "value": self.psk, "parameter": {"source": "header", "name": "X-ESPM-PSK"}}
            return {
                "id": name, "execute-command": command, "include-command-output-in-response": True,
                "trigger-rule": {"match": key}, "trigger-rule-mismatch-http-response-code": 401,
            }

        hooks = [hook("classes", self.console.stub), hook("slow", self.console.slow_stub)]
        file = self.place.write("peers", "hooks.json", text=json.dumps(hooks))
        process = self.place.start(
            "webhook",
            ["webhook", "-hooks", file, "-ip", "127.0.0.1", "-port", str(port), "-secure", "-cert", self.certificate,
             "-key", self.key],
        )
        self.place.wait_until("webhook listens", lambda: answers(port))
        target = Target("webhook", f"https://127.0.0.1:{port}/hooks/classes", self.psk, [process.pid])
        target.slow, target.health = f"https://127.0.0.1:{port}/hooks/slow", f"https://127.0.0.1:{port}/"
        return target

    def start_fcgiwrap(self, at_once):
        socket = self.place.path("console", f"fcgiwrap-{at_once}.sock")
        process = self.place.start(f"fcgiwrap-{at_once}", ["fcgiwrap", "-c", str(at_once), "-s", f"unix:{socket}"])
        self.place.wait_until("fcgiwrap listens", lambda: answers(socket))
        base = f"https://127.0.0.1:{self.port}/{at_once}"
        name = "fcgiwrap + sh, 1 process" if at_once == 1 else f"fcgiwrap + sh, {at_once} processes"
        target = Target(name, f"{base}/classes", self.psk, [process.pid])
        target.slow, target.health, target.socket = f"{base}/slow", f"{base}/health", socket
        return target

    def copy(self, name):
        to = self.place.path("peers", name)
        run(["install", "-m", "0755", os.path.join(HERE, "peers", name), to])
        return to

    def server(self):
        """Their server for nginx, with the TLS that espm's vhost has."""
        script = self.copy("helper.cgi")
        locations = ""
        for at_once, target in self.fcgiwrap.items():
            locations += f"""
    location ~ ^/{at_once}(/.*)$ {{
        include /etc/nginx/fastcgi_params;
        fastcgi_param SCRIPT_FILENAME {script};
        fastcgi_param SCRIPT_NAME $1;
        fastcgi_param KEY {self.psk};
        fastcgi_param COMMAND {self.console.stub};
        fastcgi_param SLOW_COMMAND {self.console.slow_stub};
        fastcgi_read_timeout 300s;
        fastcgi_pass unix:{target.socket};
    }}"""
        return f"""
include /etc/nginx/mime.types;
server {{
    listen 127.0.0.1:{self.port} ssl http2;
    ssl_certificate {self.certificate};
    ssl_certificate_key {self.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    access_log {self.place.path("peers.access.log")};
    root {self.place.path("peers", "static")};
{locations}
}}"""

    def static(self, nginx):
        return Target("nginx, static file", f"https://127.0.0.1:{self.port}/classes.json", roots=[nginx.pid])
