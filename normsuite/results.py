"""What is stored of a measurement, and how: one JSON record a run, written once and whole. Imports no torch.

A record says what was measured, with which settings, the raw samples, and everything that the numbers depend on. It
names no host and no folder.
"""

import hashlib
import json
import math
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from . import compact, reading
from .errors import ArgumentError, DataError, NormsuiteError, OutputError
from .git import Git

SCHEMA = 1
"""Version of the record's layout. Readers take every version up to this one."""

SUFFIXES = (".json", compact.SUFFIX)
"""Of files of one record, and of many."""

# Where an installed package is asked for its version: what a result can depend on.
_PACKAGES = ("torch", "torchvision", "numpy", "numba", "scipy", "normsuite")

# The sources that a study's numbers depend on; the report and the command line are not among them.
_SOURCES = ("spec.py", "norms", "functional.py", "modules.py", "backends", "distributed.py", "study")


@cache
def cpu_model() -> str:
    """Return the processor's name, as the kernel has it where it says."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def environment(*, threads: int | None = None, accelerator: str | None = None, driver: str | None = None) -> dict:
    """Return what every record says about where it was made.

    Args:
        threads: threads of one measuring process.
        accelerator: name of the device measured on, where it is not the processor.
        driver: its driver's version.
    """
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "threads": threads,
        "governor": _governor(),
        "accelerator": accelerator,
        "driver": driver,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := version(name))},
        "allocator": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
    }


_ONLY_FOR_TIMES = ("cores", "governor", "allocator")


def decisive(environment: dict) -> dict:
    """Return the part of an environment that may change what a run computes, without what decides how long it takes
    alone."""
    return {name: value for name, value in environment.items() if name not in _ONLY_FOR_TIMES}


@cache
def commit() -> str | None:
    """Return the commit of the checkout that this package lies in, with "+" behind it if it was changed since; or
    None."""
    git = Git(Path(__file__).resolve().parent, foreign=True)
    try:
        if not git("ls-files", "--", __file__).strip():  # installed into an environment inside somebody's checkout
            return None
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--", ".").strip() else "")
    except NormsuiteError:
        return None


@cache
def source_digest() -> str:
    """Return a digest of the sources that the numbers depend on: equal digests, equal numbers on equal machines."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for name in _SOURCES:
        path = root / name
        files = (f for f in path.rglob("*") if f.suffix in (".py", ".toml")) if path.is_dir() else [path]
        for file in sorted(files):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def digest(value: object) -> str:
    """Return a short name for a JSON value: the same value, the same name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def make_record(
    what: str, case: dict, samples: object, *, environment: dict, seeds: list[int], **further: object
) -> dict:
    """Return a record of one run.

    Args:
        what: the kind of measurement, such as "study".
        case: every setting that was chosen.
        samples: the raw values.
        environment: see `environment`.
        seeds: the seeds used.
        further: what else the numbers depend on, by name.
    """
    return {
        **further,
        "schema": SCHEMA,
        "what": what,
        "case": case,
        "samples": samples,
        "seeds": seeds,
        "commit": commit(),
        "source": source_digest(),
        "environment": environment,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _finite(value):
    """JSON knows neither NaN nor infinity: they are stored by name, so that a diverged run is kept as it was."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def to_json(value: object, indent: int | None = 1) -> str:
    """Strict JSON, with NaN and the infinities as the strings "nan", "inf" and "-inf"."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def output_folder(path: Path, argument: str) -> Path:
    """Return that folder, made if need be.

    Raises:
        OutputError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(f"{argument} = {str(path)!r}: cannot write there ({error.strerror or error})") from None
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all: into a temporary file beside it, which then takes its name.

    That is for new files, and for regular ones of this user's own. A device, a pipe, a link, or a file with several
    names or another owner stays what it is: the text goes into it.

    Raises:
        OutputError: it could not be written; of a new file nothing is left.
    """
    try:
        return write_bytes(path, text.encode())
    except UnicodeEncodeError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.reason})") from None


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file of bytes, as `write_text` does.

    Raises:
        OutputError: it could not be written; of a new file nothing is left.
    """
    try:
        if _is_to_be_replaced(path):
            _write_aside(path, content)
        else:
            _write_into(path, content)
    except ValueError as error:  # a null character in its name
        raise OutputError(f"cannot write {str(path)!r} ({error})") from None
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.strerror or error})") from None
    return path


