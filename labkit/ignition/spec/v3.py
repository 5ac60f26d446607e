"""Ignition spec 3 and the Butane notations over it, field by field, with the versions that have each.

A new spec version is a change to this file alone: add its fields with the version that brings them, its number to
`IGNITION` and, when a Butane variant gets it, a line to `BUTANE`. Rules that a version brings are in `rules_v3`.

Sources: config/v3_*/types/schema.go of Ignition 2.26, base/v0_*/schema.go and config/fcos/v1_*/schema.go of
Butane 0.29 (their documentation: coreos.github.io/ignition, coreos.github.io/butane).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .schema import Struct, Table, build, includes, parse

#: the versions that are stable
IGNITION = ("3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0", "3.6.0")

#         variant and version      Ignition
BUTANE = {
    ("fcos", "1.0.0"): "3.0.0",
    ("fcos", "1.1.0"): "3.1.0",
    ("fcos", "1.2.0"): "3.2.0",
    ("fcos", "1.3.0"): "3.2.0",
    ("fcos", "1.4.0"): "3.3.0",
    ("fcos", "1.5.0"): "3.4.0",
    ("fcos", "1.6.0"): "3.5.0",
    ("fcos", "1.7.0"): "3.6.0",
    ("flatcar", "1.0.0"): "3.3.0",
    ("flatcar", "1.1.0"): "3.4.0",
    ("r4e", "1.0.0"): "3.3.0",
    ("r4e", "1.1.0"): "3.4.0",
    ("fiot", "1.0.0"): "3.4.0",
    # these may still change
    ("fcos", "1.8.0-experimental"): "3.7.0-experimental",
    ("flatcar", "1.2.0-experimental"): "3.7.0-experimental",
    ("r4e", "1.2.0-experimental"): "3.7.0-experimental",
    ("fiot", "1.1.0-experimental"): "3.7.0-experimental",
}
KNOWN = (*IGNITION, "3.7.0-experimental")

TABLE = """
Config variant
  ~version               str
  ~variant               str
  ignition               Ignition            !
  kernelArguments        KernelArguments            3.3+
  passwd                 Passwd
  storage                Storage
  systemd                Systemd
  ~bootDevice            BootDevice                 fcos1.3+
  ~grub                  Grub                       fcos1.5+

Ignition
  config                 IgnitionConfig
  proxy                  Proxy                      3.1+
  security               Security
  timeouts               Timeouts
  =version               str                        3.0-3.3
  =version               str                 !      3.4+

IgnitionConfig
  merge                  [ConfigReference]          3.0
  merge                  [Resource]                 3.1+
  replace                ConfigReference            3.0
  replace                Resource                   3.1+

ConfigReference
  source                 str?                !
  verification           Verification

CaReference
  source                 str                 !
  verification           Verification

FileContents
  compression            str?
  source                 str?
  ~inline                str?
  verification           Verification

Resource
  compression            str?
  httpHeaders            [HTTPHeader]:HTTPHeaders
  source                 str?
  ~inline                str?
  ~local                 str?
  verification           Verification

HTTPHeader
  name                   str                 !
  value                  str?

Verification
  hash                   str?

Proxy
  httpProxy              str?
  httpsProxy             str?
  noProxy                [NoProxyItem]
  ~noProxy               [str]

Security
  tls                    TLS

TLS
  certificateAuthorities [CaReference]              3.0
  certificateAuthorities [Resource]                 3.1+

Timeouts
  httpResponseHeaders    int?
  httpTotal              int?

KernelArguments
  shouldExist            [KernelArgument]
  shouldNotExist         [KernelArgument]

Passwd
  groups                 [PasswdGroup]
  users                  [PasswdUser]

PasswdGroup
  gid                    int?
  name                   str                 !
  passwordHash           str?
  shouldExist            bool?                      3.2+
  system                 bool?

PasswdUser
  gecos                  str?
  groups                 [Group]
  homeDir                str?
  name                   str                 !
  noCreateHome           bool?
  noLogInit              bool?
  noUserGroup            bool?
  passwordHash           str?
  primaryGroup           str?
  sshAuthorizedKeys      [SSHAuthorizedKey]
  ~sshAuthorizedKeysLocal [str]                     3.4+
  shell                  str?
  shouldExist            bool?                      3.2+
  system                 bool?
  uid                    int?

Storage
  directories            [Directory]
  disks                  [Disk]
  files                  [File]
  filesystems            [Filesystem]
  links                  [Link]
  luks                   [Luks]                     3.2+
  raid                   [Raid]
  ~trees                 [Tree]                     3.1+

Directory
  group                  NodeGroup
  overwrite              bool?
  path                   str                 !
  user                   NodeUser
  mode                   int?

File
  group                  NodeGroup
  overwrite              bool?
  path                   str                 !
  user                   NodeUser
  append                 [FileContents]             3.0
  append                 [Resource]                 3.1+
  contents               FileContents               3.0
  contents               Resource                   3.1+
  mode                   int?

