"""The sections and keys of unit files. Source: the man pages systemd.*(5) of systemd 252, load-fragment-gperf."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


_UNIT = _words("""
Description Documentation Wants Requires Requisite BindsTo PartOf Upholds Conflicts Before After OnFailure OnSuccess
PropagatesReloadTo ReloadPropagatedFrom PropagatesStopTo StopPropagatedFrom JoinsNamespaceOf RequiresMountsFor
WantsMountsFor OnFailureJobMode OnSuccessJobMode IgnoreOnIsolate StopWhenUnneeded RefuseManualStart RefuseManualStop
AllowIsolate DefaultDependencies SurviveFinalKillSignal CollectMode FailureAction SuccessAction
FailureActionExitStatus SuccessActionExitStatus JobTimeoutSec JobRunningTimeoutSec JobTimeoutAction
JobTimeoutRebootArgument StartLimitIntervalSec StartLimitInterval StartLimitBurst StartLimitAction RebootArgument
SourcePath RequiresOverridable RequisiteOverridable BindTo OnFailureIsolate
""") + [
    f"{kind}{name}"
    for kind in ("Condition", "Assert")
    for name in _words("""
    Architecture Firmware Virtualization Host KernelCommandLine KernelVersion Version Credential Environment Security
    Capability ACPower NeedsUpdate FirstBoot PathExists PathExistsGlob PathIsDirectory PathIsSymbolicLink
    PathIsMountPoint PathIsReadWrite PathIsEncrypted PathIsSocket DirectoryNotEmpty FileNotEmpty FileIsExecutable
    User Group ControlGroupController Memory CPUs CPUFeature OSRelease MemoryPressure CPUPressure IOPressure
    KernelModuleLoaded Null
    """)
]
_INSTALL = _words("Alias WantedBy RequiredBy UpheldBy Also DefaultInstance")
_EXEC = _words("""
WorkingDirectory RootDirectory RootImage RootImageOptions RootEphemeral RootHash RootHashSignature RootVerity
RootImagePolicy MountImagePolicy ExtensionImagePolicy MountAPIVFS BindLogSockets ProtectProc ProcSubset BindPaths
BindReadOnlyPaths MountImages ExtensionImages ExtensionDirectories User Group DynamicUser SupplementaryGroups
SetLoginEnvironment PAMName CapabilityBoundingSet AmbientCapabilities NoNewPrivileges SecureBits SELinuxContext
AppArmorProfile SmackProcessLabel LimitCPU LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS
LimitNPROC LimitMEMLOCK LimitLOCKS LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME UMask
CoredumpFilter KeyringMode OOMScoreAdjust TimerSlackNSec Personality IgnoreSIGPIPE Nice CPUSchedulingPolicy
CPUSchedulingPriority CPUSchedulingResetOnFork CPUAffinity NUMAPolicy NUMAMask IOSchedulingClass
IOSchedulingPriority ProtectSystem ProtectHome RuntimeDirectory StateDirectory CacheDirectory LogsDirectory
ConfigurationDirectory RuntimeDirectoryMode StateDirectoryMode CacheDirectoryMode LogsDirectoryMode
ConfigurationDirectoryMode RuntimeDirectoryPreserve TimeoutCleanSec ReadWritePaths ReadOnlyPaths InaccessiblePaths
ExecPaths NoExecPaths ReadWriteDirectories ReadOnlyDirectories InaccessibleDirectories TemporaryFileSystem PrivateTmp
PrivateDevices PrivateNetwork NetworkNamespacePath PrivateIPC IPCNamespacePath MemoryKSM PrivatePIDs PrivateUsers
ProtectHostname ProtectClock ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups
RestrictAddressFamilies RestrictFileSystems RestrictNamespaces LockPersonality MemoryDenyWriteExecute
RestrictRealtime RestrictSUIDSGID RemoveIPC PrivateMounts MountFlags SystemCallFilter SystemCallErrorNumber
SystemCallArchitectures SystemCallLog Environment EnvironmentFile PassEnvironment UnsetEnvironment StandardInput
StandardOutput StandardError StandardInputText StandardInputData LogLevelMax LogExtraFields LogRateLimitIntervalSec
LogRateLimitBurst LogFilterPatterns LogNamespace SyslogIdentifier SyslogFacility SyslogLevel SyslogLevelPrefix
TTYPath TTYReset TTYVHangup TTYRows TTYColumns TTYVTDisallocate LoadCredential LoadCredentialEncrypted
ImportCredential SetCredential SetCredentialEncrypted UtmpIdentifier UtmpMode
""")
_KILL = _words("""
KillMode KillSignal RestartKillSignal SendSIGHUP SendSIGKILL FinalKillSignal WatchdogSignal
""")
_RESOURCES = _words("""
CPUAccounting CPUWeight StartupCPUWeight CPUQuota CPUQuotaPeriodSec AllowedCPUs StartupAllowedCPUs MemoryAccounting
MemoryMin MemoryLow MemoryHigh MemoryMax MemorySwapMax MemoryZSwapMax MemoryZSwapWriteback AllowedMemoryNodes
TasksAccounting TasksMax IOAccounting IOWeight StartupIOWeight IODeviceWeight IOReadBandwidthMax IOWriteBandwidthMax
IOReadIOPSMax IOWriteIOPSMax IODeviceLatencyTargetSec IPAccounting IPAddressAllow IPAddressDeny SocketBindAllow
SocketBindDeny RestrictNetworkInterfaces NFTSet IPIngressFilterPath IPEgressFilterPath BPFProgram DeviceAllow
DevicePolicy Slice Delegate DelegateSubgroup DisableControllers ManagedOOMSwap ManagedOOMMemoryPressure
ManagedOOMMemoryPressureLimit ManagedOOMPreference MemoryPressureWatch MemoryPressureThresholdSec CoredumpReceive
CPUShares StartupCPUShares MemoryLimit BlockIOAccounting BlockIOWeight BlockIODeviceWeight BlockIOReadBandwidth
BlockIOWriteBandwidth
""")
_SERVICE = _words("""
Type ExitType RemainAfterExit GuessMainPID PIDFile BusName ExecStart ExecStartPre ExecStartPost ExecCondition
ExecReload ExecStop ExecStopPost RestartSec RestartSteps RestartMaxDelaySec TimeoutStartSec TimeoutStopSec
TimeoutAbortSec TimeoutSec TimeoutStartFailureMode TimeoutStopFailureMode RuntimeMaxSec RuntimeRandomizedExtraSec
WatchdogSec Restart RestartMode SuccessExitStatus RestartPreventExitStatus RestartForceExitStatus
RootDirectoryStartOnly NonBlocking NotifyAccess Sockets FileDescriptorStoreMax FileDescriptorStorePreserve
USBFunctionDescriptors USBFunctionStrings OOMPolicy OpenFile ReloadSignal PermissionsStartOnly StartLimitInterval
StartLimitBurst StartLimitAction FailureAction RebootArgument
""")
_SOCKET = _words("""
ListenStream ListenDatagram ListenSequentialPacket ListenFIFO ListenSpecial ListenNetlink ListenMessageQueue
ListenUSBFunction SocketProtocol BindIPv6Only Backlog BindToDevice SocketUser SocketGroup SocketMode DirectoryMode
Accept Writable FlushPending MaxConnections MaxConnectionsPerSource KeepAlive KeepAliveTimeSec KeepAliveIntervalSec
KeepAliveProbes NoDelay Priority DeferAcceptSec ReceiveBuffer SendBuffer IPTOS IPTTL Mark ReusePort SmackLabel
SmackLabelIPIn SmackLabelIPOut SELinuxContextFromNet PipeSize MessageQueueMaxMessages MessageQueueMessageSize
FreeBind Transparent Broadcast PassCredentials PassSecurity PassPacketInfo Timestamping TCPCongestion ExecStartPre
ExecStartPost ExecStopPre ExecStopPost TimeoutSec Service RemoveOnStop Symlinks FileDescriptorName
TriggerLimitIntervalSec TriggerLimitBurst PollLimitIntervalSec PollLimitBurst PassFileDescriptorsToExec
""")
_MOUNT = _words("""
What Where Type Options SloppyOptions LazyUnmount ReadWriteOnly ForceUnmount DirectoryMode TimeoutSec
""")
_TIMER = _words("""
OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec OnCalendar AccuracySec RandomizedDelaySec
FixedRandomDelay OnClockChange OnTimezoneChange Unit Persistent WakeSystem RemainAfterElapse
""")

_RUNS = _EXEC + _KILL + _RESOURCES
#: the keys of each section
KEYS = {
    "Unit": frozenset(_UNIT),
    "Install": frozenset(_INSTALL),
    "Service": frozenset(_SERVICE + _RUNS),
    "Socket": frozenset(_SOCKET + _RUNS),
    "Mount": frozenset(_MOUNT + _RUNS),
    "Swap": frozenset(_words("What Priority Options TimeoutSec") + _RUNS),
    "Automount": frozenset(_words("Where ExtraOptions DirectoryMode TimeoutIdleSec")),
    "Path": frozenset(
        _words("PathExists PathExistsGlob PathChanged PathModified DirectoryNotEmpty Unit MakeDirectory DirectoryMode")
        + _words("TriggerLimitIntervalSec TriggerLimitBurst")
    ),
    "Timer": frozenset(_TIMER),
    "Slice": frozenset(_RESOURCES),
    "Scope": frozenset(_words("RuntimeMaxSec RuntimeRandomizedExtraSec TimeoutStopSec OOMPolicy") + _KILL + _RESOURCES),
}
#: the sections of each type of unit
SECTIONS = {
    kind: ("Unit", kind.capitalize(), "Install") if kind.capitalize() in KEYS else ("Unit", "Install")
    for kind in _words("service socket device mount automount swap target path timer snapshot slice scope")
}
