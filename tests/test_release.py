"""What a release is made of agrees: metadata, changelog, citation and workflow."""

import dataclasses
import importlib.util
import pathlib
import re
import shutil
import tomllib

import jsonschema
import pytest
import yaml

import zoo
from zoo import cli
from zoo.papers import PAPERS, paper_of
from zoo.project import DOCUMENTATION, INDEX, REPOSITORY

ROOT = pathlib.Path(zoo.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The part of the Citation File Format's schema, version 1.2.0, that a file of this kind uses.
_ENTITY = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {"name": {"type": "string", "minLength": 1}, "website": {"type": "string"}},
}
_PERSON = {
    "type": "object",
    "required": ["family-names"],
    "additionalProperties": False,
    "properties": {
        key: {"type": "string", "minLength": 1}
        for key in ("family-names", "given-names", "name-particle", "name-suffix", "affiliation")
    },
}
_CFF = {
    "type": "object",
    "required": ["authors", "cff-version", "message", "title"],
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "message": {"type": "string", "minLength": 1},
        "type": {"enum": ["dataset", "software"]},
        "title": {"type": "string", "minLength": 1},
        "abstract": {"type": "string", "minLength": 1},
        "authors": {"type": "array", "minItems": 1, "items": {"anyOf": [_ENTITY, _PERSON]}},
        "version": {"type": ["string", "number"]},
        "date-released": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "license": {"type": "string"},
        "url": {"type": "string", "pattern": "^https://"},
        "repository-code": {"type": "string", "pattern": "^https://"},
        "keywords": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    },
}


def citation_file():
    # Dates stay text, as the schema has them.
    return yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def test_the_citation_file_is_valid_and_about_this_package():
    citation = citation_file()
    jsonschema.validate(citation, _CFF)
    assert citation["version"] == zoo.__version__
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    assert set(citation["keywords"]) == set(PROJECT["keywords"])


def test_the_addresses_are_the_same_everywhere():
    urls = PROJECT["urls"]
    assert urls["Homepage"] == INDEX == citation_file()["url"]
    assert urls["Repository"] == REPOSITORY == citation_file()["repository-code"]
    assert urls["Documentation"] == DOCUMENTATION
    for page in ("docs/releases.md",):
        text = (ROOT / page).read_text(encoding="utf-8")
        found = re.findall(r"https://github\.com/[\w.-]+/[\w.-]+/blob/main/CHANGELOG\.md", text)
        assert found == [urls["Changelog"]]
    assert all(address.startswith(urls["Repository"]) for address in
               (urls["Issues"], urls["Changelog"]))  # fmt: skip


