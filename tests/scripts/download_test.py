import os
import socket
import tempfile
import threading
import unittest
import urllib.request

import paths  # noqa: F401

import download


def answer_once(listener, data):
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(data)


class DownloadTest(unittest.TestCase):
    def refused(self, data):
        """A server's answer of these bytes is a DownloadError, after which fetch-backbone goes on to npm."""
        with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as folder:
            thread = threading.Thread(target=answer_once, args=(listener, data))
            thread.start()
            try:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/file"
                with self.assertRaises(download.DownloadError):
                    download.http(url, os.path.join(folder, "file"), 1 << 20)
            finally:
                thread.join()

    def setUp(self):
        proxies = {name: os.environ.pop(name) for name in list(os.environ) if name.lower() == "http_proxy"}
        self.addCleanup(os.environ.update, proxies)

    def test_answer_that_is_not_http_is_a_download_error(self):
        self.refused(b"220 mail.example.org ESMTP\r\n\r\n")

    def test_redirect_from_https_to_http_is_refused(self):
        request = urllib.request.Request("https://127.0.0.1/file")
        redirect = download._Redirects().redirect_request
        with self.assertRaisesRegex(download.DownloadError, "got a redirect to http://x/file, want one to https"):
            redirect(request, None, 302, "Found", {}, "http://x/file")
        self.assertEqual(redirect(request, None, 302, "Found", {}, "https://x/file").full_url, "https://x/file")

    def test_answer_longer_than_the_bound_is_a_download_error(self):
        self.refused(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * ((1 << 20) + 1))

    def test_chunked_answer_that_breaks_off_is_a_download_error(self):
        self.refused(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf")


if __name__ == "__main__":
    unittest.main()
