from __future__ import annotations

import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--dump-dom",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def dumped(html, folder):
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    return done.stdout


def test_script_runs_under_the_policy_of_the_page(html, tmp_path):
    n = html.count("data-verdict=")
    assert f'<output aria-live="polite">{n} of {n} slices</output>' in dumped(html, tmp_path)


def test_filter_hides_the_others(html, tmp_path):
    click = """<script>
    const form = document.querySelector("form.filter");
    form.elements.verdict.value = "wrong";
    form.elements.true.value = "0";
    form.elements.cam.checked = false;
    form.dispatchEvent(new Event("input"));
    </script></body>"""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>\n', "", html)
    dom = dumped(free.replace("</body>", click), tmp_path)
    items = re.findall(r'<li class="\w+" data-verdict="(\w+)" data-true="(\d)"( hidden="")?>', dom)
    assert len(items) == html.count("data-verdict=")
    for verdict, true, hidden in items:
        assert bool(hidden) != (verdict == "wrong" and true == "0")
    assert 'class="gallery bare"' in dom
