"""The versions that a gate compares: whatever names, settings, links and repositories there are, and never damaged."""

import os
import shutil
import subprocess

import pytest
from asv_folder import Repository

from normsuite.errors import ArgumentError, NormsuiteError
from normsuite.files.git import Git
from normsuite.gate import guarded, trees
from normsuite.targets.configuration import find_project
from tools.injected_commits import SOURCE

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits of a small package."""
    made = Repository(tmp_path / "a repository (1) ünïcode")
    package = made.path / "normsuite"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("version = 1\n")
    (package / "data" / "a b\n.txt").write_text("text\n")
    (package / "run.sh").write_text("#!/bin/sh\n")
    (package / "run.sh").chmod(0o755)
    made.git("add", "--all")
    made.commit("first")
    (package / "__init__.py").write_text("version = 2\n")
    made.git("add", "--all")
    made.commit("second")
    return made


def of(repository, name, argument="base"):
    return trees.of_commit(name, argument=argument, repository=repository.path, source=SOURCE)


def working(repository):
    return trees.of_working_tree(repository=repository.path, source=SOURCE)


def text(tree, name="__init__.py"):
    return (tree.folder / "normsuite" / name).read_text()


def test_versions_are_what_was_committed(repository):
    assert (text(of(repository, "HEAD~1")), text(of(repository, "HEAD"))) == ("version = 1\n", "version = 2\n")
    assert text(of(repository, "HEAD"), "data/a b\n.txt") == "text\n"
    assert os.access(of(repository, "HEAD").folder / "normsuite" / "run.sh", os.X_OK)
    assert working(repository).digest == of(repository, "HEAD").digest


DAMAGES = {
    "a file is gone": lambda package: (package / "__init__.py").unlink(),
    "a folder is gone": lambda package: shutil.rmtree(package / "data"),
    "a file is another": lambda package: (package / "__init__.py").write_text("version = 9\n"),
    "a file is empty": lambda package: (package / "run.sh").write_text(""),
    "a file is a link": lambda package: ((package / "run.sh").unlink(), (package / "run.sh").symlink_to("/dev/null")),
    "a file is a folder": lambda package: ((package / "run.sh").unlink(), (package / "run.sh").mkdir()),
    "a file was added": lambda package: (package / "added.py").write_text("1 / 0"),
    "all is gone": lambda package: shutil.rmtree(package.parent),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_tree_that_a_cleaner_has_touched_is_exported_again(repository, damage):
    tree = of(repository, "HEAD")
    damage(tree.folder / "normsuite")
    again = of(repository, "HEAD")
    assert again == tree and text(again) == "version = 2\n" and text(again, "run.sh") == "#!/bin/sh\n"
    assert sorted(path.name for path in (again.folder / "normsuite").iterdir()) == ["__init__.py", "data", "run.sh"]


def test_what_python_compiles_is_no_damage(repository):
    tree = of(repository, "HEAD")
    (tree.folder / "normsuite" / "__pycache__").mkdir()
    (tree.folder / "normsuite" / "__pycache__" / "x.pyc").write_bytes(b"")
    of(repository, "HEAD")
    assert (tree.folder / "normsuite" / "__pycache__" / "x.pyc").exists()


@pytest.mark.parametrize("target", ["/srv/data/imagenet", "../../../data", "../LICENSE", "run.sh", "nowhere", "."])
def test_a_link_stays_a_link(repository, target):
    (repository.path / "normsuite" / "link").symlink_to(target)
    assert os.readlink(working(repository).folder / "normsuite" / "link") == target
    repository.git("add", "--all")
    repository.commit("link")
    tree = of(repository, "HEAD")
    assert os.readlink(tree.folder / "normsuite" / "link") == target and tree == of(repository, "HEAD")


NAMES = {
    "": "is empty", "  ": "is empty", "--output=x": "looks like an option", "-x": "looks like an option",
    "nothing": "no such commit here", "HEAD^{tree}": "no such commit here", "HEAD:normsuite": "no such commit here",
    "HEAD..HEAD~1": "no such commit here", "HEAD HEAD": "no such commit here", "a\0b": "no such commit here",
}  # fmt: skip


@pytest.mark.parametrize(("name", "says"), NAMES.items())
def test_what_is_no_commit_is_refused_by_name(repository, name, says):
    with pytest.raises(ArgumentError, match=says) as error:
        of(repository, name, "head")
    assert error.value.argument == "head" and error.value.value == name


def test_a_remote_s_branch_is_hinted_at(repository, tmp_path):
    repository.git("branch", "feature")
    clone = Repository.__new__(Repository)
    clone.path = tmp_path / "clone"
    repository.git("clone", "-q", repository.path.as_uri(), clone.path)
    with pytest.raises(ArgumentError, match="but there is origin/feature"):
        of(clone, "feature")
    shallow = Repository.__new__(Repository)
    shallow.path = tmp_path / "shallow"
    repository.git("clone", "-q", "--depth", "1", "--branch", "feature", repository.path.as_uri(), shallow.path)
    with pytest.raises(ArgumentError, match="git fetch origin main:refs/remotes/origin/main") as error:
        of(shallow, "main")
    advice = "main:refs/remotes/origin/main"
    assert advice in str(error.value)
    shallow.git("fetch", "-q", "origin", advice)
    assert text(of(shallow, "origin/main")) == "version = 2\n"
    with pytest.raises(ArgumentError, match="--unshallow"):
        of(shallow, "HEAD~1")


def test_a_repository_within_the_package_is_named(repository):
    Repository(repository.path / "normsuite" / "scratch")
    with pytest.raises(NormsuiteError, match=r"'normsuite/scratch' is a repository of its own.*\.git/info/exclude"):
        working(repository)
    (repository.path / ".git" / "info").mkdir(exist_ok=True)
    (repository.path / ".git" / "info" / "exclude").write_text("/normsuite/scratch/\n")
    assert working(repository).digest == of(repository, "HEAD").digest


def test_a_package_that_is_a_submodule_is_said(repository, tmp_path):
    parent = Repository(tmp_path / "parent")
    parent.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", repository.path.as_uri(), "normsuite")
    parent.commit("parent")
    for call in (lambda: of(parent, "HEAD"), lambda: working(parent)):
        with pytest.raises(NormsuiteError, match=r"run the gate within it \(cd normsuite\)"):
            call()


SETTINGS = {
    "signatures": "[log]\n\tshowSignature = true\n[commit]\n\tgpgSign = true\n",
    "line ends": "[core]\n\tautocrlf = true\n\tsafecrlf = true\n",
    "pager and colour": "[core]\n\tpager = false\n[color]\n\tui = always\n[pager]\n\tlog = true\n",
    "hooks": "[core]\n\thooksPath = /nonexistent\n\tfsmonitor = /nonexistent/monitor\n",
    "quoting": "[core]\n\tquotePath = true\n\tprecomposeUnicode = true\n",
    "formats": "[format]\n\tpretty = oneline\n[log]\n\tdate = relative\n\tdecorate = full\n",
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_user_s_settings_change_nothing(repository, tmp_path, monkeypatch, settings):
    (repository.path / "normsuite" / "errors.py").write_text("one\ntwo\n")
    expected = working(repository), of(repository, "HEAD")
    shutil.rmtree(expected[0].folder)
    (tmp_path / "gitconfig").write_text(settings)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert (working(repository), of(repository, "HEAD")) == expected
    assert text(expected[0], "errors.py") == "one\ntwo\n" and expected[1].subject == "second"


def test_attributes_leave_nothing_out(repository):
    (repository.path / "normsuite" / ".gitattributes").write_text("data export-ignore\n*.py text eol=crlf\n")
    repository.git("add", "--all")
    repository.commit("attributes")
    tree = of(repository, "HEAD")
    assert text(tree, "data/a b\n.txt") == "text\n" and b"\r" not in (tree.folder / "normsuite" / "run.sh").read_bytes()


def test_nothing_is_written_into_the_repository(repository):
    (repository.path / "normsuite" / "new.py").write_text("x = 1\n")
    (repository.path / ".git" / "index.lock").write_text("")

    def held():
        return {path: path.read_bytes() for path in (repository.path / ".git").rglob("*") if path.is_file()}

    before = held()
    assert text(working(repository), "new.py") == "x = 1\n"
    assert before == held()


def test_a_split_index_and_sha256_are_read(tmp_path, repository):
    repository.git("update-index", "--split-index")
    (repository.path / "normsuite" / "__init__.py").write_text("version = 3\n")
    assert text(working(repository)) == "version = 3\n"
    path = tmp_path / "sha256"
    subprocess.run(["git", "init", "-q", "--object-format=sha256", path], check=True)
    other = Repository.__new__(Repository)
    other.path = path
    shutil.copytree(repository.path / "normsuite", path / "normsuite")
    other.git("add", "--all")
    other.commit("first")
    assert len(of(other, "HEAD").digest) == 64 and text(of(other, "HEAD")) == "version = 3\n"


def test_no_repository_no_commit_no_package(tmp_path):
    with pytest.raises(NormsuiteError, match="no git repository"):
        trees.root(tmp_path)
    empty = Repository(tmp_path / "empty")
    with pytest.raises(NormsuiteError, match="without a commit"):
        working(empty)
    empty.commit("nothing in it")
    with pytest.raises(ArgumentError, match="has no folder normsuite"):
        of(empty, "HEAD")
    with pytest.raises(NormsuiteError):
        Git(tmp_path / "absent")("status")


def test_a_package_in_a_folder_of_its_repository_is_found_from_within(tmp_path, repository):
    """A repository of several projects; its top, which has no such package, says where there is one."""
    several = Repository(tmp_path / "several")
    home = several.path / "libs" / "one"
    shutil.copytree(repository.path / "normsuite", home / "normsuite")
    (home / "pyproject.toml").write_text('[tool.normsuite]\npackage = "normsuite"\n')
    several.git("add", "--all")
    several.commit("all of them")
    for folder in (home, home / "normsuite", home / "normsuite" / "data"):
        project = find_project(folder)
        assert project.folder == home and guarded.source_of(project) == SOURCE
    first = trees.of_commit("HEAD", argument="base", repository=home, source=SOURCE)
    assert first.digest == trees.of_working_tree(repository=home, source=SOURCE).digest == of(repository, "HEAD").digest
    assert text(first) == "version = 2\n"
    (home / "normsuite" / "__init__.py").write_text("version = 3\n")
    assert text(trees.of_working_tree(repository=home, source=SOURCE)) == "version = 3\n"
    with pytest.raises(ArgumentError, match=r"has no folder normsuite, but libs/one has: .*\(cd libs/one\)"):
        of(several, "HEAD")


def test_a_whole_clone_of_one_branch_says_how_to_get_another(repository, tmp_path):
    repository.git("branch", "feature")
    clone = Repository.__new__(Repository)
    clone.path = tmp_path / "clone"
    repository.git("clone", "-q", "--single-branch", "--branch", "feature", repository.path.as_uri(), clone.path)
    with pytest.raises(ArgumentError, match="git fetch origin main:refs/remotes/origin/main gets another"):
        of(clone, "main")
    with pytest.raises(ArgumentError, match=r"no such commit here$"):
        of(clone, "HEAD:normsuite")


def in_a_folder_with_a_line_break(made):
    shutil.move(made.path, made.path.parent / "a\nb")
    made.path = made.path.parent / "a\nb"


def in_a_second_worktree(made):
    made.git("worktree", "add", "-q", made.path.parent / "second", "-b", "side")
    made.path = made.path.parent / "second"


def sparse(made):
    made.git("sparse-checkout", "set", "--no-cone", "/*", "!normsuite/data/")
    assert not (made.path / "normsuite" / "data").exists()


def with_a_filter_that_is_not_installed(made):
    for name in ("clean", "smudge", "process"):
        made.git("config", f"filter.absent.{name}", f"absent-{name}")
    made.git("config", "filter.absent.required", "true")
    (made.path / ".git" / "info").mkdir(exist_ok=True)
    (made.path / ".git" / "info" / "attributes").write_text("data/** filter=absent\n")


PLACES = {
    "a line break in its name": in_a_folder_with_a_line_break,
    "a second worktree": in_a_second_worktree,
    "a sparse checkout": sparse,
    "another git's lock": lambda made: (made.path / ".git" / "index.lock").touch(),
    "a filter that is not installed": with_a_filter_that_is_not_installed,
    "a branch called as a tag": lambda made: (made.git("branch", "v1"), made.git("tag", "v1")),
}


@pytest.mark.parametrize("change", PLACES.values(), ids=PLACES)
def test_a_repository_of_any_kind_gives_the_same_versions(repository, change):
    expected = of(repository, "HEAD").digest
    change(repository)
    assert of(repository, "HEAD").digest == working(repository).digest == expected
    assert text(of(repository, "HEAD~1")) == "version = 1\n"


def test_a_hook_of_the_same_repository_sees_what_its_user_sees(repository, monkeypatch):
    """A commit of some files alone: git gives its hook an index of its own."""
    expected = working(repository).digest
    shutil.copy(repository.path / ".git" / "index", repository.path / ".git" / "next-index-1.lock")
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository.path / ".git" / "next-index-1.lock"))
    monkeypatch.setenv("GIT_PREFIX", "")
    monkeypatch.chdir(repository.path)
    assert of(repository, "HEAD").digest == working(repository).digest == expected


def test_a_bare_repository_and_another_user_s_are_said(repository, tmp_path):
    repository.git("clone", "-q", "--bare", repository.path.as_uri(), tmp_path / "bare.git")
    with pytest.raises(NormsuiteError, match="no git repository"):
        trees.root(tmp_path / "bare.git")


def test_a_clone_that_has_not_fetched_a_file_says_so(repository, tmp_path):
    (repository.path / "normsuite" / "__init__.py").write_text("version = 'in this test alone'\n")
    repository.git("add", "--all")
    repository.commit("third")
    repository.git("config", "uploadpack.allowFilter", "true")
    clone = Repository.__new__(Repository)
    clone.path = tmp_path / "partial"
    repository.git("clone", "-q", "--filter=blob:none", "--no-checkout", repository.path.as_uri(), clone.path)
    repository.path.rename(tmp_path / "gone")
    with pytest.raises(NormsuiteError, match="repository"):
        of(clone, "HEAD")
    (tmp_path / "gone").rename(repository.path)
    assert text(of(clone, "HEAD")) == "version = 'in this test alone'\n", "it is fetched"
