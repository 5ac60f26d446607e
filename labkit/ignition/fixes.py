"""What to do about a message: one sentence for each that has an answer."""

from __future__ import annotations

import re
from dataclasses import replace

from .report import Entry, Report

_FIXES = [
    (r"unreasonable mode would be", "modes are octal: write 0644"),
    (r"illegal file mode", "modes are octal, 0 to 07777: write 0644"),
    (r"mode unspecified for file", "add: mode: 0644"),
    (r"mode unspecified for directory", "add: mode: 0755"),
    (r"path not absolute", "start the path with /"),
    (r"path not specified", "add a path"),
    (r"path is not fully simplified", "leave out //, /./, /../ and a / at the end"),
    (r"duplicate entry defined", "keep one of the two: they have the same name, path or value"),
    (r"only one of the following can be set: (.*)", r"keep one of \1"),
    (r"local file paths are relative", "pass the folder with --files-dir"),
    (r"local files require setting", "pass the folder with --files-dir"),
    (r"local file path traverses", "put the file into the files directory; symlinks must not lead out of it either"),
    (r"has no install section|doesn't have Install", "add [Install] with WantedBy=multi-user.target, or disable it"),
    (r"invalid systemd unit extension", "end the name in .service, .socket, .mount, .timer or another unit type"),
    (r"invalid systemd drop-in extension", "end the name in .conf"),
    (r"invalid unit content: unable to find end of section", "write the section as [Service]"),
    (r"invalid unit content: (EOF|unexpected newline)", "every line of a section is KEY=VALUE, or a comment with #"),
    (r"invalid url scheme", "use http, https, tftp, s3 or data (spec 3 of upstream Ignition has no oem)"),
    (r"malformed hash specifier", "write sha512- and the sum in hex"),
    (r"incorrect size for hash sum", "a sha512 sum has 128 hex digits, a sha256 sum 64"),
    (r"invalid compression method", "use gzip, or leave it out"),
    (r"cannot set both id and name", "keep either id or name"),
    (r"overwrite must be false if source", "give the file contents, or leave overwrite out"),
    (r"link target is required", "add: target: /path"),
    (r"cannot unmarshal !!str .* into int", "write the number without quotes"),
    (r"cannot unmarshal !!str .* into bool", "write true or false without quotes"),
    (r"cannot unmarshal !!(map|str|int|bool|float) .*into \[\]", "this is a list: start each entry with a dash"),
    (r"cannot unmarshal !!seq into", "this is one value, not a list: leave the dashes out"),
    (r"mapping key .* already defined", "merge the two into one key"),
    (r"clevis is not supported", "Flatcar has no clevis: use key_file"),
    (r"format cannot be empty", "add: format: ext4"),
    (r"must be under /etc or /var", "mount it under /var"),
    (r"units: unknown unit", "write the unit: MiB, GiB or TiB"),
    (r"the create object has been deprecated", "move its fields one level up"),
    (r"platform must be specified", "pass --platform, for instance --platform custom"),
    (r"not find expected|mapping values are not allowed", "look at the indentation and for a missing colon"),
    (r"found character that cannot start any token", "indent with spaces, not tabs; quote what starts with @ or `"),
    (r"unused key|unrecognized key", "check the spelling, and whether this version has it"),
]  # fmt: skip


def of(message: str) -> str:
    """What to do about a message; empty where nothing general can be said."""
    for pattern, fix in _FIXES:
        match = re.search(pattern, message)
        if match:
            return match.expand(fix)
    return ""


def add(report: Report) -> Report:
    """The report with a fix on every entry that has none but could."""
    return Report(tuple(_with_fix(entry) for entry in report))


def _with_fix(entry: Entry) -> Entry:
    return entry if entry.fix else replace(entry, fix=of(entry.message))
