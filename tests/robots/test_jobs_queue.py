import threading
from queue import SimpleQueue

from robots.controller import Job, take


def test_a_wait_ends_when_its_time_is_up_even_right_after_a_job() -> None:
    jobs: SimpleQueue[Job] = SimpleQueue()
    rounds = 0

    def work() -> None:
        nonlocal rounds
        while rounds < 40_000:  # SimpleQueue.get alone hung 5 times in 60,000 rounds
            jobs.put(Job(lambda: None, quick=True))
            assert take(jobs, 1.0) is not None
            assert take(jobs, 1e-6 * (rounds % 4)) is None
            rounds += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60.0)
    assert rounds == 40_000, f"it hangs in round {rounds}"


def test_a_job_is_taken_as_soon_as_it_comes() -> None:
    jobs: SimpleQueue[Job] = SimpleQueue()
    job = Job(lambda: None, quick=True)
    threading.Timer(0.05, jobs.put, [job]).start()
    assert take(jobs, None) is job
    assert take(jobs, -1.0) is None
