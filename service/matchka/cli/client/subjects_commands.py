"""`matchka subjects list | show | delete-template`: who is enrolled."""

from typing import Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matchka.cli.client.options import Url, connected
from matchka.cli.output.report import Report, reporting, unsaid
from matchka.client.answers import SubjectAnswer, SubjectsAnswer

PAGE: Final = 1000

subjects_commands = typer.Typer(help="List, show and delete subjects.")


@subjects_commands.command("list")
@reporting
def list_subjects(url: Url = None) -> Report:
    """List every subject."""
    client = connected(url)
    answer = client.subjects(limit=PAGE)
    while answer.next_cursor is not None:  # one document of all pages, the last of which names no other
        page = client.subjects(limit=PAGE, cursor=answer.next_cursor)
        answer = page.model_copy(update={"subjects": [*answer.subjects, *page.subjects]})
    return Report(answer, lambda console: _show_subjects(console, answer))


@subjects_commands.command("show")
@reporting
def show_subject(subject_id: str, url: Url = None) -> Report:
    """Show one subject's templates."""
    answer = connected(url).subject(subject_id)
    return Report(answer, lambda console: _show_subject(console, answer))


@subjects_commands.command("delete-template")
@reporting
def delete_template(template_id: str, url: Url = None) -> Report:
    """Delete one template of a subject."""
    connected(url).delete_template(template_id)
    return Report({"template_id": template_id, "deleted": True}, unsaid)


def _show_subjects(console: Console, answer: SubjectsAnswer) -> None:
    table = Table("subject", "templates", "enrolled")
    for subject in answer.subjects:
        table.add_row(subject.subject_id, str(subject.template_count), f"{subject.created_at:%Y-%m-%d %H:%M}")
    console.print(table)


def _show_subject(console: Console, answer: SubjectAnswer) -> None:
    terms = {name: getattr(answer, name) for name in ("consent", "purpose", "expires_at", "metadata")}
    caption = ", ".join(f"{name}: {value}" for name, value in terms.items() if value)
    table = Table(
        "template",
        "model",
        "version",
        "enrolled",
        title=answer.subject_id,
        caption=escape(caption) if caption else None,
    )
    for template in answer.templates:
        table.add_row(template.template_id, template.model, template.version, f"{template.created_at:%Y-%m-%d %H:%M}")
    console.print(table)
