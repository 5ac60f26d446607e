"""What to do about a message: one sentence for each that has an answer."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from ..report import Entry, Report

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
    (r"(customization|luks|raid) is not supported", "its installer does that: leave it out, or write variant: fcos"),
    (r"clevis is not supported", "Flatcar has no clevis: use key_file"),
    (r"format cannot be empty", "add: format: ext4"),
    (r"must be under /etc or /var", "mount it under /var"),
    (r"units: unknown unit", "write the unit: MiB, GiB or TiB"),
    (r"the create object has been deprecated", "move its fields one level up"),
    (r"platform must be specified", "pass --platform, for instance --platform custom"),
    (r"not find expected|mapping values are not allowed", "look at the indentation and for a missing colon"),
    (r"found character that cannot start any token", "indent with spaces, not tabs; quote what starts with @ or `"),
    (r"source is required", "add: source: with a URL, or inline"),
    (r"source must be specified if verification", "add the source that the hash is of, or leave the hash out"),
    (r"unrecognized hash function", "use sha512, or sha256 from spec 3.1 on"),
    (r"unable to parse url|parse \".*\": ", "write a whole URL, such as http://host/path; escape % as %25"),
    (r"cannot use HTTP headers", "headers go with http and https sources only"),
    (r"HTTP header name can't be empty", "add: name:"),
    (r"proxies must be http", "write the proxy as http://host:port"),
    (r"insecure plaintext HTTP proxy", "use an https:// proxy, or accept that it is not encrypted"),
    (r"path conflicts with systemd unit", "give the unit's text in one place: systemd.units, or the file"),
    (r"path includes link in config", "write the path that the link leads to"),
    (r"hard link target is a directory", "use a symbolic link: leave out hard: true"),
    (r"user/group ignored for hard link", "set the owner on the file that the link leads to"),
    (r"disk device is required", "add: device: /dev/…"),
    (r"partition number >= 1 or a label", "add: number: or label:"),
    (r"partition numbers collide", "give each partition of a disk its own number"),
    (r"partitions overlap", "move start_mib, or leave it out to let it be chosen"),
    (r"same partition label twice", "give each partition of a disk its own label"),
    (r"partition labels may not exceed|partition label will be truncated", "use at most 36 characters and no colon"),
    (r"invalid filesystem format", "use ext4, xfs, btrfs, vfat, swap, or none from spec 3.3 on"),
    (r"format is required if with_mount_unit", "add: format: ext4"),
    (r"path is required if with_mount_unit", "add: path: where it is to be mounted"),
    (r"filesystem overwrites partitioned device", "name a partition as the device, not the disk"),
    (r"raid devices required", "add: devices: with a list"),
    (r"raid level is required|unrecognized raid level", "use raid0, raid1, raid5, raid6, raid10 or linear"),
    (r"mirroring requires at least two devices", "add another device"),
    (r"boot_device.layout should be specified", "add: layout: x86_64"),
    (r"layout must be one of: (.*)", r"write one of \1"),
    (r"matching filesystem node has existing contents", "leave the file out of the tree, or out of the config"),
    (r"root of tree must be a directory", "name a folder; a single file goes into contents: {local: …}"),
    (r"trees may only contain files", "take pipes, sockets and devices out of the folder"),
    (r"^(open|stat|read) .*no such file", "check the name; it is looked for in the files directory"),
    (r"setuid/setgid/sticky bits", "use spec 3.6.0, or a unit that sets the bits"),
    (r"unsupported config version", "use one of 3.0.0 to 3.6.0"),
    (r"invalid config version", 'write {"ignition": {"version": "3.3.0"}}'),
    (r"skipping validation for the merge/replace", "write the child in the version that this config becomes"),
    (r"not in dotted-tri format|strconv.ParseInt", "write the version as three numbers, such as 3.5.0"),
    (r"unused key|unrecognized key", "check the spelling, and whether this version has it"),
]  # fmt: skip


def of(message: str) -> str:
    """What to do about a message; empty where nothing general can be said."""
    for pattern, fix in _compiled():
        match = pattern.search(message)
        if match:
            return match.expand(fix) if "\\" in fix else fix
    return ""


@cache
def _compiled() -> list[tuple[re.Pattern[str], str]]:
    """The table for searching: a config of nothing but mistakes asks it twenty thousand times."""
    return [(re.compile(pattern), fix) for pattern, fix in _FIXES]


def add(report: Report) -> Report:
    """The report with a fix on every entry that has none but could."""
    return Report(tuple(_with_fix(entry) for entry in report))


def _with_fix(entry: Entry) -> Entry:
    return entry if entry.fix else replace(entry, fix=of(entry.message))