Link
  group                  NodeGroup
  overwrite              bool?
  path                   str                 !
  user                   NodeUser
  hard                   bool?
  target                 str                 !      3.0-3.2
  target                 str?                       3.3+

NodeGroup
  id                     int?
  name                   str?

NodeUser
  id                     int?
  name                   str?

Disk
  device                 str                 !
  partitions             [Partition]
  wipeTable              bool?

Partition
  guid                   str?
  label                  str?
  number                 int
  resize                 bool?                      3.2+
  shouldExist            bool?
  sizeMiB                int?
  startMiB               int?
  typeGuid               str?
  wipePartitionEntry     bool?

Filesystem
  device                 str                 !
  format                 str?
  label                  str?
  mountOptions           [MountOption]              3.1+
  ~mountOptions          [str]                      3.1+
  options                [FilesystemOption]
  ~options               [str]                      3.1+
  path                   str?
  uuid                   str?
  wipeFilesystem         bool?
  ~withMountUnit         bool?                      3.1+

Luks
  cex                    Cex                        3.5+
  clevis                 Clevis?                    3.2
  clevis                 Clevis                     3.3+
  device                 str?
  discard                bool?                      3.4+
  keyFile                Resource
  label                  str?
  name                   str                 !
  openOptions            [OpenOption]               3.4+
  ~openOptions           [str]                      3.4+
  options                [LuksOption]
  ~options               [str]                      3.4+
  uuid                   str?
  wipeVolume             bool?

Cex
  enabled                bool?

Clevis
  custom                 Custom?                    3.2
  custom                 ClevisCustom               3.3+
  tang                   [Tang]
  threshold              int?
  tpm2                   bool?

Custom
  config                 str                 !
  needsNetwork           bool?
  pin                    str                 !

ClevisCustom
  config                 str?
  needsNetwork           bool?
  pin                    str?

Tang
  advertisement          str?                       3.4+
  thumbprint             str?
  url                    str

Raid
  devices                [Device]            !      3.0-3.2
  devices                [Device]                   3.3+
  level                  str                 !      3.0-3.2
  level                  str?                       3.3+
  name                   str                 !
  options                [RaidOption]
  ~options               [str]                      3.4+
  spares                 int?

Tree
  group                  NodeGroup                  3.6+
  local                  str
  path                   str?
  user                   NodeUser                   3.6+
  fileMode               int?                       3.6+
  dirMode                int?                       3.6+

Systemd
  units                  [Unit]
  ~quadlets              [Quadlet]                  3.7+

Quadlet
  contents               str?
  contentsLocal          str?
  name                   str
  rootful                bool
  dropins                [Dropin]

Unit
  contents               str?
  ~contentsLocal         str?                       3.4+
  dropins                [Dropin]
  enabled                bool?
  mask                   bool?
  name                   str                 !

Dropin
  contents               str?
  ~contentsLocal         str?                       3.4+
  name                   str                 !

BootDevice variant
  layout                 str?
  luks                   BootDeviceLuks
  mirror                 BootDeviceMirror

BootDeviceLuks variant
  cex                    Cex                        fcos1.6+
  discard                bool?                      fcos1.5+
  device                 str?                       fcos1.6+
  tang                   [Tang]
  threshold              int?
  tpm2                   bool?

BootDeviceMirror variant
  devices                [str]

Grub variant
  users                  [GrubUser]

GrubUser variant
  name                   str
  passwordHash           str?
"""


@dataclass(frozen=True)
class Dialect:
    """One Butane variant and version: what it reads and what it writes."""

    variant: str
    version: str
    ignition: str
    source: Struct
    target: Struct

    @property
    def minor(self) -> int:
        """The minor version of the Ignition spec written: 4 for 3.4.0."""
        return minor_of(self.ignition)

    def is_fcos(self, since: int) -> bool:
        """Whether this is Fedora CoreOS's notation, version 1.``since`` or newer."""
        return self.variant == "fcos" and minor_of(self.version) >= since


def minor_of(version: str) -> int:
    return int(version.split(".")[1])


@cache
def ignition(version: str) -> Struct:
    """The config of an Ignition spec version such as ``3.4.0``."""
    minor = minor_of(version)
    return build(_table(), "Config", lambda marks: includes(marks, minor), yaml=False, title=_ignition_title)


@cache
def dialect(variant: str, version: str) -> Dialect:
    """A Butane variant and version of `BUTANE`."""
    target = BUTANE[variant, version]
    minor, own = minor_of(target), minor_of(version)

    def title(name: str, family: str) -> str:
        package = f"v1_{own}" if family == "variant" else f"v0_{minor + 1}"
        return f"{package}{'_exp' if '-' in version else ''}.{name}"

    source = build(_table(), "Config", lambda marks: includes(marks, minor, variant, own), yaml=True, title=title)
    return Dialect(variant, version, target, source, ignition(target))


def _ignition_title(name: str, family: str) -> str:
    return f"types.{name}"


@cache
def _table() -> Table:
    return parse(TABLE)
