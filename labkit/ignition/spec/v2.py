"""Ignition spec 2, field by field, with the versions that have each. See `schema` for how to read the table.

Source: config/v2_*/types/schema.go of flatcar/ignition 0.36.
"""

from __future__ import annotations

from functools import cache

from .schema import Struct, build, includes, parse

VERSIONS = ("2.0.0", "2.1.0", "2.2.0", "2.3.0", "2.4.0")

TABLE = """
Config
  ignition               Ignition            !
  networkd               Networkd
  passwd                 Passwd
  storage                Storage
  systemd                Systemd

Ignition
  config                 IgnitionConfig
  proxy                  Proxy                      2.4
  security               Security                   2.2+
  timeouts               Timeouts                   2.1+
  version                str

IgnitionConfig
  append                 [ConfigReference]
  replace                ConfigReference?

ConfigReference
  httpHeaders            [HTTPHeader]               2.4
  source                 str                 !
  verification           Verification

Security
  tls                    TLS

TLS
  certificateAuthorities [CaReference]

CaReference
  httpHeaders            [HTTPHeader]               2.4
  source                 str                 !
  verification           Verification

HTTPHeader
  name                   str                 !
  value                  str?

Proxy
  httpProxy              str
  httpsProxy             str
  noProxy                [NoProxyItem]

Timeouts
  httpResponseHeaders    int?
  httpTotal              int?

Networkd
  units                  [Networkdunit]

Networkdunit
  contents               str
  dropins                [NetworkdDropin]           2.2+
  name                   str                 !

NetworkdDropin
  contents               str
  name                   str                 !

Passwd
  groups                 [PasswdGroup]
  users                  [PasswdUser]

PasswdGroup
  gid                    int?
  name                   str                 !
  passwordHash           str
  system                 bool

PasswdUser
  create                 Usercreate?
  gecos                  str                        2.1+
  groups                 [Group]                    2.1+
  homeDir                str                        2.1+
  name                   str                 !
  noCreateHome           bool                       2.1+
  noLogInit              bool                       2.1+
  noUserGroup            bool                       2.1+
  passwordHash           str?
  primaryGroup           str                        2.1+
  sshAuthorizedKeys      [SSHAuthorizedKey]
  shell                  str                        2.1+
  system                 bool                       2.1+
  uid                    int?                       2.1+

Usercreate
  gecos                  str
  groups                 [UsercreateGroup]
  homeDir                str
  noCreateHome           bool
  noLogInit              bool
  noUserGroup            bool
  primaryGroup           str
  shell                  str
  system                 bool
  uid                    int?

Storage
  directories            [Directory]                2.1+
  disks                  [Disk]
  files                  [File]
  filesystems            [Filesystem]
  links                  [Link]                     2.1+
  raid                   [Raid]

Directory
  filesystem             str                 !
  group                  NodeGroup?
  overwrite              bool?                      2.2+
  path                   str                 !
  user                   NodeUser?
  mode                   int?

File
  filesystem             str                 !
  group                  NodeGroup?
  overwrite              bool?                      2.2+
  path                   str                 !
  user                   NodeUser?
  append                 bool                       2.2+
  contents               FileContents
  mode                   int?

Link
  filesystem             str                 !
  group                  NodeGroup?
  overwrite              bool?                      2.2+
  path                   str                 !
  user                   NodeUser?
  hard                   bool
  target                 str                 !

NodeGroup
  id                     int?
  name                   str                        2.1+

NodeUser
  id                     int?
  name                   str                        2.1+

FileContents
  compression            str
  httpHeaders            [HTTPHeader]               2.4
  source                 str
  verification           Verification

Verification
  hash                   str?

Disk
  device                 str                 !
  partitions             [Partition]
  wipeTable              bool

Partition
  guid                   str
  label                  str
  label                  str?                       2.3+
  number                 int
  shouldExist            bool?                      2.3+
  size                   int
  size                   int?                       2.3+
  sizeMiB                int?                       2.3+
  start                  int
  start                  int?                       2.3+
  startMiB               int?                       2.3+
  typeGuid               str
  wipePartitionEntry     bool                       2.3+

Raid
  devices                [Device]            !
  level                  str                 !
  name                   str                 !
  options                [RaidOption]               2.1+
  spares                 int

Filesystem
  mount                  Mount?
  name                   str
  path                   str?

Mount
  create                 Create?
  device                 str                 !
  format                 str                 !
  label                  str?                       2.1+
  options                [MountOption]              2.1+
  uuid                   str?                       2.1+
  wipeFilesystem         bool                       2.1+

Create
  force                  bool
  options                [CreateOption]

Systemd
  units                  [Unit]

Unit
  contents               str
  dropins                [SystemdDropin]
  enable                 bool
  enabled                bool?                      2.1+
  mask                   bool
  name                   str                 !

SystemdDropin
  contents               str
  name                   str                 !
"""


@cache
def ignition(version: str) -> Struct:
    """The config of an Ignition spec version such as ``2.3.0``."""
    minor = int(version.split(".")[1])
    return build(parse(TABLE), "Config", lambda marks: includes(marks, minor), yaml=False, title=go_title)


def go_title(name: str, family: str) -> str:
    """What Go's type errors call a struct."""
    return f"types.{_INNER.get(name, name)}"


_INNER = {"Etcd": "etcdCommon", "Flannel": "flannelCommon"}
