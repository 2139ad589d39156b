"""Opens table files: checks that they are tables, and finds their encoding and line ends.

DuckDB scans a file in place if it is Parquet, or UTF-8 with uniform line ends. Other files are scanned as plain copies.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from charset_normalizer import from_bytes

from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import regular
from sdiff.data.tables.faults import NOT_ENCODED

HEAD = 1 << 16  # bytes examined to find the format and the columns
BLOCK = 1 << 23  # bytes; a quarter of DuckDB's CSV buffer
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8"}  # encodings by byte order mark
REFUSED = {  # files by their first bytes, and what to do with them
    b"PK\x03\x04": "is a spreadsheet or an archive: export the sheet as CSV, or extract the table",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet: export the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it first",
    b"BZh": "is compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "is compressed with xz: unpack it first",
    b"7z\xbc\xaf": "is an archive: extract the table",
    b"Rar!": "is an archive: extract the table",
    b"%%MatrixMarket": "is a matrix in the Matrix Market format: export it as CSV, one row for each user and item",
}
# Encodings that are proposed, by the kind of letters; any other of Python's is read if it is named.
OTHERS = ("cp1251", "gb18030", "big5", "shift_jis", "euc_kr", "cp1253", "cp1255", "cp874")
# Bytes that are letters in cp1250 but signs or rare letters in cp1252; the two of Hungarian; and letters of Western
# European languages in cp1252.
CENTRAL, HUNGARIAN = rb"[\x8a\x8d-\x8f\x9a\x9d-\x9f\xa3\xa5\xaa\xaf\xb3\xb9\xba\xbc\xbe\xbf]", rb"[\xd5\xdb\xf5\xfb]"
WESTERN = rb"[\xc0\xc7-\xc8\xca\xd1\xe0\xe3\xe5-\xe8\xea\xf1\xf8]"
KANA = {"shift_jis": rb"[\x82\x83][\x40-\xf1]", "euc_jp": rb"[\xa4\xa5][\xa1-\xf6]"}  # Japanese syllables
WILD = re.compile(r"[*?\[\]]")  # characters in a file name that DuckDB takes for patterns


@dataclass(frozen=True)
class TableFiles:
    """A table in one file, or in several files of the same format, which are read one after the other.

    Attributes:
        paths: the files.
        parquet: whether they are Parquet files. Otherwise they are text.
        encoding: the name of their encoding.
        text: the start of the first file, with \\n at the end of a line.
        whole: whether `text` is the whole table.
        garbled: whether `text` has bytes that are not in this encoding.
    """

    paths: tuple[Path, ...]
    parquet: bool
    encoding: str = "utf-8"
    text: str = ""
    whole: bool = False
    garbled: bool = False

    @classmethod
    def of(cls, paths: Sequence[Path], encoding: str = "") -> TableFiles:
        """Examines the start of the first file. Without `encoding`, it is UTF-8 or UTF-16.

        Raises:
            SDiffError: the file is missing, empty or not a table, or there is no such encoding.
        """
        path = paths[0]
        head = _head(path)
        if head.startswith(b"PAR1"):
            for each in paths:
                if is_packed(each):
                    raise SDiffError(f"{each} is compressed: unpack it first, as Parquet is compressed itself.")
                if not _head(each).startswith(b"PAR1"):
                    raise SDiffError(f"{each} is not Parquet, but {path} is: put tables of one format into the folder.")
            return cls(tuple(paths), True)
        encoding = encoding or next((e for mark, e in MARKS.items() if head.startswith(mark)), "") or _unmarked(head)
        whole = len(head) < HEAD
        try:
            decoded, garbled = _decoded(head, encoding, whole)
        except (LookupError, ValueError):  # ValueError if the name has a null character
            raise SDiffError(
                f"There is no encoding {brief(encoding)}, or {path} is not in it: use utf-8 or cp1252."
            ) from None
        if "\0" in decoded:
            raise SDiffError(
                f"Cannot read {path}: it is binary, but not Parquet. Export it as CSV, JSON lines or Parquet, or set "
                "its encoding if it is text, such as encoding=utf-16-le."
            )
        text = re.sub("\r\n?", "\n", decoded.removeprefix("\ufeff"))
        if not text.strip():
            raise SDiffError(f"{path} is empty.")
        text += "\n" if whole else ""
        return cls(tuple(paths), False, encoding, text, whole and len(paths) == 1, garbled)

    @property
    def packed(self) -> bool:
        """Whether the files are compressed."""
        return is_packed(self.paths[0])

    @property
    def suffix(self) -> str:
        """The suffix that names the format, such as .csv of ratings.csv.gz."""
        return next((s for s in map(str.lower, self.paths[0].suffixes[::-1]) if s != ".gz"), "")

    def literal_paths(self, copy: Path) -> list[Path]:
        """The paths, or those of copies where DuckDB would take a path for a pattern. `copy` is the prefix of these."""
        copies = {
            path: copy.with_name(f"{copy.name}{n}") for n, path in enumerate(self.paths) if WILD.search(str(path))
        }
        for path, target in copies.items():
            shutil.copyfile(path, target)
        return [copies.get(path, path) for path in self.paths]

    @property
    def plain(self) -> bool:
        """Whether it is one UTF-8 file, with a name that DuckDB takes for no pattern."""
        utf8 = self.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        return utf8 and len(self.paths) == 1 and not WILD.search(str(self.paths[0]))

    def survey(self) -> tuple[bool, bool]:
        """Reads the files to their ends. Returns whether all line ends are the same, and whether all lines are short.

        Long lines are those that may not fit into DuckDB's buffer.

        Raises:
            SDiffError: a gzip file is damaged, which DuckDB does not notice.
        """
        uniform, short = True, True
        for path in self.paths:
            feeds = returns = pairs = 0
            with opened(path) as file:
                for block in iter(lambda: file.read(BLOCK), b""):
                    block += file.read(1) if block.endswith(b"\r") else b""  # do not separate \r\n
                    n = block.count(b"\n")
                    short &= n > 0 or len(block) < BLOCK
                    feeds, returns = feeds + n, returns + block.count(b"\r")
                    pairs += block.count(b"\r\n") if returns else 0
            uniform &= returns == 0 or returns == pairs == feeds
        return uniform, short

    def first_lines(self) -> Iterator[str]:
        """The lines in `text`, without the last one if it may be cut."""
        return io.StringIO(self.text[: self.text.rfind("\n") + 1] or self.text)

    def lines(self, is_header: Callable[[str, Path], bool] | None = None, only: Path | None = None) -> Iterator[str]:
        """The lines of all files, each with \\n at its end. Bytes that cannot be decoded are surrogates.

        Args:
            is_header: whether the first line of another file than the first one repeats the header, and is left out.
            only: one of the files, in place of all.

        Raises:
            SDiffError: the text is not in this encoding.
        """
        for path in [only] if only else self.paths:
            later = is_header if path != self.paths[0] else None
            try:
                with opened(path) as file:
                    for n, line in enumerate(io.TextIOWrapper(file, self.encoding, errors="surrogateescape")):
                        line = line if line.endswith("\n") else line + "\n"
                        line = line if n else line.removeprefix("\ufeff")
                        if later:
                            if not line.strip() or re.fullmatch(r"sep=.\n|[%#]([^\S\n].*)?\n", line):
                                continue
                            is_again, later = later(line, path), None
                            if is_again:
                                continue
                        yield line
            except UnicodeError as error:
                raise SDiffError(f"{path} cannot be decoded as {self.encoding}: set another encoding.") from error

    def proposal(self) -> str:
        """The likely encoding of a file that is not in the given one."""
        sample = b"".join(islice(self._foreign(), 1000))
        if not sample:
            return "utf-8"
        for encoding, kana in KANA.items():
            if 3 * 2 * len(re.findall(kana, sample)) > len(re.findall(b"[\x80-\xff]", sample)):
                return encoding
        marked, latin = len(re.findall(b"[\x80-\xff]", sample)), len(re.findall(b"[A-Za-z]", sample))
        if marked > 2 * latin + 2:
            best = from_bytes(sample, cp_isolation=list(OTHERS)).best()
            hebrew = not re.search(rb"[\x80-\xdf\xfb-\xff]", sample)
            encoding = "cp1255" if hebrew else best.encoding if best else OTHERS[0]
        else:
            hungarian = re.search(HUNGARIAN, sample) and not re.search(WESTERN, sample)
            central = hungarian or 20 * len(re.findall(CENTRAL, sample)) > marked
            encoding = "cp1250" if central else "cp1252"
        return "latin-1" if encoding == "cp1252" and not re.search(b"[\x80-\x9f]", sample) else encoding

    def proposal_if_garbled(self) -> str:
        """The likely encoding if `text` is not in the given one, else an empty text."""
        return self.proposal() if self.garbled else ""

    def advice(self, prefix: str) -> str:
        """What to do about a line that is not in the encoding. `prefix` is that of the names of options."""
        proposed = self.proposal()
        return (
            f"{NOT_ENCODED} {self.encoding.upper()} (set the encoding of the file, such as "
            f"{prefix}encoding={proposed}, if {brief(self._example(proposed))} is right)"
        )

    def _example(self, encoding: str) -> str:
        """The beginning of a line that is not in UTF-8, in another encoding; empty if it cannot be decoded."""
        text = next(self._foreign(), b"").decode(encoding, errors="replace")
        place = next((n for n, letter in enumerate(text) if ord(letter) > 127), 0)
        return " ".join(text[max(place - 10, 0) : place + 20].split())

    def _foreign(self) -> Iterator[bytes]:
        """The lines that are not in UTF-8."""
        for path in self.paths:
            with opened(path) as file:
                for block in iter(lambda: file.readlines(BLOCK), []):
                    yield from (line for line in block if not _is_utf8(line))


def write(target: Path, lines: Iterable[str]) -> None:
    """Writes lines of `TableFiles.lines` to a file."""
    with target.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as out:
        out.writelines(lines)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file, decompressed. Raises SDiffError if it is missing or a damaged gzip file."""
    try:
        with gzip.open(regular(path)) if is_packed(path) else regular(path).open("rb") as file:
            yield file  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SDiffError(f"Cannot read {path}: it is not a complete gzip file ({error}). Copy it again.") from error
    except OSError as error:
        raise SDiffError(f"Cannot read {path}: {error.strerror}.") from error


