"""The options of etcd and flannel that a Container Linux Config knows, by version, in the order ct writes them.

``s`` is text, ``i`` a number, ``b`` yes or no. The flag of an option is its name with dashes (`FLAGS` has the
exceptions).

Source: config/types/etcd.go and flannel.go of ct 0.9.4; the flags are those of etcd(1) and flanneld.
"""

from __future__ import annotations

from functools import cache

from ..spec.schema import Field, Struct, Type

FLAGS = {"interface": "iface"}

OPTIONS = """
Etcd3_0
  name:s data_dir:s wal_dir:s snapshot_count:i heartbeat_interval:i election_timeout:i enable_pprof:b
  listen_peer_urls:s listen_client_urls:s max_snapshots:i max_wals:i cors:s initial_advertise_peer_urls:s
  initial_cluster:s initial_cluster_state:s initial_cluster_token:s advertise_client_urls:s discovery:s
  discovery_srv:s discovery_fallback:s discovery_proxy:s strict_reconfig_check:b auto_compaction_retention:i
  proxy:s proxy_failure_wait:i proxy_refresh_interval:i proxy_dial_timeout:i proxy_write_timeout:i
  proxy_read_timeout:i ca_file:s cert_file:s key_file:s client_cert_auth:b trusted_ca_file:s auto_tls:b
  peer_ca_file:s peer_cert_file:s peer_key_file:s peer_client_cert_auth:b peer_trusted_ca_file:s peer_auto_tls:b
  debug:b log_package_levels:s force_new_cluster:b
Etcd3_1
  name:s data_dir:s wal_dir:s snapshot_count:i heartbeat_interval:i election_timeout:i enable_pprof:b
  listen_peer_urls:s listen_client_urls:s max_snapshots:i max_wals:i cors:s initial_advertise_peer_urls:s
  initial_cluster:s initial_cluster_state:s initial_cluster_token:s advertise_client_urls:s discovery:s
  discovery_srv:s discovery_fallback:s discovery_proxy:s strict_reconfig_check:b auto_compaction_retention:i
  proxy:s proxy_failure_wait:i proxy_refresh_interval:i proxy_dial_timeout:i proxy_write_timeout:i
  proxy_read_timeout:i ca_file:s cert_file:s key_file:s client_cert_auth:b trusted_ca_file:s auto_tls:b
  peer_ca_file:s peer_cert_file:s peer_key_file:s peer_client_cert_auth:b peer_trusted_ca_file:s peer_auto_tls:b
  debug:b log_package_levels:s force_new_cluster:b metrics:s log_output:s
Etcd3_2
  name:s data_dir:s wal_dir:s snapshot_count:i heartbeat_interval:i election_timeout:i enable_pprof:b
  enable_v2:b listen_peer_urls:s listen_client_urls:s max_snapshots:i max_wals:i cors:s
  initial_advertise_peer_urls:s initial_cluster:s initial_cluster_state:s initial_cluster_token:s
  advertise_client_urls:s discovery:s discovery_srv:s discovery_fallback:s discovery_proxy:s
  strict_reconfig_check:b auto_compaction_retention:i proxy:s proxy_failure_wait:i proxy_refresh_interval:i
  proxy_dial_timeout:i proxy_write_timeout:i proxy_read_timeout:i ca_file:s cert_file:s key_file:s
  client_cert_auth:b trusted_ca_file:s auto_tls:b peer_ca_file:s peer_cert_file:s peer_key_file:s
  peer_client_cert_auth:b peer_trusted_ca_file:s peer_auto_tls:b auth_token:s debug:b log_package_levels:s
  force_new_cluster:b metrics:s log_output:s
Etcd3_3
  name:s data_dir:s wal_dir:s snapshot_count:i heartbeat_interval:i election_timeout:i enable_pprof:b
  enable_v2:b listen_peer_urls:s listen_client_urls:s max_snapshots:i max_wals:i cors:s quota_backend_bytes:i
  max_txn_ops:i max_request_bytes:i grpc_keepalive_min_time:s grpc_keepalive_interval:s grpc_keepalive_timeout:s
  initial_advertise_peer_urls:s initial_cluster:s initial_cluster_state:s initial_cluster_token:s
  advertise_client_urls:s discovery:s discovery_srv:s discovery_fallback:s discovery_proxy:s
  strict_reconfig_check:b auto_compaction_retention:s auto_compaction_mode:s proxy:s proxy_failure_wait:i
  proxy_refresh_interval:i proxy_dial_timeout:i proxy_write_timeout:i proxy_read_timeout:i ca_file:s cert_file:s
  key_file:s client_cert_auth:b client_crl_file:s trusted_ca_file:s auto_tls:b peer_ca_file:s peer_cert_file:s
  peer_key_file:s peer_client_cert_auth:b peer_crl_file:s peer_trusted_ca_file:s peer_auto_tls:b
  peer_cert_allowed_cn:s auth_token:s debug:b log_package_levels:s force_new_cluster:b metrics:s log_output:s
  listen_metrics_urls:s experimental_initial_corrupt_check:b experimental_corrupt_check_time:s
  experimental_enable_v2v3:s
Etcd3_4
  name:s data_dir:s wal_dir:s snapshot_count:i heartbeat_interval:i election_timeout:i
  initial_election_tick_advance:b listen_peer_urls:s listen_client_urls:s max_snapshots:i max_wals:i
  quota_backend_bytes:i backend_batch_interval:s backend_batch_limit:i max_txn_ops:i max_request_bytes:i
  grpc_keepalive_min_time:s grpc_keepalive_interval:s grpc_keepalive_timeout:s initial_advertise_peer_urls:s
  initial_cluster:s initial_cluster_state:s initial_cluster_token:s advertise_client_urls:s discovery:s
  discovery_fallback:s discovery_proxy:s discovery_srv:s discovery_srv_name:s strict_reconfig_check:b pre_vote:b
  auto_compaction_retention:s auto_compaction_mode:s enable_v2:b cert_file:s key_file:s client_cert_auth:b
  client_crl_file:s client_cert_allowed_hostname:s trusted_ca_file:s auto_tls:b peer_cert_file:s peer_key_file:s
  peer_client_cert_auth:b peer_trusted_ca_file:s peer_cert_allowed_cn:s peer_cert_allowed_hostname:s
  peer_auto_tls:b peer_crl_file:s cipher_suites:s cors:s host_whitelist:s auth_token:s bcrypt_cost:i
  auth_token_ttl:i enable_pprof:b metrics:s listen_metrics_urls:s logger:s log_outputs:s log_level:s proxy:s
  proxy_failure_wait:i proxy_refresh_interval:i proxy_dial_timeout:i proxy_write_timeout:i proxy_read_timeout:i
  experimental_initial_corrupt_check:b experimental_corrupt_check_time:s experimental_enable_v2v3:s
  experimental_backend_bbolt_freelist_type:s experimental_enable_lease_checkpoint:b
  experimental_compaction_batch_limit:i experimental_watch_progress_notify_interval:s
  experimental_warning_apply_duration:s force_new_cluster:b debug:b log_package_levels:s
Etcd3_5
  name:s data_dir:s wal_dir:s snapshot_count:i heartbeat_interval:i election_timeout:i
  initial_election_tick_advance:b listen_peer_urls:s listen_client_urls:s max_snapshots:i max_wals:i
  quota_backend_bytes:i backend_bbolt_freelist_type:s backend_batch_interval:s backend_batch_limit:i
  max_txn_ops:i max_request_bytes:i grpc_keepalive_min_time:s grpc_keepalive_interval:s grpc_keepalive_timeout:s
  socket_reuse_port:b socket_reuse_address:b initial_advertise_peer_urls:s initial_cluster:s
  initial_cluster_state:s initial_cluster_token:s advertise_client_urls:s discovery:s discovery_fallback:s
  discovery_proxy:s discovery_srv:s discovery_srv_name:s strict_reconfig_check:b pre_vote:b
  auto_compaction_retention:s auto_compaction_mode:s enable_v2:b v2_deprecation:s cert_file:s key_file:s
  client_cert_auth:b client_crl_file:s client_cert_allowed_hostname:s trusted_ca_file:s auto_tls:b
  peer_cert_file:s peer_key_file:s peer_client_cert_auth:b peer_trusted_ca_file:s peer_cert_allowed_cn:s
  peer_cert_allowed_hostname:s peer_auto_tls:b self_signed_cert_validity:i peer_crl_file:s cipher_suites:s
  cors:s host_whitelist:s auth_token:s bcrypt_cost:i auth_token_ttl:i enable_pprof:b metrics:s
  listen_metrics_urls:s logger:s log_outputs:s log_level:s enable_log_rotation:b log_rotation_config_json:s
  experimental_enable_distributed_tracing:b experimental_distributed_tracing_address:s
  experimental_distributed_tracing_service_name:s experimental_distributed_tracing_instance_id:s proxy:s
  proxy_failure_wait:i proxy_refresh_interval:i proxy_dial_timeout:i proxy_write_timeout:i proxy_read_timeout:i
  experimental_initial_corrupt_check:b experimental_corrupt_check_time:s experimental_enable_v2v3:s
  experimental_enable_lease_checkpoint:b experimental_compaction_batch_limit:i
  experimental_watch_progress_notify_interval:s experimental_warning_apply_duration:s
  experimental_txn_mode_write_with_shared_buffer:b force_new_cluster:b unsafe_no_fsync:b
Etcd2
  advertise_client_urls:s ca_file:s cert_file:s client_cert_auth:b cors:s data_dir:s debug:b discovery:s
  discovery_fallback:s discovery_srv:s discovery_proxy:s election_timeout:i enable_pprof:b force_new_cluster:b
  heartbeat_interval:i initial_advertise_peer_urls:s initial_cluster:s initial_cluster_state:s
  initial_cluster_token:s key_file:s listen_client_urls:s listen_peer_urls:s log_package_levels:s
  max_snapshots:i max_wals:i name:s peer_ca_file:s peer_cert_file:s peer_key_file:s peer_client_cert_auth:b
  peer_trusted_ca_file:s proxy:s proxy_dial_timeout:i proxy_failure_wait:i proxy_read_timeout:i
  proxy_refresh_interval:i proxy_write_timeout:i snapshot_count:i strict_reconfig_check:b trusted_ca_file:s
  wal_dir:s
Flannel0_7
  etcd_username:s etcd_password:s etcd_endpoints:s etcd_cafile:s etcd_certfile:s etcd_keyfile:s etcd_prefix:s
  ip_masq:s subnet_file:s interface:s public_ip:s kube_subnet_mgr:b
Flannel0_6
  etcd_username:s etcd_password:s etcd_endpoints:s etcd_cafile:s etcd_certfile:s etcd_keyfile:s etcd_prefix:s
  ip_masq:s subnet_file:s interface:s public_ip:s
Flannel0_5
  etcd_endpoints:s etcd_cafile:s etcd_certfile:s etcd_keyfile:s etcd_prefix:s ip_masq:s subnet_file:s
  interface:s public_ip:s
"""

_TYPES = {"s": "str", "i": "int", "b": "bool"}
_GO = {"str": "string", "int": "int", "bool": "bool"}


@cache
def options(name: str) -> Struct:
    """The options of a version, such as ``Etcd3_5`` or ``Flannel0_7``; all of them may be absent."""
    struct = Struct(name, f"types.{name}")
    current = ""
    for row in OPTIONS.splitlines():
        if not row.startswith(" "):
            current = row
        elif current == name:
            for option, mark in (word.split(":") for word in row.split()):
                kind = _TYPES[mark]
                struct.fields.append(Field(option, option, Type(scalar=kind, optional=True, name=_GO[kind])))
    return struct


def etcd_options(major: int, minor: int) -> str:
    """The name of the option set that an etcd version takes; empty if there is none."""
    if major == 2 and minor >= 3:
        return "Etcd2"
    return f"Etcd3_{min(minor, 5)}" if major == 3 and minor >= 0 else ""


def flannel_options(major: int, minor: int) -> str:
    """The name of the option set that a flannel version takes; empty if there is none."""
    return f"Flannel0_{min(minor, 7)}" if major == 0 and minor >= 5 else ""
