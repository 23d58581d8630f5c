"""A PostgreSQL server in a temporary folder, and a Ray cluster of two nodes on this machine."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PASSWORD = "p@ss word"
ENCODED = "p%40ss%20word"


class Server:
    """A PostgreSQL server with its data in a folder of its own."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        # PostgreSQL refuses to run as root; Debian's package brings a user of its own.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        word = folder / "password"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        self.call("initdb", "-A", "scram-sha-256", "--pwfile", word, "-U", "me", "--no-sync")

    def call(self, program, *arguments, quiet=False):
        """Run one of PostgreSQL's programs on the folder."""
        subprocess.run(
            [self.programs / program, "-D", self.folder / "data", *arguments],
            user=self.user,
            cwd=self.folder,
            check=not quiet,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self):
        """Start, and wait until it can be reached."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.call("pg_ctl", "start", "-w", "-o", options, "-l", self.folder / "log")

    def stop(self):
        """Stop at once, as a power cut does; connections break."""
        self.call("pg_ctl", "stop", "-m", "immediate", "-w", quiet=True)

    def url(self, name):
        """Return the URL of a database, as a user gives it."""
        return f"postgresql+psycopg://me:{ENCODED}@127.0.0.1:{self.port}/{name}"

    def execute(self, name, *statements):
        """Return the rows of the last statement, asked by psycopg alone."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="me", password=PASSWORD, dbname=name,
            autocommit=True,
        ) as connection:  # fmt: skip
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def server():
    """Start a server; skip where its programs or psycopg are not installed."""
    pytest.importorskip("psycopg")
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("PostgreSQL's programs are not installed")
    folder = Path(tempfile.mkdtemp(prefix="heatgrad-pg-"))
    folder.chmod(0o755)
    server = Server(folders[-1], folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def database(server):
    """Make an empty database; return its name."""
    name = f"study_{time.monotonic_ns()}"
    server.execute("postgres", f"CREATE DATABASE {name}")
    return name


@pytest.fixture(scope="session")
def stored_weights():
    """Return the function `(store, results) -> {key: {name: tensor as bytes}}`."""

    def collect(store, results):
        try:
            return {
                r.key: {k: v.numpy().tobytes() for k, v in store.weights(r.key).items()}
                for r in results.records
            }
        finally:
            store.close()

    return collect
