"""How pages are read: a reader that overlooks commands would let every other test here pass."""

import pytest

from tests.docs.commands.pages import all_commands, blocks_of, commands_of, inline_of, is_whole, pages

PAGE = """# Page

Some `inline code` and:

```sh
first --option 'a # b'   # exit code 1: no match
second \\
    --goes on
# nothing
cat > file <<EOF
one
EOF
third <word of yours's>
```

```text
printed
```

| a | b |
|---|---|
| `in a\\|table` | |

- in a list:

  ```sh
  fourth   # match: ada
  ```

Words.

```text
drawn
```
"""


def test_commands_of_a_page_when_read_have_their_lines_codes_and_expectations() -> None:
    found = [command for block in blocks_of("p.md", PAGE) if block.language == "sh" for command in commands_of(block)]
    assert [(c.place, c.code, c.exit_code, c.said) for c in found] == [
        ("p.md:6", "first --option 'a # b'", 1, ""),
        ("p.md:7", "second     --goes on", 0, ""),
        ("p.md:10", "cat > file <<EOF\none\nEOF", 0, ""),
        ("p.md:13", "third <word of yours's>", 0, ""),
        ("p.md:27", "fourth", 0, "match: ada"),
    ]


def test_output_of_a_page_belongs_to_the_block_right_before_it() -> None:
    assert [(block.language, block.shown) for block in blocks_of("p.md", PAGE)] == [
        ("sh", "printed\n"),
        ("text", ""),
        ("sh", ""),
        ("text", ""),
    ]


def test_inline_code_of_a_page_is_found_in_paragraphs_and_tables() -> None:
    assert [(code.place, code.text) for code in inline_of("p.md", PAGE)] == [
        ("p.md:3", "inline code"),
        ("p.md:22", "in a|table"),
    ]


def test_command_without_an_end_is_one_with_its_place() -> None:
    (block,) = blocks_of("p.md", "```sh\necho\necho 'and\nso on\n```\n")
    assert [(command.place, command.text) for command in commands_of(block)] == [
        ("p.md:2", "echo"),
        ("p.md:3", "echo 'and\nso on"),
    ]


def test_command_is_whole_where_the_locale_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    assert is_whole.__wrapped__("echo 'it'")
    assert not is_whole.__wrapped__("cat <<END")


def test_commands_of_pages_have_an_end() -> None:
    broken = [f"{command.place}: {command.text}" for command in all_commands() if not is_whole(command.text)]
    assert not broken, "the shell waits for more:\n" + "\n".join(broken)


def test_pages_are_found_with_their_commands() -> None:
    assert {"README.md", "docs/training.md", "docs/experiments/radio.md"} <= set(pages())
    assert not [page for page in pages() if "decisions" in page]
    commands = all_commands()
    assert len(commands) > 100
    assert {command.code.split()[0] for command in commands} >= {"make", "matchka", "matchka-train", "curl", "docker"}
