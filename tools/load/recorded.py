"""`--check`: what a load's own clients asked and were told, judged by the partitions' logs when all is over.

The clients' links are recorded while the load runs. The logs are read from the stores once the partitions have stopped;
of a cluster inside this process they have been followed all along. A partition keeps the history of five minutes: what
a longer run did before is judged as far as it can still be seen.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from ...proto.kinds import EVENTS_STORE, MAIN_STORE
from ...storage import LmdbStore
from ..checking.check import PROMISES, check
from ..checking.recorded import Recording
from ..recording import Recorder, record_store, write_recording
from ..recording.records import Get, Listed, Watched, Write
from .verify import Findings, examples


class RecordedRun:
    """One run. `file`: where its recording is to be kept; None: nowhere."""

    def __init__(self, file: Path | None) -> None:
        self.recorder = Recorder()
        self._file = file

    def read_logs(self, data_dir: Path, partitions: list[str]) -> None:
        """Of partitions that have stopped.

        Raises:
            StoreError: a store cannot be read.
        """
        for partition in partitions:
            for name, directory in (
                (MAIN_STORE, data_dir / partition),
                (EVENTS_STORE, data_dir / partition / "events"),
            ):
                if (directory / "data.mdb").exists():
                    with closing(LmdbStore.open_read_only(directory)) as store:
                        record_store(self.recorder, partition, name, store)

    def finish(self, findings: Findings, *, healed: bool) -> dict[str, Any]:
        """Judge it; what was broken is among the findings' problems. Returns the section of the report.

        Raises:
            InputError: the recording cannot be kept there.
        """
        self.recorder.finish(healed=healed)
        records = self.recorder.records
        if self._file is not None:
            write_recording(self._file, records)
        violations = check(Recording(records))
        findings.problems += examples([str(violation) for violation in violations], "promises broken")
        operations = sum(isinstance(record, Write | Get | Listed | Watched) for record in records)
        broken = len(dict.fromkeys(violation.promise for violation in violations))
        kept = f"{len(PROMISES) - broken} of {len(PROMISES)} kept"
        findings.notes["promises"] = f"{kept}, {operations:,} operations of this command looked at"
        return {"operations": operations, "violations": len(violations), "promises": len(PROMISES), "broken": broken}
