"""What configs take from lab.yaml, and what in braces is not labkit's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.boot.config_values import fill
from labkit.lab import Lab, lab_yaml

LAB = lab_yaml.parse(
    "blades: [{name: blade1, labels: {disk: ssd, items: '3'}}, {name: blade2}]", Path("/nowhere/lab.yaml")
)
BLADE = LAB.blades[0]


def filled(text: str, lab: Lab = LAB) -> str:
    made, wrong = fill(text.encode(), lab, lab.blades[0])
    assert not wrong.entries, str(wrong)
    return made.decode()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ blade.name }}/{{blade.address}}/{{- blade.slot -}}", "blade1/10.77.0.11/1"),
        ("{{ blade.labels.disk }} {{ blade.labels['items'] }} {{ blade.labels.items }}", "ssd 3 3"),
        ("{{ blade.labels.rack | default('none') }} {{ blade.name | upper }}", "none BLADE1"),
        ("{{ blade.mac }} {{ blade.macs[0] }}", "52:54:00:4d:00:01 52:54:00:4d:00:01"),
        ("{{ lab.server }} {{ lab.subnet }} {{ lab.prefix }} {{ lab.blades | join(' ') }}",
         "10.77.0.1 10.77.0.0/24 24 blade1 blade2"),
        ("{{ '{{' }} {{ blade.name ~ ' }}' }}", "{{ '{{' }} blade1 }}"),
        ("{% if blade.name %}{# blade.name #}", "{% if blade.name %}{# blade.name #}"),
    ],
)  # fmt: skip
def test_values_stand_where_they_are_asked_for(text: str, made: str) -> None:
    assert filled(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "{{.Node.Hostname}}", '{{ index .Labels "blade.name" }}', "{{ range .Tasks }}{{ . }}{{ end }}",
        "{{ $blade }}", "{{ states.sensor.heat }}", "{{ json .Spec }}",
        '{{ env "NOMAD_IP" }}', "{{ .blade.name }}", "{{", "{{ labels }}",
    ],
)  # fmt: skip
def test_what_belongs_to_others_stays(text: str) -> None:
    assert filled(text) == text


def test_a_file_that_asks_for_nothing_is_the_same_bytes() -> None:
    source = "variant: flatcar\r\n# {{.Name}} \N{SNOWMAN}\r\n".encode("utf-16")
    assert fill(source, LAB, BLADE) == (source, fill(b"", LAB, BLADE)[1])


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("{{ blade.nmae }}", "blade has no 'nmae'", "did you mean 'name'?"),
        ("{{ blade.password }}", "blade has no 'password'", "it has name, slot, address"),
        ("{{ lab.servr }}", "lab has no 'servr'", "did you mean 'server'?"),
        ("{{ blade.labels.rack }}", "blade1 has no label 'rack'", "under labels"),
        ("{{ blade.labels['a-b'] }}", "blade1 has no label 'a-b'", "blade.labels[\"a-b\"] | default"),
        ("{{ blade.version }}", "blade has no 'version'", "it has"),
        ("{{ blades.name }}", "no 'blades' to give", "did you mean 'blade'?"),
        ("{{ Blade.name }}", "no 'Blade' to give", "did you mean 'blade'?"),
        ("{{ blade.name ~ rack }}", "there is no 'rack'", "begins with blade or lab"),
        ("{{ blade.name", "no end", "close it on the same line"),
        ("{{ blade.macs }}", "not one value", "join"),
        ("{{ blade }}", "not one value", "lab-yaml.md"),
        ("{{ blade.name | uper }}", "cannot be worked out", "blade.name"),
        ("{{ blade.slot / 0 }}", "cannot be worked out", "blade.name"),
        ("{{ blade.name.__class__.__mro__ }}", "is unsafe", "by its name"),
        ("{{ blade.name + 1 }}", "cannot be worked out", "blade.name"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place_and_its_fix(text: str, what: str, fix: str) -> None:
    _, wrong = fill(f"variant: flatcar\n  name: {text}\n{{{{ blade.name }}}}".encode(), LAB, BLADE)
    (entry,) = wrong.entries
    assert (entry.line, entry.column) == (2, 9)
    assert what in entry.message
    assert fix in entry.fix


def test_all_mistakes_are_told_at_once() -> None:
    _, wrong = fill(b"{{ blade.a }}\n{{ blade.b }} {{ lab.c }}\n", LAB, BLADE)
    assert [(entry.line, entry.column) for entry in wrong] == [(1, 1), (2, 1), (2, 15)]


def test_each_blade_has_its_own() -> None:
    lab = replace(LAB, blades=LAB.blades[::-1])
    assert filled("{{ blade.name }} {{ blade.slot }}", lab) == "blade2 2"
