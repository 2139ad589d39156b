import hashlib
import io
import re
import socket
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sdiff.base.errors import SDiffError
from sdiff.data import download as module
from sdiff.data.download import Archive, fetch

DATA = bytes(range(256)) * 2000
MEGABYTE = 1 << 20


class Server(ThreadingHTTPServer):
    """Serves one file at every path, as configured by a test. Records the requested ranges and the bytes to send."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.status, self.location = DATA, '"1"', 200, ""
        self.cut = None  # closes the connection after this many bytes
        self.ranges = self.tells_length = True
        self.asked, self.sent = [], []

    def url(self, name="x.bin"):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        s, wanted = self.server, self.headers["Range"]
        s.asked.append(wanted)
        status, start = s.status, 0
        if wanted and s.ranges and self.headers["If-Range"] == s.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            status = 206 if start < len(s.body) else 416
        rest = s.body[start:]
        self.send_response(302 if s.location else status)
        if s.location:
            self.send_header("Location", s.location)
        if s.etag:
            self.send_header("ETag", s.etag)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(s.body) - 1}/{len(s.body)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(s.body)}")
        if s.tells_length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        s.sent.append(len(rest[: s.cut]))  # first: the client may go on as soon as it has all
        self.wfile.write(rest[: s.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "SCHEMES", ("http",))
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parts(folder):
    """Sizes of the partial downloads. Checks that only locks are left besides them."""
    left = [path for path in (folder.parent / ".downloads").iterdir() if path.suffix != ".lock"]
    assert all(path.suffix == ".part" for path in left), left
    return [path.stat().st_size for path in left]


def zipped(*files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in files:
            archive.writestr(info, data)
    return stream.getvalue()


def tarred(*files, mode="w:gz"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for info, data in files:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def linked(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_a_file_is_downloaded_with_progress_and_no_leftovers(server, tmp_path):
    seen = []
    folder = tmp_path / "new" / "set"
    fetch(Archive(server.url(), MEGABYTE, "x.npy"), folder, lambda done, total: seen.append((done, total)))
    assert contents(folder) == {"x.npy": DATA} and parts(folder) == []
    assert seen == sorted(seen) and seen[0] == (0, len(DATA)) and seen[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize("pack", [zipped, tarred, lambda *f: tarred(*f, mode="w:bz2")], ids=["zip", "gz", "bz2"])
def test_selected_files_of_an_archive_are_extracted_under_their_target_names(server, tmp_path, pack):
    server.body = pack(("a/train.txt", b"1 2"), ("a/no.txt", b"-"), ("a/b/test.txt", b"3"))
    fetch(Archive(server.url(), MEGABYTE, {"a/train.txt": "train", "a/b/test.txt": "test"}), tmp_path / "set")
    assert contents(tmp_path / "set") == {"train": b"1 2", "test": b"3"}


@pytest.mark.parametrize("tells_length", [True, False])
def test_an_interrupted_download_requests_only_the_rest(server, tmp_path, tells_length):
    archive, folder = Archive(server.url(), MEGABYTE, "x", "md5:" + hashlib.md5(DATA).hexdigest()), tmp_path / "set"
    server.cut = 1000
    with pytest.raises(SDiffError, match=r"try again \(the download will resume\), or put x into .*set by"):
        fetch(archive, folder)
    assert parts(folder) == [1000] and not folder.exists()
    server.cut, server.tells_length, seen = None, tells_length, []
    fetch(archive, folder, lambda *progress: seen.append(progress))
    assert contents(folder) == {"x": DATA}
    assert server.asked == [None, "bytes=1000-"] and server.sent == [1000, len(DATA) - 1000]
    assert seen[0] == (1000, len(DATA))


def test_ctrl_c_keeps_the_partial_download(server, tmp_path):
    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set", interrupt)
    (kept,) = parts(tmp_path / "set")
    assert 0 < kept < len(DATA)
    fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    assert contents(tmp_path / "set") == {"x": DATA} and server.asked == [None, f"bytes={kept}-"]


@pytest.mark.parametrize(
    "change",
    [{"body": DATA[::-1], "etag": '"2"'}, {"ranges": False}, {"etag": 'W/"1"', "body": DATA[::-1]}],
    ids=["another version", "no ranges", "weak"],
)
def test_a_download_that_cannot_be_resumed_restarts(server, tmp_path, change):
    server.cut = 1000
    with pytest.raises(SDiffError):
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    vars(server).update(change, cut=None)
    fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    assert contents(tmp_path / "set") == {"x": server.body}
    assert server.sent[-1] == len(DATA), "all of it"


def test_without_an_etag_a_download_is_not_resumed(server, tmp_path):
    server.cut, server.etag = 1000, ""
    for _ in range(2):
        with pytest.raises(SDiffError):
            fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    assert server.asked == [None, None]


@pytest.mark.parametrize(("extra", "sent"), [(0, 0), (5, len(DATA))], ids=["complete", "too long"])
def test_a_complete_partial_file_is_used_and_one_that_is_too_long_restarts(server, tmp_path, extra, sent):
    server.cut = 1000
    with pytest.raises(SDiffError):
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    (part,) = (tmp_path / ".downloads").glob("*.part")
    part.write_bytes(DATA + bytes(extra))
    server.cut = None
    fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    assert contents(tmp_path / "set") == {"x": DATA}
    assert server.asked[1] == f"bytes={len(DATA) + extra}-" and server.sent[-1] == sent


def test_a_wrong_checksum_is_refused_with_both_values_and_nothing_is_kept(server, tmp_path):
    found = hashlib.sha256(DATA).hexdigest()
    with pytest.raises(SDiffError, match=f"sha256 is {found}, not 00ff"):
        fetch(Archive(server.url(), MEGABYTE, "x", "sha256:00ff"), tmp_path / "set")
    assert parts(tmp_path / "set") == [] and not (tmp_path / "set").exists()


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_above_the_size_limit_is_refused(server, tmp_path, tells_length):
    server.tells_length, seen = tells_length, []
    with pytest.raises(SDiffError, match="100000"):
        fetch(Archive(server.url(), 100_000, "x"), tmp_path / "set", lambda done, total: seen.append(done))
    assert parts(tmp_path / "set") == [] and max(seen, default=0) <= 100_000
    assert bool(seen) != tells_length, "with a stated length, nothing is downloaded"


@pytest.mark.parametrize(("status", "again"), [(404, False), (503, True), (204, True)])
def test_a_server_error_is_reported_with_advice(server, tmp_path, status, again):
    server.status, server.body = status, b""
    with pytest.raises(SDiffError, match=rf"server answers {status}.*put x into {tmp_path}/set by hand") as caught:
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    assert ("try again" in str(caught.value)) == again


def test_connection_failures_are_reported(tmp_path, monkeypatch):
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(module, "TIMEOUT", 0.2)
        hosts = [f"127.0.0.1:{s.getsockname()[1]}" for s in (silent, closed)]
        for host in (*hosts, "nowhere.invalid"):
            with pytest.raises(SDiffError, match=r"check the connection and try again"):
                fetch(Archive(f"https://{host}/x", MEGABYTE, "x"), tmp_path / "set")


def test_plain_http_is_refused_even_after_a_redirect(server, tmp_path, monkeypatch):
    server.location = "ftp://127.0.0.1/x"
    with pytest.raises(SDiffError, match=r"ftp://127.0.0.1/x is not https"):
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    monkeypatch.setattr(module, "SCHEMES", ("https",))
    with pytest.raises(SDiffError, match="is not https"):
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")
    assert len(server.asked) == 1, "the second URL was not requested"
    server.location = server.url()
    monkeypatch.setattr(module, "SCHEMES", ("http",))
    with pytest.raises(SDiffError, match="redirects"):
        fetch(Archive(server.url(), MEGABYTE, "x"), tmp_path / "set")


SYMLINK = zipfile.ZipInfo("x")
SYMLINK.create_system, SYMLINK.external_attr = 3, (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    "body",
    [
        zipped((SYMLINK, b"/etc/passwd")),
        zipped(("x/", b"")),
        tarred((linked("x", "/etc/passwd", tarfile.SYMTYPE), b"")),
        tarred(("y", b"1"), (linked("x", "y", tarfile.LNKTYPE), b"")),
        tarred((linked("x", "", tarfile.CHRTYPE), b"")),
        tarred((linked("x", "", tarfile.FIFOTYPE), b"")),
        tarred((linked("x", "", tarfile.DIRTYPE), b"")),
        zipped(("y", b"1")),
    ],
    ids=["zip link", "zip folder", "link", "hard link", "device", "pipe", "folder", "other"],
)
def test_an_archive_member_that_is_missing_or_not_regular_is_named_and_nothing_is_written(server, tmp_path, body):
    server.body = body
    with pytest.raises(SDiffError, match="does not contain x"):
        fetch(Archive(server.url(), MEGABYTE, {"x": "x.txt"}), tmp_path / "set")
    assert parts(tmp_path / "set") == [] and not (tmp_path / "set").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_outside_the_folder_are_not_extracted(server, tmp_path, pack):
    server.body = pack(("../evil", b"1"), (f"{tmp_path}/evil", b"2"), ("x", b"3"))
    fetch(Archive(server.url(), MEGABYTE, {"x": "x", "../evil": "tame"}), tmp_path / "set")
    assert contents(tmp_path / "set") == {"x": b"3", "tame": b"1"} and not list(tmp_path.rglob("evil"))
    for name in ("../evil", "/evil", "..", ".", "", "a/b", "a\\b", ".evil"):
        with pytest.raises(ValueError, match="plain file name"):
            Archive(server.url(), MEGABYTE, {"x": name})


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("wanted", ["bomb", "after"])
def test_a_zip_bomb_is_not_extracted(server, tmp_path, pack, wanted, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES", 100)
    server.body = pack(("bomb", bytes(10 * MEGABYTE)), ("after", b"1"))
    with pytest.raises(SDiffError, match="unpacks to more than"):
        fetch(Archive(server.url(), 100_000, {wanted: "x"}), tmp_path / "set")
    server.body = pack(*((str(i), b"") for i in range(module.ENTRIES)), ("after", b"1"))
    with pytest.raises(SDiffError, match="unpacks to more than"):
        fetch(Archive(server.url(), 10 * MEGABYTE, {"after": "x"}), tmp_path / "set")
    assert not (tmp_path / "set").exists() and parts(tmp_path / "set") == []