def replace_text(path: Path, text: str) -> Path:
    """Write a file of this package's own, as `write_text` does, in the place of whatever lies there.

    Raises:
        OutputError: it could not be written.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        _write_aside(path, text.encode())
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r} ({error.strerror or error})") from None
    return path


def _is_to_be_replaced(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return True
    own = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and own


def _write_aside(path: Path, content: bytes) -> None:
    temporary = None
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0o644
    try:
        kind = {"prefix": f"{path.stem[:100]}-", "suffix": ".part"}
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False, **kind) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:  # Ctrl-C too
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise


def _write_into(path: Path, content: bytes) -> None:
    with suppress(OSError, ValueError, AttributeError):  # where the standard output has no file of its own
        if os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno())):
            sys.stdout.write(content.decode())  # behind what was written there before, and before what follows
            sys.stdout.flush()
            return
    path.write_bytes(content)


def write_record(folder: Path, name: str, record: dict) -> Path:
    """Store a record under that name; what was stored before under another name stays.

    Raises:
        OutputError: it could not be written.
        ArgumentError: the name is none of a file in that folder.
    """
    content = json.loads(to_json(record, None))
    content.pop("digest", None)
    # A value that changes later is damage then, however likely it looks.
    return write_value(folder, name, {**record, "digest": digest(content)})


def write_value(folder: Path, name: str, value: object) -> Path:
    """Store a JSON value under that name, as it is.

    Raises:
        OutputError: it could not be written.
        ArgumentError: the name is none of a file in that folder.
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ArgumentError("name", name, "is no name of a file in a folder")
    return write_text(folder / f"{name}.json", to_json(value) + "\n")


@dataclass
class Records:
    """Records read from a folder, and the files that could not be read, with the reason.

    Attributes:
        good: in the order of their files' names.
        names: of the files of these.
        damaged: file name and reason.
    """

    good: list[dict] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict]:
        return iter(self.good)


def read_record(path: Path) -> dict:
    """Return a record, of this or any earlier schema, checked.

    Args:
        path: of a record, or of a compact file of a single one.

    Raises:
        ArgumentError: it is damaged, or of a newer schema; the message says which.
        DataError: it cannot be read at all; it may be whole.
    """
    name = reading.printable(path.name)
    try:
        found = [(value, text) for _, value, text in _values(path)]
    except reading.Unreadable as error:
        if error.damaged:
            raise ArgumentError("record", error.file, f"is damaged ({error.reason})") from None
        raise DataError(f"record {error.file}: {error.reason}") from None
    if len(found) != 1:
        raise ArgumentError("record", name, f"has {len(found)} records, not one")
    if (reason := _problem(found[0][0])) is not None:
        raise ArgumentError("record", name, reason)
    return _unsealed(*found[0])


NO_RECORD = "is damaged (lacks schema, what"
"""How the reason begins of a JSON file that is no record at all."""


def read_records(folder: Path, what: str) -> Records:
    """Return all records of that kind under a folder, in the order of their files; an absent folder has none.

    A folder may hold records, compact files of them, or both.
    """
    records = Records()
    paths, refused = reading.files(folder, SUFFIXES)
    records.damaged += [(name, f"record {name}: {reason}") for name, reason in refused]
    for path in sorted(paths):
        try:
            for name, value, text in _values(path):
                if (reason := _problem(value)) is not None:
                    records.damaged.append((name, reason))
                elif value["what"] == what:
                    records.good.append(_unsealed(value, text))
                    records.names.append(name)
        except reading.Unreadable as error:
            reason = f"is damaged ({error.reason})" if error.damaged else f"record {error.file}: {error.reason}"
            records.damaged.append((error.file, reason))
    return records


def _values(path: Path) -> Iterator[tuple[str, object, str]]:
    """Yield what a file holds: names, JSON values, and the texts of these."""
    name = reading.printable(path.name)
    if path.name.endswith(compact.SUFFIX):
        for member in compact.members(path):
            yield f"{reading.printable(member.name)} in {name}", member.value, member.text
    else:
        text = reading.read_text(path)
        yield name, reading.json_value(text, path.name), text


def _problem(value: object) -> str | None:
    """Return why it is no record that can be used, or None."""
    from . import schema  # with msgspec, which asv's environments do without: they write records, and read none

    needed = ("schema", "what", "case", "samples", "environment")
    missing = [name for name in needed if name not in value] if isinstance(value, dict) else ["schema"]
    if missing:
        return f"is damaged (lacks {', '.join(missing)})"
    if type(value["schema"]) is not int or value["schema"] > SCHEMA:
        return f"has schema {value['schema']!r}; this version reads up to {SCHEMA}"
    if "digest" in value:  # earlier records have none
        content = {name: of for name, of in value.items() if name != "digest"}
        if value["digest"] != digest(content):
            return f"is damaged ({schema.problem(value) or 'its content is not that of its digest'})"
    reason = schema.problem(value)
    return None if reason is None else f"is damaged ({reason})"


def _unsealed(value: dict, text: str) -> dict:
    content = {name: of for name, of in value.items() if name != "digest"}
    return reading.printable_value(content, text)
