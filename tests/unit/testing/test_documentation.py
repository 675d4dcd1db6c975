"""The examples of docs/testing.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks() -> dict[str, str]:
    return dict(BLOCK.findall(PAGE.read_text("utf-8")))


def test_the_test_is_fifteen_lines():
    assert len([line for line in blocks()["test_mine.py"].splitlines() if line.strip()]) <= 15
    assert len(blocks()["mine.py"].splitlines()) <= 20


@pytest.mark.spark
def test_the_example_passes_and_a_broken_definition_fails_it(pytester: pytest.Pytester):
    mine, test = blocks()["mine.py"], blocks()["test_mine.py"]
    broken = mine.replace('F.lower("method")', 'F.current_timestamp().cast("string")')
    assert broken != mine
    files = {"mine.py": mine, "test_mine.py": test}
    files |= {"broken.py": broken, "test_broken.py": test.replace("from mine", "from broken")}
    for name, code in files.items():
        (pytester.path / name).write_text(code, "utf-8")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["PASSED test_mine.py::*", "FAILED test_broken.py::*"])


def test_every_fixture_is_on_the_page(pytester: pytest.Pytester):
    listed = pytester.runpytest_inprocess("--fixtures", "-q").outlines
    start = next(i for i, line in enumerate(listed) if "headrace.testing.plugin" in line)
    names = [
        match[1] for line in listed[start:] if (match := re.match(r"(\w+).* -- .*headrace/testing/plugin\.py", line))
    ]
    assert len(names) >= 6
    page = PAGE.read_text("utf-8")
    assert [name for name in names if f"| `{name}` |" not in page] == []
