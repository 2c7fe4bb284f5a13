"""The process that is killed: a node on Redis, with commands in flight; what it reads comes from elsewhere.

    python -m tests.support.crash.redis_node CONFIG DATA SEED
"""
import json
import random
import sys
import threading
from pathlib import Path

from corec.config import parse
from corec.nucleus import CoreCNucleus
from corec.storage.sqlite import retention
from tests.support.crash.driver import note_commands


def main(config_file: str, data: str, seed: str) -> None:
    """Run until killed, or until standard input ends: then stop cleanly and say what the ledger is."""
    retention.TURNS_SLICE = 1 << 40     # turn records are the evidence: all are kept
    config = json.loads(Path(config_file).read_text())
    nucleus = CoreCNucleus(parse(config), data=Path(data), with_sources=False)
    nucleus.start()
    if seed != "quiet":
        threading.Thread(target=note_commands, args=(random.Random(int(seed)), nucleus, config), daemon=True).start()
    print("running", flush=True)
    for line in sys.stdin:
        print(json.dumps({"ledger": nucleus.engine.ledger, "gaps": nucleus.engine.marks.gaps, "cursor": nucleus.engine.cursor,
                          "asked": line.strip(), "losses": nucleus.redis.status()["losses"]}), flush=True)
    nucleus.stop()
    print(json.dumps({"ledger": nucleus.engine.ledger, "gaps": nucleus.engine.marks.gaps, "pending": nucleus.pipeline.pending}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
