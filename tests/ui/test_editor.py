"""The editor of chapter 2: what it marks, what it shows, and that all of it is in the plain text too."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from labkit import ignition
from labkit.errors import ParameterError
from labkit.ignition.analysis.editing import Review
from labkit.ui import choosers, edit_config
from labkit.ui.config_marks import draw_marks, draw_remarks, marked_text, place
from labkit.ui.editor import STYLE, TABS, ConfigEditor

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ARTICLE = (NOTEBOOKS / "article.yaml").read_text()
BUTANE = "variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - path: /a\n      mode: 644\n"


def marked(text: str) -> list[tuple[int, str]]:
    """The words that are underlined, with their lines, as the HTML has them."""
    lines = re.findall(r'data-line="(\d+)"[^>]*>(.*?)</span>(?=<span class="lk-line|</pre>)', draw_marks(review(text)))
    return [(int(line), word) for line, body in lines for word in re.findall(r'lk-mark-\w+">([^<]*)</span>', body)]


def review(text: str) -> Review:
    return ignition.review(text)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        (ARTICLE, [(18, "--tokenSWMTKN-1-..."), (33, "ExecStop=/usr/bin/docker swarm leave")]),
        (BUTANE, [(6, "644")]),
        (BUTANE.replace("mode: 644", "modus: 0644"), [(6, "modus")]),
        (BUTANE.replace("644", "0644 # as <always>"), []),
        (BUTANE.replace("/a\n", "a<b # x\n"), [(5, "a&lt;b"), (6, "644")]),
        (BUTANE + "systemd: {units: [{name: a, mask: true}]}\n", [(6, "644"), (7, "a")]),
        (BUTANE.replace("mode", "\tmode"), [(6, "mode: 644")]),
        ("variant: x\nversion: 1.0.0\n", [(1, "variant: x")]),
        ('{"ignition": {"version": "3.3.0"},\n "x": 1}', [(2, "&quot;x&quot;")]),
    ],
)
def test_the_word_that_is_wrong_is_underlined(text: str, marks: list[tuple[int, str]]) -> None:
    assert marked(text) == marks


def test_the_layer_below_repeats_the_text_exactly() -> None:
    """Else the marks would not lie under their words."""
    for text in (ARTICLE, BUTANE, "a: <b>&amp;\n\n  \tx", ""):
        body = draw_marks(review(text)).removeprefix('<pre class="lk-marks" aria-hidden="true">').removesuffix("</pre>")
        lines = [re.sub("<[^>]*>", "", line) for line in body.split('<span class="lk-line')[1:]]
        shown = [line.partition(">")[2].replace("&#8203;", "") for line in lines]
        assert [html.unescape(line) for line in shown] == text.split("\n")


def test_typing_redraws_everything() -> None:
    editor = ConfigEditor(BUTANE, name="mine.bu")
    area, marks, remarks, tabs = editor._area, editor._marks, editor._remarks, editor._tabs
    assert area.continuous_update and "lk-mark-warning" in marks.value
    assert "▲ warning" in remarks.value and "write 0644" in remarks.value and 'role="status"' in remarks.value
    assert "no difference" in tabs[2].value
    area.value = BUTANE.replace("644", "0600")
    assert editor.value == area.value and not editor.review.entries
    assert "lk-mark-" not in marks.value and "nothing to complain about" in remarks.value
    assert json.loads(json.dumps(editor.config))["storage"]["files"][0]["mode"] == 0o600
    assert "mode 0600" in tabs[1].value and "~ /a: mode 1204 becomes 0600" in tabs[2].value
    area.value = BUTANE.replace("644", '"x"')
    assert "✖ error" in remarks.value and "refused" in tabs[0].value
    with pytest.raises(ParameterError, match="cannot unmarshal"):
        _ = editor.config
    editor.value = BUTANE
    assert area.value == BUTANE


def test_a_cell_that_runs_again_keeps_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosers, "get_ipython", object)
    monkeypatch.setattr(choosers, "_pressed", {})
    with capture_output():
        edit_config(ARTICLE, name="mine").value = BUTANE
        again = edit_config(ARTICLE, name="mine")
        assert again.value == BUTANE and edit_config(BUTANE + "# another\n", name="mine").value.endswith("# another\n")
        again.value = " \n"
        assert edit_config(ARTICLE, name="mine").value == ARTICLE


def test_everything_shown_is_plain_text_too() -> None:
    editor = ConfigEditor(ARTICLE, name="article.yaml")
    bundle = editor._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    text = bundle["text/plain"]
    for entry in editor.review.entries:
        assert entry.message in text and entry.fix in text
        assert entry.message.replace("'", "&#x27;") in draw_remarks(editor.review)
    assert all(title in text for title in TABS)
    assert json.dumps(editor.config, indent=2, ensure_ascii=False) in text
    assert ignition.explain(editor.config) in text
    assert "   |" + " " * 46 + "~" * len("--tokenSWMTKN-1-...") in text


def test_colours_are_the_themes_and_signs_go_with_them() -> None:
    without_fallbacks = re.sub(r"var\(--[^,()]*, *[^()]*\)", "", STYLE)
    assert not re.search(r"#[0-9a-f]{3,6}\b|rgba?\(", without_fallbacks)
    assert "attr(data-sign)" in STYLE


@given(st.text(max_size=60) | st.text("abc: -{}[]\"'\n\t#|>&*!%\r", max_size=60))
def test_no_text_upsets_it(text: str) -> None:
    found = review(text)
    lines = text.split("\n")
    for entry in found.entries:
        number, start, end = place(entry, lines)
        assert 1 <= number <= len(lines) and 0 <= start < end
    assert found.config is not None or found.entries
    assert draw_marks(found) and draw_remarks(found) and marked_text(found)


def test_the_chapter_runs_up_to_where_blades_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.setenv("LABKIT_LAB", str(NOTEBOOKS.parent / "lab.yaml"))
    shell, ran = InteractiveShell.instance(), []
    book = json.loads((NOTEBOOKS / "02-ignition-authoring.ipynb").read_text(encoding="utf-8"))
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "ensure_lab()" in source:
            continue
        if "ensure_blades(running" in source:
            break
        with capture_output() as caught:
            result = shell.run_cell(source)
        assert result.success, source
        ran.append(caught.stdout + "".join(str(output.data.get("text/plain")) for output in caught.outputs))
    told = "\n".join(ran)
    assert "put a space after --token" in told and "now After=docker.service" in told
    assert "variant: fcos" in told and "variant: flatcar" in told and "usr/share/oem/raw.ign" in told
    InteractiveShell.clear_instance()
