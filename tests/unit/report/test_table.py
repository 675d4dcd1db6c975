"""The table a run prints."""

from pathlib import Path

from rich.console import Console

from headrace.report import Category, Feature, Published, RunFacts, summary


def printed(run: RunFacts, report: Path | None = None) -> str:
    console = Console(width=100, record=True, file=None, color_system=None)
    with console.capture() as capture:
        console.print(summary(run, report))
    return " ".join(capture.get().split())


def test_counts_cut_publication_champion_and_report_are_told():
    run = RunFacts(
        "segments",
        entity="customer_id",
        generation=3,
        champion_before=2,
        champion_after=3,
        delta_version=8,
        cut=(("", "a", 541_909), ("t", "0", 91)),
        rows_read=541_912,
        rows=541_909,
        dropped={"no customer_id": 135_080},
        quarantined={"bad": 3},
        entities=4_372,
        inertia=16.87,
        categories=(Category("segment", "name", {"Hibernating": 1_053, "Can't Lose": 68}),),
        published=Published(87, 4_285),
        note="GENERATED DATA IS USED",
    )
    text = printed(run, Path("/h/reports/segments-3.html"))
    for told in (
        "GENERATED DATA IS USED",
        "Hibernating │ 1,053",
        "Can't Lose │ 68",
        "rows read 541,912, 3 quarantined",
        "events 541,909, 135,080 dropped",
        "customers 4,372",
        "inertia 16.87",
        "generation 3, champion is 3, before 2",
        "cut 2 partitions, 542,000 positions, lake version 8",
        "published 87 written, 4,285 unchanged",
        "report /h/reports/segments-3.html",
    ):
        assert told in text, told


def test_features_stand_in_where_there_is_no_output_to_count():
    run = RunFacts(
        "spend", features=(Feature("total", 3, 0, -1.0, 2.0, 2.25, 1_000.5),), champion_after=1, generation=1
    )
    text = printed(run)
    assert "total │ -1 │ 2 │ 2.25 │ 1,000.50" in text
    assert "generation 1, champion is 1, before none" in text


def test_a_name_alone_is_enough_and_markup_in_names_is_text():
    assert "definition [bold]spend[/bold]" in printed(RunFacts("[bold]spend[/bold]"))
    run = RunFacts("spend", note="[red]note[/red]", categories=(Category("[b]", "name", {"[link=x]a[/link]": 1}),))
    text = printed(run)
    assert "[link=x]a[/link]" in text
    assert "[b]" in text
    assert "[red]note[/red]" in text
