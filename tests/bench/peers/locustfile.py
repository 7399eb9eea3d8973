"""locust's side of `python -m tests.bench load`: the same POST as everybody else's."""

from locust import FastHttpUser, constant, task


class Client(FastHttpUser):  # type: ignore[misc]
    """Asks again as soon as it has its answer."""

    wait_time = constant(0)

    @task
    def retrieve(self) -> None:
        """One question."""
        self.client.post("/retrieve", json={"query": "question", "top_k": 5})
