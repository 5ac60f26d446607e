"""Container Linux Config, field by field. See `schema` for how to read the table, `etcd_fields` for what it leaves out.

Source: config/types/*.go of ct 0.9.4.
"""

from __future__ import annotations

from functools import cache

from ..spec.schema import Struct, build, parse
from ..spec.v2 import go_title

TABLE = """
Config
  version                int
  ignition               Ignition
  storage                Storage
  systemd                Systemd
  networkd               Networkd
  passwd                 Passwd
  etcd                   Etcd?
  flannel                Flannel?
  update                 Update?
  docker                 Docker?
  locksmith              Locksmith?

Ignition
  config                 IgnitionConfig
  timeouts               Timeouts
  security               Security

IgnitionConfig
  append                 [ConfigReference]
  replace                ConfigReference?

ConfigReference
  source                 str
  verification           Verification

Timeouts
  httpResponseHeaders    int?
  httpTotal              int?

Passwd
  users                  [User]
  groups                 [Group]

User
  name                   str
  passwordHash           str?
  sshAuthorizedKeys      [str]
  create                 UserCreate?
  uid                    int?
  gecos                  str
  homeDir                str
  noCreateHome           bool
  primaryGroup           str
  groups                 [str]
  noUserGroup            bool
  system                 bool
  noLogInit              bool
  shell                  str

UserCreate
  uid                    uint?
  gecos                  str
  homeDir                str
  noCreateHome           bool
  primaryGroup           str
  groups                 [str]
  noUserGroup            bool
  system                 bool
  noLogInit              bool
  shell                  str

Group
  name                   str
  gid                    uint?
  passwordHash           str
  system                 bool

FileUser
  id                     int?
  name                   str

FileGroup
  id                     int?
  name                   str

File
  filesystem             str
  path                   str
  user                   FileUser?
  group                  FileGroup?
  mode                   int?
  contents               FileContents
  overwrite              bool?
  append                 bool

FileContents
  remote                 Remote
  inline                 str
  local                  str

Remote
  url                    str
  compression            str
  verification           Verification

Directory
  filesystem             str
  path                   str
  user                   FileUser?
  group                  FileGroup?
  mode                   int?
  overwrite              bool?

Link
  filesystem             str
  path                   str
  user                   FileUser?
  group                  FileGroup?
  hard                   bool
  target                 str
  overwrite              bool?

Verification
  hash                   Hash

Hash
  function               str
  sum                    str

Storage
  disks                  [Disk]
  raid                   [Raid]
  filesystems            [Filesystem]
  files                  [File]
  directories            [Directory]
  links                  [Link]

Disk
  device                 str
  wipeTable              bool
  partitions             [Partition]

Partition
  label                  str?
  number                 int
  size                   str
  start                  str
  guid                   str
  typeGuid               str

Raid
  name                   str
  level                  str
  devices                [str]
  spares                 int
  options                [str]

Filesystem
  name                   str
  mount                  Mount?
  path                   str?

Mount
  device                 str
  format                 str
  create                 Create?
  wipeFilesystem         bool
  label                  str?
  uuid                   str?
  options                [str]

Create
  force                  bool
  options                [str]

Systemd
  units                  [SystemdUnit]

SystemdUnit
  name                   str
  enable                 bool
  enabled                bool?
  mask                   bool
  contents               str
  dropins                [SystemdUnitDropIn]

SystemdUnitDropIn
  name                   str
  contents               str

Networkd
  units                  [NetworkdUnit]

NetworkdUnit
  name                   str
  contents               str
  dropins                [NetworkdUnitDropIn]

NetworkdUnitDropIn
  name                   str
  contents               str

Security
  tls                    TLS

TLS
  certificateAuthorities [CaReference]

CaReference
  source                 str
  verification           Verification

Docker
  flags                  [str]

Update
  group                  UpdateGroup
  server                 UpdateServer
  pcrPolicyServer        UpdatePCRPolicyServer
  downloadUser           UpdateDownloadUser
  downloadPassword       UpdateDownloadPassword
  machineAlias           UpdateMachineAlias

Etcd
  version                str?

Flannel
  version                str?
  networkConfig          NetworkConfig

Locksmith
  rebootStrategy         str?
  windowStart            str?
  windowLength           str?
  group                  str?
  etcdEndpoints          str?
  etcdCafile             str?
  etcdCertfile           str?
  etcdKeyfile            str?
"""


@cache
def container_linux() -> Struct:
    """A Container Linux Config, but for the options of etcd and flannel, which depend on their version."""
    return build(parse(TABLE), "Config", lambda marks: True, yaml=True, title=go_title)
