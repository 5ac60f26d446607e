"""The services that a Container Linux Config sets up: docker, etcd, flannel, locksmith, updates, and dynamic data.

Source: config/types/{common,docker,etcd,flannel,update,locksmith}.go, config/templating and config/platform of ct.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..golang.quote import quote
from ..golang.semver import semver
from ..spec.schema import Struct
from ..yaml.decode import Decoder
from ..yaml.tree import Node, YamlError
from . import etcd_fields
from .fields import container_linux

Value = dict[str, Any]

ETCD_DEFAULT, FLANNEL_DEFAULT = (3, 5, 0), (0, 6, 0)
_NAMES = ("HOSTNAME", "PRIVATE_IPV4", "PUBLIC_IPV4", "PRIVATE_IPV6", "PUBLIC_IPV6")
_METADATA = {
    "azure": ("", "COREOS_AZURE_IPV4_DYNAMIC", "COREOS_AZURE_IPV4_VIRTUAL", "", ""),
    "digitalocean": (
        "COREOS_DIGITALOCEAN_HOSTNAME",
        "COREOS_DIGITALOCEAN_IPV4_PRIVATE_0",
        "COREOS_DIGITALOCEAN_IPV4_PUBLIC_0",
        "COREOS_DIGITALOCEAN_IPV6_PRIVATE_0",
        "COREOS_DIGITALOCEAN_IPV6_PUBLIC_0",
    ),
    "ec2": ("COREOS_EC2_HOSTNAME", "COREOS_EC2_IPV4_LOCAL", "COREOS_EC2_IPV4_PUBLIC", "", ""),
    "gce": ("COREOS_GCE_HOSTNAME", "COREOS_GCE_IP_LOCAL_0", "COREOS_GCE_IP_EXTERNAL_0", "", ""),
    "packet": (
        "COREOS_PACKET_HOSTNAME",
        "COREOS_PACKET_IPV4_PRIVATE_0",
        "COREOS_PACKET_IPV4_PUBLIC_0",
        "",
        "COREOS_PACKET_IPV6_PUBLIC_0",
    ),
    "openstack-metadata": (
        "COREOS_OPENSTACK_HOSTNAME",
        "COREOS_OPENSTACK_IPV4_LOCAL",
        "COREOS_OPENSTACK_IPV4_PUBLIC",
        "",
        "",
    ),
    "vagrant-virtualbox": (
        "COREOS_VAGRANT_VIRTUALBOX_HOSTNAME",
        "COREOS_VAGRANT_VIRTUALBOX_PRIVATE_IPV4",
        "",
        "",
        "",
    ),
    "cloudstack-configdrive": ("CLOUDSTACK_LOCAL_HOSTNAME", "", "", "", ""),
    "custom": (
        "COREOS_CUSTOM_HOSTNAME",
        "COREOS_CUSTOM_PRIVATE_IPV4",
        "COREOS_CUSTOM_PUBLIC_IPV4",
        "COREOS_CUSTOM_PRIVATE_IPV6",
        "COREOS_CUSTOM_PUBLIC_IPV6",
    ),
}
#: what each platform's metadata service calls the values that a config may ask for
PLATFORMS = {
    platform: {name: variable for name, variable in zip(_NAMES, variables, strict=True) if variable}
    for platform, variables in _METADATA.items()
}
_LOCKSMITH = {
    "reboot_strategy": "REBOOT_STRATEGY",
    "window_start": "LOCKSMITHD_REBOOT_WINDOW_START",
    "window_length": "LOCKSMITHD_REBOOT_WINDOW_LENGTH",
    "group": "LOCKSMITHD_GROUP",
    "etcd_endpoints": "LOCKSMITHD_ENDPOINT",
    "etcd_cafile": "LOCKSMITHD_ETCD_CAFILE",
    "etcd_certfile": "LOCKSMITHD_ETCD_CERTFILE",
    "etcd_keyfile": "LOCKSMITHD_ETCD_KEYFILE",
}
_UPDATE = {
    "server": "SERVER",
    "pcr_policy_server": "PCR_POLICY_SERVER",
    "download_user": "DOWNLOAD_USER",
    "download_password": "DOWNLOAD_PASSWORD",
    "machine_alias": "MACHINE_ALIAS",
}


class BadVersion(YamlError):
    """The version of etcd or flannel is not of the form 3.4.0."""


class TemplateError(Exception):
    """Dynamic data cannot be filled in."""


def decode_options(root: Node | None, config: Value, decoder: Decoder) -> None:
    """Decode the options of etcd and flannel, which depend on their version; they join the section's values.

    Raises `BadVersion`, whatever else is wrong with the document: ct stops reading at such a version.
    """
    if root is None:
        return
    for section, default in (("etcd", ETCD_DEFAULT), ("flannel", FLANNEL_DEFAULT)):
        value = config.get(section)
        node = root.get(section) if root.kind == "map" else None
        if value is None:
            continue
        if "version" in value:
            value["version_parts"] = _version(value["version"])
        struct = _options(section, value.get("version_parts", default))
        if struct is not None and node is not None and _is_sound(node.target or node, section):
            value.update(decoder.decode(node.target or node, struct))


def _is_sound(node: Node, section: str) -> bool:
    """Whether what a section has beside its options can be decoded; ct looks at them only then."""
    common = container_linux().by_yaml[section].type.struct
    assert common is not None
    trial = Decoder(merge_keys_last=False)
    trial.decode(node, common)
    return not trial.errors


def _options(section: str, version: tuple[int, ...]) -> Struct | None:
    choose = etcd_fields.etcd_options if section == "etcd" else etcd_fields.flannel_options
    name = choose(version[0], version[1])
    return etcd_fields.options(name) if name else None


def _version(text: str) -> tuple[int, ...]:
    plain = semver(text)
    if plain is None:
        parts = text.partition("+")[0].partition("-")[0].split(".", 2)
        bad = next((part for part in parts if not part.isdecimal()), "")
        if len(parts) == 3:
            raise BadVersion(f"strconv.ParseInt: parsing {quote(bad)}: invalid syntax")
        raise BadVersion(f"{'.'.join(parts)} is not in dotted-tri format")
    return tuple(int(part) for part in plain.split("+")[0].split("-")[0].split("."))


def with_options(struct: Struct, config: Value) -> Struct:
    """The notation with the options that the versions in this config have."""
    fields = []
    for field in struct.fields:
        value = config.get(field.yaml)
        if field.yaml in ("etcd", "flannel") and value is not None and field.type.struct is not None:
            default = ETCD_DEFAULT if field.yaml == "etcd" else FLANNEL_DEFAULT
            extra = _options(field.yaml, value.get("version_parts", default))
            both = Struct(
                field.type.struct.name,
                field.type.struct.title,
                field.type.struct.fields + (extra.fields if extra else []),
            )
            field = replace(field, type=replace(field.type, struct=both))
        fields.append(field)
    return Struct(struct.name, struct.title, fields)


def units(config: Value, platform: str) -> list[Value]:
    """The units that the sections ask for, in ct's order. Raises `TemplateError`."""
    made: list[Value] = []
    if platform in ("openstack-metadata", "cloudstack-configdrive"):
        text = f"[Service]\nEnvironment=COREOS_METADATA_OPT_PROVIDER=--provider={platform}"
        dropins: list[Value] = [{"name": "20-clct-provider-override.conf", "contents": text}]
        made.append({"name": "coreos-metadata.service", "dropins": dropins})
        made.append({"name": "coreos-metadata-sshkeys@.service", "enabled": True, "dropins": dropins})
    if config.get("docker") is not None:
        flags = " ".join(config["docker"].get("flags", ()))
        made.append(_service("docker", "docker", f'[Service]\nEnvironment="DOCKER_OPTS={flags}"'))
    if config.get("etcd") is not None:
        made.append(_service("etcd-member", "etcd-member", _etcd(config["etcd"], platform)))
    if config.get("flannel") is not None:
        made.append(_service("flanneld", "flannel", _flannel(config["flannel"], platform)))
    return made


