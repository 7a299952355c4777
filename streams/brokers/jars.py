"""Apache Kafka's jars, fetched once by Maven into a cache folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.brokers.api import BrokerUnavailableError

KAFKA_VERSION = "4.3.1"
JAVA_VERSION = 17

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy-dependencies"
_FETCH_S = 300.0
_DEPENDENCIES = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.apache.logging.log4j", "log4j-api", "2.26.1"),
    ("org.apache.logging.log4j", "log4j-core", "2.26.1"),
    ("org.apache.logging.log4j", "log4j-slf4j2-impl", "2.26.1"),
)
_DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)
# slf4j-api is managed: Kafka and log4j would otherwise bring two different ones.
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>driftline</groupId><artifactId>kafka-broker</artifactId><version>1</version>
<packaging>pom</packaging>
<dependencyManagement><dependencies>
{_DEPENDENCY.format("org.slf4j", "slf4j-api", "2.0.20")}
</dependencies></dependencyManagement>
<dependencies>
{chr(10).join(_DEPENDENCY.format(*each) for each in _DEPENDENCIES)}
</dependencies>
</project>
"""


@dataclass(frozen=True, slots=True)
class Jars:
    """Where Apache Kafka is: the `java` program and a class path."""

    java: str
    folder: Path

    @property
    def class_path(self) -> str:
        """For `java -cp`."""
        return str(self.folder / "*")


def cache_folder() -> Path:
    """`$DRIFTLINE_CACHE`, else `$XDG_CACHE_HOME/driftline`, else `~/.cache/driftline`."""
    if named := os.environ.get("DRIFTLINE_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "driftline"


def find_jars() -> Jars:
    """Apache Kafka's jars from the cache, fetched on first use.

    Raises:
        BrokerUnavailableError: No Java 17, no Maven, or the fetch failed; says which.
    """
    java = _java()
    folder = cache_folder() / f"kafka-{KAFKA_VERSION}"
    if not folder.is_dir():
        with _locked(folder.with_suffix(".lock")):
            if not folder.is_dir():  # another process may have fetched while we waited
                _fetch(folder)
    return Jars(java, folder)


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        raise BrokerUnavailableError(f"no `java` here; Apache Kafka needs Java {JAVA_VERSION}+")
    answer = subprocess.run(  # noqa: S603 - found on PATH, fixed arguments
        [java, "-version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    found = re.search(r'version "(\d+)', answer.stderr)
    if found is None or int(found[1]) < JAVA_VERSION:
        version = found[1] if found else "unknown"
        raise BrokerUnavailableError(f"Java {version} here; Apache Kafka needs {JAVA_VERSION}+")
    return java


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailableError("no `mvn` here; Maven fetches Apache Kafka's jars once")
    # Beside the target, so that the rename at the end is atomic: a folder that is there is whole.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as scratch:
        pom = Path(scratch) / "pom.xml"
        pom.write_text(_POM)
        libs = Path(scratch) / "libs"
        command = [maven, "-B", "-ntp", "-q", "-f", str(pom), _COPY, "-DincludeScope=runtime"]
        try:
            answer = subprocess.run(  # noqa: S603 - found on PATH, fixed arguments
                [*command, f"-DoutputDirectory={libs}"],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_FETCH_S,
            )
        except subprocess.TimeoutExpired:
            raise BrokerUnavailableError(
                f"Maven did not fetch Apache Kafka within {_FETCH_S:.0f} s"
            ) from None
        if answer.returncode != 0:
            raise BrokerUnavailableError(
                f"Maven could not fetch Apache Kafka {KAFKA_VERSION}: {_first_error(answer.stdout)}"
            )
        libs.rename(folder)


def _first_error(output: str) -> str:
    lines = [line.removeprefix("[ERROR] ") for line in output.splitlines() if "ERROR" in line]
    return (lines[0] if lines else "no message")[:200]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
