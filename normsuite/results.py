"""What is stored of a measurement, and how: one JSON record a run, written once and whole. Imports no torch.

A record says what was measured, with which settings, the raw samples, and everything that the numbers depend on. It
names no host and no folder.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from .errors import ArgumentError, DataError, OutputError

SCHEMA = 1
"""Version of the record's layout. Readers take every version up to this one."""

# Where an installed package is asked for its version: what a result can depend on.
_PACKAGES = ("torch", "torchvision", "numpy", "numba", "scipy", "normsuite")

# The sources that a study's numbers depend on; the report and the command line are not among them.
_SOURCES = ("spec.py", "norms", "functional.py", "modules.py", "backends", "distributed.py", "study")


@cache
def cpu_model() -> str:
    """The processor's name, as the kernel has it where it says."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def version(package: str) -> str | None:
    """Of an installed package; None where it is not."""
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
    """What every record says about where it was made.

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
    """Of an environment what may change what a run computes, without what decides how long it takes alone."""
    return {name: value for name, value in environment.items() if name not in _ONLY_FOR_TIMES}


@cache
def commit() -> str | None:
    """The commit of the checkout that this package lies in, with "+" behind it if it was changed since; or None."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        if not git("ls-files", "--", __file__).strip():  # installed into an environment inside somebody's checkout
            return None
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--", ".").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def source_digest() -> str:
    """A digest of the sources that the numbers depend on: equal digests, equal numbers on equal machines."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for name in _SOURCES:
        path = root / name
        files = (f for f in path.rglob("*") if f.suffix in (".py", ".toml")) if path.is_dir() else [path]
        for file in sorted(files):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def digest(value: object) -> str:
    """A short name for a JSON value: the same value, the same name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def make_record(
    what: str, case: dict, samples: object, *, environment: dict, seeds: list[int], **further: object
) -> dict:
    """A record of one run.

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
    """That folder, made if need be.

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

    Raises:
        OutputError: it could not be written; nothing is left of it.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"prefix": f"{path.stem}-", "suffix": ".part"}
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False, **kind) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:  # Ctrl-C too
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {str(path)!r} ({error.strerror or error})") from None
        raise
    return path


def write_record(folder: Path, name: str, record: dict) -> Path:
    """Store a record under that name; what was stored before under another name stays.

    Raises:
        OutputError: it could not be written.
    """
    return write_text(folder / f"{name}.json", to_json(record) + "\n")


@dataclass
class Records:
    """Records read from a folder, and the files that could not be read, with the reason."""

    good: list[dict] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict]:
        return iter(self.good)


def read_record(path: Path) -> dict:
    """One record.

    Raises:
        ArgumentError: it is damaged, or of a newer schema; the message says which.
        DataError: it cannot be read at all; it may be whole.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"record {path.name}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArgumentError("record", path.name, f"is damaged ({error})") from None
    missing = (
        [k for k in ("schema", "what", "case", "samples", "environment") if k not in record]
        if isinstance(record, dict)
        else ["schema"]
    )
    if missing:
        raise ArgumentError("record", path.name, f"is damaged (lacks {', '.join(missing)})")
    if not isinstance(record["schema"], int) or record["schema"] > SCHEMA:
        raise ArgumentError("record", path.name, f"has schema {record['schema']!r}; this version reads up to {SCHEMA}")
    return record


def read_records(folder: Path, what: str) -> Records:
    """All records of that kind under a folder, in the order of their file names; an absent folder has none."""
    records = Records()
    for path in sorted(folder.rglob("*.json")):
        try:
            record = read_record(path)
        except ArgumentError as error:
            records.damaged.append((path.name, error.reason))
            continue
        except DataError as error:
            records.damaged.append((path.name, str(error)))
            continue
        if record["what"] == what:
            records.good.append(record)
    return records
