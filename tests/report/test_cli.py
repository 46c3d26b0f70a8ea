from __future__ import annotations

from covidct.cli import main


def test_writes_into_the_run_folder(grouped, bare, capsys):
    assert main(["report", str(grouped.run_dir)]) == 0
    page = grouped.run_dir / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text("utf-8") == bare


def test_with_slices_shows_them_and_audits(grouped, tmp_path, outline):
    output = tmp_path / "page.html"
    command = ["report", str(grouped.run_dir), "--dataset", "phantom", "--n", "24"]
    assert main([*command, "--output", str(output)]) == 0
    page = outline(output.read_text("utf-8"))
    assert "Audit of the dataset" in page.text
    assert len(page.all("form")) == 1


def test_other_slices_are_an_error(grouped, capsys):
    command = [
        "report",
        str(grouped.run_dir),
        "--dataset",
        "phantom",
        "--n",
        "20",
        "--no-audit",
    ]
    assert main(command) == 1
    assert "no run was trained on the given slices" in capsys.readouterr().err


def test_no_run_is_an_error(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "no run found in" in capsys.readouterr().err
