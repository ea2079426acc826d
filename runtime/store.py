"""The store: one folder a job key, its record written last and atomically; files are the only truth."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
from pathlib import Path

from compiler.identity import canonical_json, job_key
from runtime import records

log = logging.getLogger("tunelaw.store")


class StaleAttempt(RuntimeError):
    """A newer attempt at the same job has begun, so this one may no longer publish."""


class Store:
    """Results addressed by key.

    `<root>/jobs/<key>/` holds `record.json` (its presence means done), `artifact/`, `resume/` (state of
    an unfinished run), `lock` (a flock, so that the kernel frees it when its holder dies), `attempt` (a
    rising number), `failure.json` and `log.txt`.
    """

    def __init__(self, root: str | Path, warn=None):
        self.root = Path(root).expanduser().absolute()
        self._warn = warn or (lambda message: log.warning("%s", message))
        self._cache: dict[str, tuple] = {}
        self._warned: set[str] = set()

    def folder(self, key: str) -> Path:
        if not key or "/" in key or key.startswith("."):
            raise ValueError(f"{key!r} is not a job key")
        return self.root / "jobs" / key

    def artifact(self, key: str) -> Path:
        return self.folder(key) / "artifact"

    def resume(self, key: str) -> Path:
        return self.folder(key) / "resume"

    def log(self, key: str) -> Path:
        return self.folder(key) / "log.txt"

    def keys(self) -> list[str]:
        """Keys of all folders, done or not, sorted."""
        jobs = self.root / "jobs"
        return sorted(entry.name for entry in jobs.iterdir()) if jobs.is_dir() else []

    # reading

    def record(self, key: str | None, identity: dict | None = None) -> dict | None:
        """The record of `key`, or None where there is none that may be served.

        A record that cannot be read, belongs to another key, or does not hold `identity` (when that is
        given) counts as absent, and a warning says so.
        """
        if key is None:
            return None
        path = self.folder(key) / "record.json"
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        cached = self._cache.get(key)
        if cached and cached[0] == stamp:
            record = cached[1]
        else:
            record = self._read(key, path)
            self._cache[key] = (stamp, record)
        if record is None:
            return None
        if identity is not None and canonical_json(record["identity"]) != canonical_json(identity):
            where = records.first_difference(record["identity"], identity)
            self._tell(f"{path}: not served, its identity is not the job's (first difference: {where}); the job runs again")
            return None
        return record

    def _read(self, key: str, path: Path) -> dict | None:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._tell(f"{path}: not served, it cannot be read ({error}); the job runs again")
            return None
        if not isinstance(record, dict) or not isinstance(record.get("identity"), dict) or record.get("key") != key:
            self._tell(f"{path}: not served, it is not the record of {key}; the job runs again")
            return None
        if job_key(record["identity"]) != key:
            self._tell(f"{path}: not served, its identity does not give its key; the job runs again")
            return None
        return record

    def _tell(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self._warn(message)

    def done(self, job: dict) -> dict | None:
        """The record that makes `job` done, or None.

        A trunk is done only if its record holds every checkpoint that the job asks for: a new level
        extends a trunk without another key.
        """
        if job.get("key") is None:
            return None
        record = self.record(job["key"], job["identity"])
        if record is None or not self.artifact(job["key"]).is_dir():
            return None
        wanted = job.get("execution", {}).get("checkpoint_steps")
        if job.get("role") == "trunk" and wanted is not None:
            have = (record.get("training") or {}).get("checkpoint_steps") or []
            if not set(wanted) <= set(have):
                return None
        return record

    # writing

    @contextlib.contextmanager
    def lock(self, key: str, wait: bool = True):
        """Holds the job's flock; yields True, or False where `wait` is off and somebody else holds it."""
        folder = self.folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True  # closing the file frees the lock

    def begin(self, key: str) -> tuple[int, Path]:
        """Starts an attempt (call it under the lock): its number and its empty staging folder.

        What earlier attempts left unpublished is removed; their resume state stays.
        """
        folder = self.folder(key)
        folder.mkdir(parents=True, exist_ok=True)
        counter = folder / "attempt"
        try:
            number = int(counter.read_text()) + 1
        except (FileNotFoundError, ValueError):
            number = 1
        write_atomically(counter, str(number))
        for old in folder.glob("staging-*"):
            shutil.rmtree(old)
        staging = folder / f"staging-{number}"
        staging.mkdir()
        self.resume(key).mkdir(exist_ok=True)
        return number, staging

    def publish(self, key: str, record: dict, staged: Path, attempt: int | None = None) -> None:
        """Moves the staged artifact into place, then writes the record; last of all the resume state goes.

        Where a valid record stands already (a trunk that was extended) the staged files are added to the
        artifact one by one, so that the old record stays true at every moment.
        Raises `StaleAttempt` where another attempt has begun since `attempt`.
        """
        folder, artifact = self.folder(key), self.artifact(key)
        if attempt is not None and (folder / "attempt").read_text() != str(attempt):
            raise StaleAttempt(f"job {key}: attempt {attempt} was overtaken by a newer one; its result is dropped")
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True) + "\n"
        staged = Path(staged)
        sync_tree(staged)
        if artifact.exists() and self.record(key, record["identity"]) is not None:
            merge_tree(staged, artifact)
            sync_tree(artifact)
        else:
            with contextlib.suppress(FileNotFoundError):
                (folder / "record.json").unlink()
            if artifact.exists():
                shutil.rmtree(artifact)
            os.rename(staged, artifact)
        sync_folder(folder)
        write_atomically(folder / "record.json", text)
        with contextlib.suppress(FileNotFoundError):
            (folder / "failure.json").unlink()
        for rest in (staged, self.resume(key)):
            shutil.rmtree(rest, ignore_errors=True)

    def tidy(self, key: str) -> None:
        """Removes what a kill between record and clean-up left beside a finished job, unless somebody works on it."""
        folder = self.folder(key)
        left = [*folder.glob("staging-*"), *folder.glob("resume")]
        if left:
            with self.lock(key, wait=False) as held:
                for rest in left if held else []:
                    shutil.rmtree(rest, ignore_errors=True)

    def fail(self, key: str, failure: dict) -> None:
        """Writes `failure.json` for the job: `{"kind", "message", "traceback"}`."""
        self.folder(key).mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder(key) / "failure.json", json.dumps(failure, ensure_ascii=False, indent=1) + "\n")

    def failure(self, key: str | None) -> dict | None:
        """What the last attempt failed with, or None where it did not."""
        if key is None:
            return None
        try:
            return json.loads((self.folder(key) / "failure.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def clear_failure(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder(key) / "failure.json").unlink()


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` so that a reader sees the old file or the whole new one, after a power cut too."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8", newline="") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries (renames and new names) to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flushes every file and folder below `folder` to disk."""
    for where, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(where, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(where))


def merge_tree(source: Path, target: Path) -> None:
    """Moves everything below `source` into `target`; a file that is in both is replaced, no other is touched."""
    for entry in sorted(source.iterdir()):
        there = target / entry.name
        if entry.is_dir() and there.is_dir():
            merge_tree(entry, there)
        else:
            os.replace(entry, there)
