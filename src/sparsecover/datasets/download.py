"""Downloads that go on where they stopped, are checked, and are unpacked safely."""

import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from sparsecover.datasets.known import KnownDataset, RemoteFile
from sparsecover.errors import DataError, OutputError

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all (0 where the server does not tell)."""

_CHUNK = 2**20
_ATTEMPTS = 5
_TIMEOUT_S = 60.0
_PAUSE_S = 1.0


def get_dataset(known: KnownDataset, root: Path, progress: Progress | None = None) -> Path:
    """Download and unpack a dataset into ``root``; what is there already is left alone.

    Returns:
        ``root``, for ``data.root``.

    Raises:
        DataError: the dataset must be fetched by hand (the message lists the steps), the server fails, or a checksum
            does not fit.
        OutputError: the disk is full, or ``root`` holds a part of that name that this download did not make.
    """
    if known.holds and all((root / name).is_dir() for name in known.holds):
        return root
    if not known.files:
        raise DataError(f"{known.title} cannot be downloaded without a login:\n{known.steps.format(root=root)}")
    archives = root / ".download"
    if not archives.exists():
        _check_free(root, known.holds)  # before gigabytes are fetched for nothing
    archives.mkdir(parents=True, exist_ok=True)
    unpacked = [unpack(download(file, archives, progress)) for file in known.files]
    parts = [part for folder in unpacked for part in folder.iterdir()]
    _check_free(root, [part.name for part in parts])
    for part in sorted(parts, key=lambda part: part.name in known.holds):  # those last: they tell that all is there
        part.replace(root / part.name)
    missing = [name for name in known.holds if not (root / name).is_dir()]
    if missing:
        raise DataError(
            f"The archives of {known.name} do not hold {', '.join(missing)}; the publisher changed them. If a folder "
            f"was removed by hand, delete {archives} and run the command again."
        )
    shutil.rmtree(archives)
    return root


def download(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch one file; a part from an earlier attempt is completed. The name appears only once the checksum fits."""
    path = folder / file.name
    part = folder / f"{file.name}.part"
    if path.is_file():
        return path
    if not file.url.startswith(("http://", "https://")):
        raise DataError(f"Only http and https addresses are downloaded; given {file.url}.")
    for attempt in range(_ATTEMPTS):
        try:
            _fetch(file.url, part, progress)
            break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            final = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
            if final or attempt == _ATTEMPTS - 1:
                raise DataError(
                    f"{file.url} cannot be downloaded: {error}. "
                    f"What has arrived is kept in {part}; run the command again."
                ) from error
            time.sleep(_PAUSE_S * 2**attempt)
        except OSError as error:
            raise OutputError(
                f"{part} cannot be written: {error.strerror}. Free some space and run it again."
            ) from error
    found = _md5(part)
    if found != file.md5:
        part.unlink()
        raise DataError(
            f"{file.url} has the MD5 checksum {found}, expected {file.md5}. It was deleted; download it again."
        )
    part.rename(path)
    return path


def unpack(archive: Path) -> Path:
    """Unpack a .zip or .tar.gz beside itself; links and names that lead elsewhere are refused.

    Returns:
        The folder with what the archive holds; it has its name only once it is whole, and is then not made again.

    Raises:
        DataError: not an archive, or an unsafe one; OutputError: the disk is too small.
    """
    whole, temporary = (archive.with_name(f"{archive.name}.{state}") for state in ("unpacked", "unpacking"))
    if whole.is_dir():
        return whole
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, temporary)
        else:
            _unpack_tar(archive, temporary)
        return temporary.rename(whole)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}. Delete it and run the command again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(root: Path, names: Iterable[str]) -> None:
    """Refuse to replace what this download did not put there."""
    if taken := [str(root / name) for name in names if (root / name).exists()]:
        raise OutputError(
            f"{', '.join(taken)} is there already, and the download would replace it. Move or delete it, or name "
            "another folder for the dataset."
        )


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    """Append what is missing to ``part``."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing is left to send: the checksum decides
            error.close()
            return
        raise
    with response:
        resumed = response.status == 206
        done = done if resumed else 0
        left = int(response.headers.get("Content-Length") or 0)
        total = done + left if left else 0
        with part.open("ab" if resumed else "wb") as out:
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        if total and done < total:
            raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check_room(sum(member.file_size for member in members), folder)
        for member in members:
            name = PurePosixPath(member.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in member.filename:
                raise DataError(
                    f"{archive} holds the name {member.filename!r}, which leads elsewhere; it was not unpacked."
                )
        file.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        members = file.getmembers()
        _check_room(sum(member.size for member in members), folder)
        if any(member.issym() or member.islnk() for member in members):
            raise DataError(f"{archive} holds links; it was not unpacked.")
        file.extractall(folder, filter="data")


def _check_room(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(f"Unpacking needs {needed / 1e9:.1f} GB in {folder}; only {free / 1e9:.1f} GB are free.")
