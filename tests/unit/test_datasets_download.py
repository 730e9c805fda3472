"""Downloads from a local server: resuming, checksums, unpacking, and what is refused."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from file_server import Server, serving
from sparsecover.datasets import KNOWN, download, find_known, get_dataset
from sparsecover.datasets.known import KnownDataset, RemoteFile
from sparsecover.errors import DataError, OutputError


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "_PAUSE_S", 0.0)
    with serving() as address:
        yield address


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if link:
            member = tarfile.TarInfo("images/link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    return buffer.getvalue()


def offered(address: str, **archives: bytes) -> KnownDataset:
    """A dataset of these archives on the server."""
    files = []
    for name, data in archives.items():
        path = f"/{name.replace('_', '.')}"
        Server.content[path] = data
        files.append(RemoteFile(address + path, hashlib.md5(data).hexdigest()))
    return KnownDataset("toy", "Toy", "folder", "none", address, tuple(files), ("images",))


FILES = {"images/a.txt": b"a" * 5000, "masks/a.txt": b"b" * 5000}


def test_archives_are_downloaded_and_unpacked_once(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES), two_tar_gz=tarred({"lists/train.txt": b"a"}))
    seen = []
    root = get_dataset(known, tmp_path / "toy", lambda done, total: seen.append((done, total)))
    assert (root / "images" / "a.txt").read_bytes() == FILES["images/a.txt"]
    assert (root / "lists" / "train.txt").read_bytes() == b"a"
    assert sorted(p.name for p in root.iterdir()) == ["images", "lists", "masks"]
    assert seen[-1][0] == seen[-1][1] > 0
    before = len(Server.asked)
    get_dataset(known, root)
    assert len(Server.asked) == before


def test_a_broken_connection_is_resumed(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES))
    Server.break_after = [3000, 3000]
    get_dataset(known, tmp_path)
    assert [asked for _, asked in Server.asked] == [None, "bytes=3000-", "bytes=6000-"]
    assert (tmp_path / "masks" / "a.txt").is_file()


def test_a_download_stopped_in_an_earlier_run_goes_on(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES))
    part = tmp_path / ".download" / "one.zip.part"
    part.parent.mkdir()
    part.write_bytes(Server.content["/one.zip"][:1234])
    get_dataset(known, tmp_path)
    assert Server.asked[0][1] == "bytes=1234-"


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES))
    part = tmp_path / ".download" / "one.zip.part"
    part.parent.mkdir()
    part.write_bytes(Server.content["/one.zip"])
    get_dataset(known, tmp_path)
    assert (tmp_path / "images").is_dir()


def test_a_server_without_ranges_starts_again(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES))
    Server.ranges = False
    Server.break_after = [3000]
    get_dataset(known, tmp_path)
    assert (tmp_path / "images" / "a.txt").read_bytes() == FILES["images/a.txt"]


def test_folders_of_the_user_are_left_alone(server, tmp_path):
    known = replace(offered(server, one_zip=zipped(FILES)), holds=("images", "masks"))
    mine = tmp_path / "images" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(OutputError, match=r"images is there already.*Move or delete it"):
        get_dataset(known, tmp_path)
    assert mine.read_text() == "years of work"
    assert Server.asked == []  # gigabytes are not fetched for nothing


def test_files_of_the_user_are_left_alone_and_the_download_waits_for_room(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES | {"train.txt": b"theirs"}))
    (tmp_path / "train.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"train\.txt is there already"):
        get_dataset(known, tmp_path)
    assert (tmp_path / "train.txt").read_text() == "mine"
    assert not (tmp_path / "images").exists()
    (tmp_path / "train.txt").rename(tmp_path / "my_train.txt")
    get_dataset(known, tmp_path)
    assert (tmp_path / "train.txt").read_bytes() == b"theirs"
    assert len(Server.asked) == 1


@pytest.mark.parametrize("stopped_at", [1, 2, 3])
def test_a_download_stopped_while_it_is_unpacked_goes_on(server, tmp_path, monkeypatch, stopped_at):
    lists = tarred({"lists/train.txt": b"a"})
    known = replace(offered(server, one_zip=zipped(FILES), two_tar_gz=lists), holds=("images", "masks"))
    replace_path, moved = Path.replace, []

    def stopping(path, target):
        moved.append(target)
        if len(moved) == stopped_at:
            raise KeyboardInterrupt
        return replace_path(path, target)

    monkeypatch.setattr(Path, "replace", stopping)
    with pytest.raises(KeyboardInterrupt):
        get_dataset(known, tmp_path)
    get_dataset(known, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "lists", "masks"]
    assert (tmp_path / "masks" / "a.txt").read_bytes() == FILES["masks/a.txt"]
    assert len(Server.asked) == 2


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES))
    known = replace(known, files=(replace(known.files[0], md5="0" * 32),))
    with pytest.raises(DataError, match="MD5 checksum"):
        get_dataset(known, tmp_path)
    assert list(tmp_path.rglob("*.zip*")) == []
    assert not (tmp_path / "images").exists()


def test_a_missing_file_fails_at_once_and_a_dead_server_after_some_attempts(server, tmp_path):
    known = offered(server, one_zip=zipped(FILES))
    Server.content.clear()
    with pytest.raises(DataError, match="404"):
        get_dataset(known, tmp_path)
    assert len(Server.asked) == 1
    dead = replace(known, files=(RemoteFile("http://127.0.0.1:9/x.zip", "0"),))
    with pytest.raises(DataError, match="run the command again"):
        get_dataset(dead, tmp_path)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "images/../../evil.txt"])
def test_names_that_lead_elsewhere_are_refused(server, tmp_path, name):
    for data in ({"one_zip": zipped({name: b"x"})}, {"one_tar_gz": tarred({name: b"x"})}):
        with pytest.raises(DataError):
            get_dataset(offered(server, **data), tmp_path / "in" / "here")
        assert {path.parent for path in tmp_path.rglob("evil.txt")} <= {tmp_path / "in" / "here"}
        Server.content.clear()


def test_links_and_other_files_are_refused(server, tmp_path):
    with pytest.raises(DataError, match="links"):
        get_dataset(offered(server, one_tar_gz=tarred(FILES, link="/etc/passwd")), tmp_path / "a")
    with pytest.raises(DataError, match="cannot be unpacked"):
        get_dataset(offered(server, one_zip=b"no archive"), tmp_path / "b")
    with pytest.raises(DataError, match="do not hold images"):
        get_dataset(offered(server, one_zip=zipped({"other/x": b""})), tmp_path / "c")
    with pytest.raises(DataError, match="Only http"):
        get_dataset(KnownDataset("x", "X", "folder", "", "", (RemoteFile("file:///etc/passwd", ""),)), tmp_path / "d")


def test_archives_larger_than_the_disk_are_refused(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"only 0.0 GB are free"):
        get_dataset(offered(server, one_zip=zipped(FILES)), tmp_path)


def test_a_login_prints_the_steps(tmp_path):
    with pytest.raises(DataError, match=r"(?s)without a login:.*kaggle.*Unpack it, so that .*here holds train/"):
        get_dataset(find_known("deepglobe"), tmp_path / "here")
    with pytest.raises(DataError, match="Did you mean 'landcoverai'"):
        find_known("landcover")


def test_every_known_dataset_is_readable_by_its_layout():
    from sparsecover.datasets.layouts import LAYOUTS

    for known in KNOWN.values():
        assert known.layout in LAYOUTS
        assert known.files or known.steps
        assert all(len(file.md5) == 32 for file in known.files)
        assert Path(known.files[0].name).suffix if known.files else True
