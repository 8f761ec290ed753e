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


def test_an_evaluation_shows_one_bar(monkeypatch):
    import io

    from rich.console import Console
    from rich.progress import Progress

    import zoo

    displays = []

    def display(show=True):
        displays.append(Progress(console=Console(file=io.StringIO()), disable=not show))
        return displays[-1]

    monkeypatch.setattr(progress, "bar", display)
    model = zoo.load("linf-dist-digits")
    test = zoo.data.load("digits", "test")
    x, y = test.images[:8], test.labels[:8]
    model.evaluate_robustness(x, y, eps=[0.05, 0.1], attacks=("fgsm", "pgd"), verbose=1)
    (only,) = displays
    # The certificate, and two attacks at two budgets; the bars of single attacks are gone.
    assert [(task.description, task.completed) for task in only.tasks] == [("evaluating", 5)]
    assert only.tasks[0].total == 5
