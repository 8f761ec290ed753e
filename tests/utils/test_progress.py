"""The parts of an item have a bar of their own, below that of the items."""

from zoo.ops.cores import on_all_cores
from zoo.utils import progress


def shown():
    display = progress._SHOWN.get()
    return [] if display is None else [task.description for task in display.tasks]


def test_parts_are_shown_while_they_are_worked_on():
    seen = []
    for _ in progress.track([1, 2], "items", show=False):
        for _ in progress.track_part(range(3), "parts", total=3):
            seen.append(shown())
        assert shown() == ["items"]
    assert seen == [["items", "parts"]] * 6
    assert shown() == []
    assert list(progress.track_part(range(3), "parts", total=3)) == [0, 1, 2]


def test_tasks_on_all_cores_are_parts(monkeypatch):
    seen = []

    def recorded(items, description, *, total):
        seen.append((description, total))
        return progress.track_part(items, description, total=total)

    monkeypatch.setattr("zoo.ops.cores.track_part", recorded)
    assert on_all_cores(lambda x: x + 1, range(4), description="tasks") == [1, 2, 3, 4]
    assert on_all_cores(lambda x: x + 1, range(4)) == [1, 2, 3, 4]
    assert seen == [("tasks", 4)]
