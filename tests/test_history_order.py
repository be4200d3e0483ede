"""The order of commits: by ancestry where the repository is at hand, whatever their dates; else by date, and said."""

import pytest
from asv_folder import DAY, NAME, START, Folder, Repository, commit_of

from normsuite import history
from normsuite.history.commits import Commits
from normsuite.history.order import order
from normsuite.history.steps import REGRESSION

pytestmark = pytest.mark.usefixtures("own_cache")


def judged(folder, repository=None):
    """All regressions, and the notes."""
    found = history.read(folder, None if repository is None else Commits(repository))
    trends = history.trends(history.segments(found.results))
    return [step for trend in trends for step in trend.steps if step.verdict == REGRESSION], found.notes, trends


def linear(tmp_path, count, slow_from, when):
    """A repository and results of which the commits from that one on are 30 % slower."""
    repository, folder = Repository(tmp_path / "repo"), Folder(tmp_path / "results").list({NAME: {}})
    commits = []
    for n in range(count):
        commits.append(repository.commit(f"commit {n + 1}", when(n)))
        value = folder.noisy(1.0 if n < slow_from else 1.3)
        folder.add(commits[-1], when(n), {NAME: [value]}, started=START + 100 * DAY + 60 * n)
    return repository.path, folder.path, commits


DATES = {
    "of one second": lambda n: START,
    "ahead": lambda n: START + 3600 * n + (365 * DAY if n == 3 else 0),
    "in 1970": lambda n: 1 if n == 20 else START + 3600 * n,
    "backwards": lambda n: START - 3600 * n,
    "of an older branch": lambda n: START + 3600 * n - (30 * DAY if n >= 12 else 0),
}


@pytest.mark.parametrize("when", DATES.values(), ids=DATES)
def test_the_right_commit_is_blamed_whatever_the_dates(tmp_path, when):
    repository, folder, commits = linear(tmp_path, 24, 12, when)
    (step,), notes, _ = judged(folder, repository)
    assert (step.before_commit, step.commit) == (commits[11], commits[12]) and step.counts and notes == []
    assert 1.25 < step.ratio.low < 1.3 < step.ratio.high < 1.35


def test_a_merged_branch_stands_at_its_merge(tmp_path):
    """The branch left before main became slower: its commits are fast, and lie between main's by date."""
    repository, folder = Repository(tmp_path / "repo"), Folder(tmp_path / "results").list({NAME: {}})
    clock, measured = iter(range(START, START + 10**6, 3600)), {}

    def add(message, value, *how):
        at = next(clock)
        repository.git(*(how or ("commit", "-q", "--allow-empty", "-m", message)), at=at)
        measured[message] = repository.git("rev-parse", "HEAD")
        folder.add(measured[message], at, {NAME: [folder.noisy(value)]})

    add("main 1", 1.0)
    repository.git("branch", "side")
    for n in range(2, 9):
        add(f"main {n}", 1.0 if n < 8 else 1.3)
    for n in range(9, 17):
        repository.git("checkout", "-q", "main")
        add(f"main {n}", 1.3)
        repository.git("checkout", "-q", "side")
        add(f"side {n}", 1.0)
    repository.git("checkout", "-q", "main")
    add("merge", 1.3, "merge", "-q", "--no-ff", "-m", "merge", "side")
    for n in range(18, 24):
        add(f"main {n}", 1.3)
    (step,), notes, (trend,) = judged(folder.path, repository.path)
    assert step.commit == measured["main 8"] and trend.floor < 1.01
    assert notes == [
        "8 commits came in by merges: each merge is shown once, by its own commit or, where that was not measured, by "
        "the last measured one that it brought in"
    ]
    (folder.machine / f"{measured['merge'][:8]}-venv.json").unlink()
    dates = dict.fromkeys((of for of in measured.values() if of != measured["merge"]), 0.0)
    stand = order(dates, Commits(repository.path))
    assert (
        len(dates) - len(stand.places) == 7
        and stand.places[measured["main 16"]] + 1 == stand.places[measured["side 16"]]
    ), "where the merge was not measured, what it brought in last stands in its place"


def test_a_branch_that_was_not_merged_is_left_out_and_said(tmp_path):
    repository, folder, commits = linear(tmp_path, 16, 8, lambda n: START + 3600 * n)
    git = Repository.__new__(Repository)
    git.path = repository
    git.git("checkout", "-q", "-b", "side", commits[4])
    extra = git.commit("of the side", START + 3600 * 5 + 1)
    git.git("checkout", "-q", "main")
    Folder(folder).add(extra, START + 3600 * 5 + 1, {NAME: [7.0]})
    (step,), notes, _ = judged(folder, repository)
    assert step.commit == commits[8] and notes == [
        "1 commit of other branches, which were not merged: left out of the history"
    ]


def test_without_a_repository_dates_decide_and_that_is_said(tmp_path):
    _, folder, commits = linear(tmp_path, 24, 12, lambda n: START + 60 * n)
    for asked in (None, tmp_path):
        (step,), notes, _ = judged(folder, asked)
        assert step.commit == commits[12] and len(notes) == (asked is not None)
    assert notes[0].startswith("24 commits placed by date alone")
    _, folder, _ = linear(tmp_path / "same", 6, 3, lambda n: START)
    _, (note,), _ = judged(folder)
    assert note == "6 commits share a date with another, so that their order is not known"


def test_what_a_shallow_clone_lacks_stands_before_what_it_has(tmp_path):
    repository, _, commits = linear(tmp_path, 24, 12, lambda n: START + 3600 * n)
    Repository(tmp_path / "near").git("fetch", "-q", "--depth", "6", repository.as_uri(), "main:main2")
    stand = order({commit: START + 3600 * n for n, commit in enumerate(commits)}, Commits(tmp_path / "near"))
    assert [*stand.places] == commits and stand.notes[0].startswith("18 commits placed by date alone")


def test_commits_without_a_date_need_the_repository(tmp_path):
    repository, _, commits = linear(tmp_path, 4, 2, lambda n: START)
    dates = dict.fromkeys(reversed(commits))
    assert [*order(dates, Commits(repository)).places] == commits
    nowhere = order(dates, None)
    assert nowhere.places == {} and "4 commits without a date" in nowhere.notes[0]


def test_a_user_s_git_settings_change_nothing(tmp_path, monkeypatch):
    repository, _, commits = linear(tmp_path, 8, 4, lambda n: START)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[log]\n\tshowSignature = true\n\tshowRoot = false\n[core]\n\tpager = false\n\tquotePath = true\n"
        "[color]\n\tui = always\n[format]\n\tpretty = oneline\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "of-a-hook"))
    found = Commits(repository)
    assert found.subject(commits[2]) == "commit 3" and found.between(commits[0], commits[3]) == 3
    assert [*order(dict.fromkeys(sorted(commits), 0.0), found).places] == commits


def test_histories_of_hashes_that_no_repository_knows_have_every_commit(tmp_path):
    folder = Folder(tmp_path).list({NAME: {}})
    for n in range(5):
        folder.add(commit_of(n), START + n, {NAME: [1.0]})
    (segment,) = history.segments(history.read(tmp_path, Commits(tmp_path)).results)
    assert segment.commits == [commit_of(n) for n in range(5)]