def _service(name: str, dropin: str, contents: str) -> Value:
    return {
        "name": f"{name}.service",
        "enable": True,
        "dropins": [{"name": f"20-clct-{dropin}.conf", "contents": contents}],
    }


def _etcd(value: Value, platform: str) -> str:
    struct = _options("etcd", value.get("version_parts", ETCD_DEFAULT))
    return _dropin("/usr/lib/coreos/etcd-wrapper $ETCD_OPTS", "ETCD_IMAGE_TAG", value, struct, platform, [])


def _flannel(value: Value, platform: str) -> str:
    struct = _options("flannel", value.get("version_parts", FLANNEL_DEFAULT))
    before = []
    if value.get("network_config"):
        flags = {"etcd_endpoints": "endpoints", "etcd_cafile": "ca-file"}
        flags |= {"etcd_certfile": "cert-file", "etcd_keyfile": "key-file"}
        given = "".join(
            f" --{flag}={quote(value[name])}" for name, flag in flags.items() if struct and value.get(name) is not None
        )
        command = f"/usr/bin/etcdctl{given} set /coreos.com/network/config {quote(value['network_config'])}"
        before.append(f"ExecStartPre={command}")
    return _dropin(
        "/usr/lib/coreos/flannel-wrapper $FLANNEL_OPTS", "FLANNEL_IMAGE_TAG", value, struct, platform, before
    )


