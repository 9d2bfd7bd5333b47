"""A web server on a free local port that answers well and badly, for the tests of downloads."""
import http.server
import threading


class _Handler(http.server.BaseHTTPRequestHandler):
    """/good/..., /cut/... and so on all serve the same file; /redirect/X leads to /good/X."""

    def do_GET(self):
        kind = self.path.split("/")[1]
        body = self.server.body
        if kind in ("redirect", "elsewhere"):
            self.send_response(302)
            target = self.path.replace("/redirect/", "/good/") if kind == "redirect" else "ftp://127.0.0.1/file"
            self.send_header("Location", target)
            self.end_headers()
            return
        if kind not in ("good", "unsized", "cut", "long", "short", "wrong", "huge"):
            self.send_error(404)
            return
        announced = {"long": len(body) + 100, "short": len(body) - 100, "huge": 1 << 40}.get(kind, len(body))
        self.send_response(200)
        if kind != "unsized":
            self.send_header("Content-Length", str(announced))
        self.end_headers()
        if kind == "cut":
            body = body[:len(body) // 2]
        elif kind == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class WebServer:
    def __init__(self, body):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.body = body
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
