"""A small cluster on this machine; one of its workers is killed in the middle, and nothing shows in the result."""

import os
import signal
import threading
import time

import pytest

import calibrant
from calibrant import on_dask
from calibrant.errors import DataError, DependencyError
from reports import reproducible

OPTIONS = {"batch_size": 2, "threads": 1}


@pytest.mark.parametrize("count, parts", [(1, 4), (4, 4), (10, 3), (7, 1)])
def test_every_batch_is_in_one_part(count, parts):
    ranges = on_dask._ranges(count, parts)
    assert [number for first, end in ranges for number in range(first, end)] == list(range(count))
    assert all(first < end for first, end in ranges)
    assert len(ranges) == min(count, parts)


def test_impossible_parts_are_refused():
    with pytest.raises(DataError):
        on_dask._ranges(4, 0)


def test_the_own_cluster_listens_on_localhost_alone():
    pytest.importorskip("distributed", reason="pip install 'calibrant[dask]'")
    with on_dask.local_client() as client:
        scheduler = client.cluster.scheduler
        listening = [*scheduler.listeners, *scheduler.http_server._sockets.values()]
        hosts = {getattr(each, "listen_address", None) or each.getsockname()[0] for each in listening}
        workers = client.scheduler_info()["workers"]
    assert workers and {host.removeprefix("tcp://").split(":")[0] for host in (*hosts, *workers)} == {"127.0.0.1"}


@pytest.mark.parametrize("data", [threading.Lock(), (batch for batch in [])])
def test_data_that_cannot_be_sent_are_named(data):
    pytest.importorskip("distributed", reason="pip install 'calibrant[dask]'")
    with pytest.raises(DataError, match=f"data is a {type(data).__name__}, which cannot be sent"):
        on_dask._check_can_be_sent(model="m.pb", data=data)


@pytest.mark.slow
def test_a_worker_is_killed_in_the_middle(repository, tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'calibrant[dask]'")
    digits = repository / "examples" / "digits"
    config = (digits / "quant.cfg").read_text().replace("batch_num : 4", "batch_num : 32")
    model, data = str(digits / "digits.pb"), str(digits / "calibration.npz")
    killed = []

    def kill_one_that_works(cluster):
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for worker in cluster.scheduler.workers.values():
                done = sum(task.state == "memory" for task in cluster.scheduler.tasks.values())
                if worker.processing and done:
                    nanny = next(n for n in cluster.workers.values() if n.worker_address == worker.address)
                    killed.append(nanny.pid)
                    os.kill(nanny.pid, signal.SIGKILL)
                    return
            time.sleep(0.01)

    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killer = threading.Thread(target=kill_one_that_works, args=(cluster,))
        killer.start()
        on_dask.quantize(client, model, config, data, tmp_path / "spread", parts=16, **OPTIONS)
        killer.join()
    assert killed
    calibrant.quantize(model, config, data, tmp_path / "whole", **OPTIONS)
    assert reproducible(tmp_path / "spread", page=False) == reproducible(tmp_path / "whole", page=False)


def test_a_client_has_to_run(repository):
    distributed = pytest.importorskip("distributed", reason="pip install 'calibrant[dask]'")
    digits = repository / "examples" / "digits"
    inputs = str(digits / "digits.pb"), str(digits / "quant.cfg"), str(digits / "calibration.npz")
    with pytest.raises(DataError, match="client is 3"):
        on_dask.quantize(3, *inputs)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.raises(DataError, match="parts is 0"):
            on_dask.quantize(client, *inputs, parts=0)
        threading.Timer(0.3, client.close).start()
        with pytest.raises(DependencyError, match="lost its cluster, or was closed"):
            on_dask.quantize(client, *inputs, parts=4)
    with pytest.raises(DependencyError, match="client is closed"):
        on_dask.quantize(client, *inputs)
