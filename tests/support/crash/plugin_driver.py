"""The process that is killed between what a plugin sends and the commit that carries it.

    python -m tests.support.crash.plugin_driver DATA PLUGINS before|after

Its plugin sends numbers.  Some commits in, one stops before it is written, or after: then this process waits for the kill.
"""
import sys
import time
from pathlib import Path

from corec.config import parse
from corec.nucleus import CoreCNucleus
from corec.storage.sqlite.store import SqliteStore

CONFIG = {"instance_id": "outbox1", "bloques": [{"id": "a", "canal": 1, "entidades": 10}]}
#: The commit that never comes to its end: the plugin sends by then.
LAST = 8


def main(data: str, plugins: str, when: str) -> None:
    nucleus = CoreCNucleus(parse(CONFIG), data=Path(data), plugins=Path(plugins), with_sources=False)
    commit, seen = SqliteStore.commit, []

    def halting(store, record, **parts):
        seen.append(parts["sent"])
        if len(seen) < LAST:
            return commit(store, record, **parts)
        if when == "after":
            commit(store, record, **parts)
        time.sleep(0.3)  # the plugin goes on sending
        carried = sum(len(each) for each in (seen if when == "after" else seen[:-1]))
        print("halted", carried, nucleus.pipeline.waiting_out, flush=True)
        time.sleep(600)

    SqliteStore.commit = halting
    nucleus.start()
    nucleus.wait(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
