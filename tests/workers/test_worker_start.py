"""Celery's own command for a worker, in folders whose configuration has no `celery_config`."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.nodes import SMALL, until
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

WORKER = [sys.executable, "-m", "celery", "-A", "corec.core.celery_app", "worker", "--loglevel=info"]


@pytest.fixture
def worker(tmp_path):
    """Starts a worker by the documented command in a folder with this configuration; what it says goes to the file `said`."""
    started = []

    def start(**sections):
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "corec_config.json").write_text(json.dumps(SMALL | sections))
        with open(tmp_path / "said", "wb") as said:
            process = subprocess.Popen(WORKER, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=said, stderr=said)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_worker_of_an_embedded_node_says_what_is_missing_and_ends(worker, tmp_path):
    # Given a configuration that names no server, When a worker is started, Then it ends with the code of configuration errors
    assert worker().wait(60) == 3
    # And says what is missing, once, without Celery's tries of a broker of its own
    said = (tmp_path / "said").read_text()
    assert said.count("expected a celery_config, or redis_config and db_config") == 1 and "HINT" in said
    assert "amqp" not in said and "Traceback" not in said


def test_a_worker_of_the_documented_configuration_goes_by_its_redis(worker, tmp_path, redis_server):
    # Given both servers as the original documentation has them, without celery_config, When a worker is started
    process = worker(redis_config=redis_server.section, db_config={"host": "127.0.0.1", "user": "corec_writer"})
    said = tmp_path / "said"
    # Then it is ready on the Redis of redis_config, and says what it does and does not
    assert until(lambda: b" ready." in said.read_bytes(), 60), said.read_text()
    text = said.read_text()
    assert f":{redis_server.port}/0" in text and "takes no shards" in text and "corec.test1.analysis" in text
    # And it ends when it is told to
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_an_outage_of_the_broker_is_one_line_at_each_end(worker, tmp_path, own_redis):
    # Given a worker that is ready
    said = tmp_path / "said"
    worker(redis_config=own_redis.section, db_config={"host": "127.0.0.1", "user": "corec_writer"})
    assert until(lambda: b" ready." in said.read_bytes(), 60), said.read_text()
    before = said.read_text()
    # When its broker is away for longer than a few tries take, and comes back
    own_redis.stop()
    time.sleep(4)
    during = said.read_text()[len(before):]
    own_redis.start()
    assert until(lambda: "answers again" in said.read_text(), 60), said.read_text()
    time.sleep(1)
    # Then each end is one line
    lines = [line for line in said.read_text()[len(before):].splitlines() if line.strip()]
    assert len(lines) == 2 and "cannot be reached" in lines[0] and "answers again, after" in lines[1], lines
    assert lines[0] in during and "b'" not in lines[0]