def is_packed(path: Path) -> bool:
    """Whether a file is compressed, according to its name."""
    return path.suffix.lower() == ".gz"


def is_blank(path: Path) -> bool:
    """Whether a file starts with nothing but white space. Raises SDiffError like `opened`."""
    with opened(path) as file:
        return not file.read(HEAD).strip()


def _head(path: Path) -> bytes:
    """The first bytes, decompressed. Raises SDiffError if they are not those of a table."""
    with opened(path) as file:
        head = file.read(HEAD)
    if not head.strip():
        raise SDiffError(f"{path} is empty.")
    for start, advice in REFUSED.items():
        if head.startswith(start):
            raise SDiffError(f"{path} {advice}.")
    if head.startswith(b"\x1f\x8b"):
        raise SDiffError(f"{path} is compressed: rename it to end in .gz.")
    if head[257:262] == b"ustar":
        raise SDiffError(f"{path} is an archive: extract the table.")
    return head


def _decoded(head: bytes, encoding: str, whole: bool) -> tuple[str, bool]:
    """The text of the first bytes, and whether some of them are not in the encoding.

    A character that is cut at the end is left out, unless the bytes are the `whole` file.

    Raises:
        LookupError: there is no such encoding of text.
        ValueError: the encoding cannot be used, or its name is not one.
    """
    "".encode(encoding)  # raises LookupError for codecs of other things than text
    decoder = codecs.getincrementaldecoder(encoding)
    try:
        return decoder("strict").decode(head, whole), False
    except UnicodeDecodeError:
        return decoder("replace").decode(head, whole), True


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unmarked(head: bytes) -> str:
    """The encoding of a text without a byte order mark: UTF-16 if every other byte of it tends to be zero."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < max(len(head) // 4, 1):
        return "utf-8"
    return "utf-16-le" if odd > even else "utf-16-be"
