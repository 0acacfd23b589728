"""What workers on several machines make for each other, in any store that fsspec knows. Without a URL: nothing to do."""

from __future__ import annotations

import logging
import re
import tempfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from autokd.errors import ConfigError, StorageError, StoreAwayError, first_line, storage_errors

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds that the store may be away

T = TypeVar("T")


class Shared:
    """Files below `local` that are kept under the same relative names below a URL, for who has another `local`.

    A file is uploaded under another name and then renamed: where the store renames in one step, as file systems
    do, or shows only what is complete, as object stores do, nobody sees half of one.
    """

    def __init__(self, url: str | None, local: Path) -> None:
        """Raises ConfigError where the URL is none or its protocol is not installed."""
        self._url = url
        self._local = local
        self._there: set[str] = set()  # what the store is known to have
        if url is not None:
            self._store, self._root = _open(url)

    def check(self) -> None:
        """Raises StorageError, at once, where nothing can be written below the URL."""
        if self._url is None:
            return
        probe = f"{self._root}/.writable-{uuid.uuid4().hex}"
        try:
            self._store.pipe_file(probe, b"autokd")
            self._store.rm_file(probe)
        except FileNotFoundError:
            raise StorageError(f"search.shared {self._url}: is not there; make it first") from None
        except Exception as error:  # noqa: BLE001 - whatever the store's client raises
            raise StorageError(
                f"search.shared {self._url}: can't be written: {first_line(error)}"
            ) from None

    def fetch(self, path: Path) -> None:
        """Brings a file that is in the store and not here. Its name says what made it, so it is never another one."""
        if self._url is not None and not path.exists():
            place = self._place(path)
            if self._retry(lambda: self._download(place, path)):
                self._there.add(place)

    def publish(self, path: Path) -> None:
        """Brings a file into the store, unless one of its name is there."""
        if self._url is None or (place := self._place(path)) in self._there:
            return
        if not self._retry(lambda: self._has(place)):
            self._retry(lambda: self._upload(path, place))
        self._there.add(place)

    def fetch_folder(self, folder: Path, *, state: str) -> bool:
        """Brings what `publish_folder` left of a folder under the name of its state; whether there is any."""
        if self._url is None:
            return False
        with tempfile.TemporaryDirectory(dir=self._local, prefix="fetched-") as temporary:
            archive = Path(temporary) / "folder.zip"
            place = f"{self._place(folder)}/{state}.zip"
            if not self._retry(lambda: self._download(place, archive)):
                return False
            try:
                with zipfile.ZipFile(archive) as packed:
                    damaged = packed.testzip()
                    if damaged is None:
                        packed.extractall(folder)
            except zipfile.BadZipFile:
                damaged = place
        if damaged:
            log.warning("%s: is damaged and of no use", place)
        return damaged is None

    def publish_folder(self, folder: Path, *, state: str) -> None:
        """As one file, whole or not at all. Replaces what is there: another search may have left it."""
        if self._url is None:
            return
        with tempfile.TemporaryDirectory(dir=self._local, prefix="published-") as temporary:
            archive = Path(temporary) / "folder.zip"
            with storage_errors(archive), zipfile.ZipFile(archive, "w") as packed:
                for path in sorted(folder.rglob("*")):
                    packed.write(path, path.relative_to(folder))
            place = f"{self._place(folder)}/{state}.zip"
            self._retry(lambda: self._upload(archive, place))

    def _place(self, path: Path) -> str:
        return f"{self._root}/{path.relative_to(self._local).as_posix()}"

    def _has(self, place: str) -> bool:
        """Asks the store: `exists` says no as well when that does not answer."""
        self._store.invalidate_cache()
        try:
            self._store.info(place)
        except FileNotFoundError:
            return False
        return True

    def _download(self, place: str, path: Path) -> bool:
        """Whether it was there."""
        if not self._has(place):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            self._store.get_file(place, str(part))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return True

    def _upload(self, path: Path, place: str) -> None:
        folder, _, name = place.rpartition("/")
        part = f"{folder}/.{name}.{uuid.uuid4().hex}.part"
        self._store.makedirs(folder, exist_ok=True)
        self._store.put_file(str(path), part)
        self._store.mv(part, place)

    def _retry(self, action: Callable[[], T]) -> T:
        """Raises StorageError where trying again is of no use, StoreAwayError where it was of none."""

        def attempt() -> T:
            with storage_errors(self._local):
                return action()

        try:
            return Retrying(
                retry=retry_if_exception(_may_pass),
                wait=wait_exponential(multiplier=0.5, max=10),
                stop=stop_after_delay(PATIENCE),
                reraise=True,
            )(attempt)
        except StorageError:
            raise
        except Exception as error:
            raise StoreAwayError(
                f"search.shared {self._url}: does not answer: {first_line(error)}"
            ) from error


NOWHERE = Shared(None, Path())


def _open(url: str) -> tuple[Any, str]:
    """The store, and what names of files in it begin with."""
    if re.search(r"//[^/@]*:[^/@]*@", url):  # not repeated here, as this would be logged, too
        raise ConfigError(
            "search.shared: has a password in it, which would be kept with every trial; "
            "give it in ~/.config/fsspec or as FSSPEC_PROTOCOL_PASSWORD"
        )
    if "://" not in url and not Path(url).is_absolute():
        raise ConfigError(
            f"search.shared '{url}': must be a URL or an absolute path; "
            "workers have working directories of their own"
        )
    try:
        store, root = fsspec.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"search.shared {url}: {first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 - whatever the store's client raises
        raise StoreAwayError(
            f"search.shared {url}: can't be reached: {first_line(error)}"
        ) from None
    return store, root.rstrip("/")


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, StorageError)
