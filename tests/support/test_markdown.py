"""The reader of code blocks."""

from __future__ import annotations

from pathlib import Path

from tests.support.markdown import ROOT, blocks_of, pages, replace_blocks

PAGE = """\
# Page

<!-- file: a.yaml -->
```yaml
version: 1
```

```{toctree}
other
```

<!-- run in folder -->
```console
$ ls
a.yaml
```
"""


def test_blocks_come_with_what_is_to_be_done_with_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert [(b.language, b.directive, b.argument, b.text) for b in blocks_of(page)] == [
        ("yaml", "file", "a.yaml", "version: 1\n"),
        ("{toctree}", "", "", "other\n"),
        ("console", "run", "in folder", "$ ls\na.yaml\n"),
    ]


def test_replacing_changes_the_content_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    first, _, last = blocks_of(page)
    replace_blocks(page, {first: "version: 1\nname: longer\n", last: "$ ls\n"})
    assert page.read_text() == PAGE.replace("version: 1\n", "version: 1\nname: longer\n").replace("a.yaml\n```", "```")


def test_the_pages_are_those_of_the_project() -> None:
    found = pages()
    assert found[0] == ROOT / "README.md"
    assert ROOT / "docs" / "tutorial.md" in found
