"""What is recorded of a run: a plain-data vocabulary, a recorder that sits on the links, and a file format."""

from .files import read_recording, write_recording
from .logs import LogTap, record_log, record_store
from .recorder import Recorder
from .transport import RecordingTransport
from .watched_log import WatchedLog

__all__ = [
    "LogTap",
    "Recorder",
    "RecordingTransport",
    "WatchedLog",
    "read_recording",
    "record_log",
    "record_store",
    "write_recording",
]