def test_every_python_that_is_declared_is_tested():
    declared = {
        match[1]
        for line in PROJECT["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    }
    assert declared == {"3.11", "3.12", "3.13"}
    assert PROJECT["requires-python"] == ">=3.11"
    jobs = {**workflow("ci")["jobs"], **workflow("release")["jobs"]}
    for name in ("ci", "test-wheel"):
        assert set(jobs[name]["strategy"]["matrix"]["python"]) == declared


def workflow(name):
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=yaml.BaseLoader)


def test_nothing_is_published_before_the_wheel_has_been_tested():
    jobs = workflow("release")["jobs"]

    def before(name):
        needed = jobs[name].get("needs", [])
        needed = [needed] if isinstance(needed, str) else needed
        return {*needed, *(earlier for one in needed for earlier in before(one))}

    for name in ("publish-package", "publish-checkpoints", "site"):
        assert {"build", "test-wheel"} <= before(name)
    # Trusted publishing: a token of the workflow's own, and no password.
    package = jobs["publish-package"]
    assert package["permissions"] == {"id-token": "write"}
    assert "password" not in str(package)


def test_the_changelog_is_kept():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", s) for s in sections[1:]]
    assert None not in released
    numbers = [tuple(map(int, match.groups())) for match in released if match]
    assert numbers == sorted(numbers, reverse=True)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.fixture
def release_version():
    path = ROOT / ".github" / "release_version.py"
    spec = importlib.util.spec_from_file_location("release_version", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_release_has_one_version(release_version, tmp_path, capsys):
    (tmp_path / "zoo").mkdir()
    for place in ("zoo/__init__.py", "CITATION.cff", "CHANGELOG.md"):
        shutil.copy(ROOT / place, tmp_path / place)
    changelog = tmp_path / "CHANGELOG.md"
    unreleased = "## [Unreleased]\n"
    text = changelog.read_text(encoding="utf-8")
    version = zoo.__version__
    section = f"{unreleased}\n## [{version}] - 2026-12-01\n"
    changelog.write_text(text.replace(unreleased, section), encoding="utf-8")
    assert release_version.main(version, tmp_path) == 0
    assert release_version.main("9.9.9", tmp_path) == 1
    assert capsys.readouterr().err.count("not 9.9.9") == 3
    citation = (tmp_path / "CITATION.cff").read_text(encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text(citation.replace(f"version: {version}", "version: 9.9"))
    assert release_version.main(version, tmp_path) == 1
    assert capsys.readouterr().err == f"CITATION.cff names the version 9.9, not {version}\n"


def test_what_every_checkpoint_is_cited_as():
    for record in zoo.list_models():
        text = zoo.cite(record.name)
        paper, package = text.split("\n\n")
        assert zoo.cite() == package
        expected = paper_of(record.paper)
        assert expected is not None
        assert paper == expected.bibtex


def test_a_checkpoint_is_cited_as_the_loss_that_trained_it():
    assert "author = {Losch, Max and" in zoo.cite("lc-lmt-cifar10")
    assert "author = {Ono, Hajime and" in zoo.cite("lc-lmt-mnist")


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_both_forms_of_a_paper_are_of_the_same_paper(paper):
    authors, _, rest = paper.reference.partition(": ")
    cited = re.search(r"author = \{(.*)\}", paper.bibtex)
    assert cited is not None
    surnames = [name.partition(",")[0] for name in cited[1].split(" and ")]
    assert [re.sub(r"\W", "", name) for name in surnames] == authors.split(", ")
    assert f"year = {{{rest[-4:]}}}" in paper.bibtex
    assert f"url = {{{paper.address}}}" in paper.bibtex


@pytest.mark.parametrize("name", [*PAPERS, None])
def test_entries_are_well_formed(name):
    for entry in zoo.cite(name).split("\n\n"):
        assert re.match(r"@(inproceedings|misc|software)\{\w+,\n", entry)
        depth = 0
        for character in entry:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0
        fields = re.findall(r"^  (\w+) = \{", entry, re.MULTILINE)
        assert {"author", "title", "url"} <= set(fields)
        assert len(fields) == len(set(fields))
    assert f"version = {{{zoo.__version__}}}" in zoo.cite(name)


def test_a_paper_without_an_entry_is_named_in_a_comment(monkeypatch):
    paper = "Someone, A paper\nof two lines, 2026"
    record = dataclasses.replace(zoo.info("crt-digits"), paper=paper)
    monkeypatch.setattr("zoo.hub.catalog.info", lambda name: record)
    assert zoo.cite("mine") == f"% Someone, A paper of two lines, 2026\n\n{zoo.cite()}"


def test_only_what_exists_is_cited():
    with pytest.raises(zoo.UnknownModelError, match="no model 'linf-dist-mnst'"):
        zoo.cite("linf-dist-mnst")
    with pytest.raises(zoo.UnknownModelError, match="approaches and losses: .*, mixture, "):
        zoo.cite("mixtur")
    with pytest.raises(TypeError, match="catalog name"):
        zoo.cite(3)  # pyright: ignore[reportArgumentType]


def test_the_version_and_the_citation_on_the_command_line(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"certified-zoo {zoo.__version__}\n"
    assert cli.main(["cite", "crt-digits"]) == 0
    assert capsys.readouterr().out == zoo.cite("crt-digits") + "\n"