def _dropin(command: str, tag: str, value: Value, struct: Struct | None, platform: str, after: list[str]) -> str:
    arguments = [
        f"--{etcd_fields.FLAGS.get(field.yaml, field.yaml).replace('_', '-')}={_printed(value[field.yaml])}"
        for field in (struct.fields if struct else ())
        if value.get(field.yaml) is not None
    ]
    head, service = "", []
    if any("{" in argument or "}" in argument for argument in arguments):
        if not platform:
            raise TemplateError("platform must be specified to use templating")
        arguments = [fill_in(argument, PLATFORMS[platform]) for argument in arguments]
        head = "[Unit]\nRequires=coreos-metadata.service\nAfter=coreos-metadata.service\n\n"
        service.append("EnvironmentFile=/run/metadata/coreos")
    if "version_parts" in value:
        service.append(f'Environment="{tag}=v{semver(value["version"])}"')
    service += ["ExecStart=", "ExecStart=" + " \\\n  ".join([command, *arguments]), *after]
    return head + "[Service]\n" + "\n".join(service)


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(value) if isinstance(value, str) else str(value)


def fill_in(text: str, variables: dict[str, str]) -> str:
    """Put shell variables for every ``{NAME}``. Raises `TemplateError` for a name the platform does not have."""
    start, end = text.find("{"), text.find("}")
    while -1 < start < end:
        name = text[start + 1 : end]
        if name not in variables:
            raise TemplateError("unknown field")
        text = text.replace("{" + name + "}", "${" + variables[name] + "}", 1)
        start = text.find("{", end)
        end = text.find("}", start) if start >= 0 else -1
    return text


def update_conf(config: Value) -> str:
    """The text of /etc/coreos/update.conf; empty if neither updates nor locksmith are configured."""
    update, locksmith = config.get("update") or {}, config.get("locksmith") or {}
    text = f"GROUP={update['group'].lower()}" if update.get("group") else ""
    for name, variable in _UPDATE.items():
        if update.get(name):
            text += f"\n{variable}={update[name]}"
    for name, variable in _LOCKSMITH.items():
        if locksmith.get(name) is not None:
            text += f"\n{variable}={quote(locksmith[name])}"
    return text
