"""astron-agent's main.py as it was measured: a wrapper that starts its server and, ended, leaves it there with the port.

wrapper.py PORT: the wrapper; wrapper.py PORT serve: what it starts. /health is 404, /openapi.json is 200.
"""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/openapi.json", "/docs") else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """It is quiet."""


port = int(sys.argv[1])
if sys.argv[2:] == ["serve"]:
    server = HTTPServer(("127.0.0.1", port), Handler)
    print(f"Uvicorn running on http://127.0.0.1:{port}", flush=True)
    server.serve_forever()
else:
    print("MYSQL_PASSWORD=of-nobody-at-all", flush=True)
    subprocess.run([sys.executable, __file__, str(port), "serve"], check=False)
