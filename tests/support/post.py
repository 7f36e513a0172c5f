"""A chief behind a real socket, for tests of those who ask it."""

import threading
from contextlib import contextmanager

from tests.support.search import MemoryPool, Notes, config, peak_at_adam
from tuning.chief import Chief
from tuning.connection import Connection
from tuning.remote import LeasedPool, RemoteStudy
from tuning.service import Terms, listening
from tuning.supervisor import Supervisor

HOST = "127.0.0.1"


class Post:
    """A chief at an address, where another can take its place."""

    def __init__(self, rehearsal, **settings):
        self.rehearsal, self.settings, self.port = rehearsal, config(**settings), 0

    @contextmanager
    def manned(self, run="tiny-tune/1"):
        """Have a chief there for the length of the block."""
        self.chief = Chief(self.rehearsal.study(self.settings), Notes())
        terms = Terms(run, "name = 'tiny'", self.settings.lease_seconds)
        with listening(self.chief, terms, f"{HOST}:{self.port}") as self.port:
            yield self

    def connection(self, minutes=1.0, pause=None):
        return Connection(f"{HOST}:{self.port}", minutes, pause or threading.Event().wait)

    def work(self, name="w0", result=peak_at_adam):
        """Be one of our workers until the chief has no more to do."""
        connection, notes = self.connection(), Notes()
        study = RemoteStudy(connection, self.settings, name)
        with study.beating(connection.join().lease_seconds):
            pool = LeasedPool(MemoryPool(result), study)
            assert Supervisor(study, pool, notes).run(lambda: False)
        connection.close()
        return notes
