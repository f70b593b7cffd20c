"""Functions of NVML, under pynvml's names."""

from __future__ import annotations

from gpu_sentinel.nvml.omitted.omission import omit

_OTHER_SPELLINGS = (
    omit(
        "Another spelling of a function that is read, or half of its answer.",
        """
        nvmlDeviceGetAttributes nvmlDeviceGetCurrentDramEncryptionMode nvmlDeviceGetCurrentEccMode
        nvmlDeviceGetGridLicensableFeatures nvmlDeviceGetPciInfo_v3
        nvmlDeviceGetPendingDramEncryptionMode nvmlDeviceGetPendingEccMode
        nvmlDeviceGetTemperatureV1 nvmlDeviceGetThermalSettings
        nvmlEventSetWait nvmlSystemGetCudaDriverVersion_v2
        """,
    ),
    omit(
        "Fields that are read tell the same in one call: ECC, repairs, violation times, NVLink.",
        """
        nvmlDeviceGetNvLinkErrorCounter nvmlDeviceGetNvLinkUtilizationCounter
        nvmlDeviceGetNvLinkUtilizationControl nvmlDeviceGetRemappedRows_v2
        nvmlDeviceGetRetiredPagesPendingStatus nvmlDeviceGetViolationStatus
        """,
    ),
    omit(
        "Deprecated. nvmlDeviceGetMemoryErrorCounter and nvmlDeviceGetPerformanceState have taken "
        "the place of the first and the last; nothing has that of the other.",
        """
        nvmlDeviceGetDetailedEccErrors nvmlDeviceGetPowerManagementMode nvmlDeviceGetPowerState
        """,
    ),
    omit(
        "The same clocks and utilisation as text, in percent, or for a domain that is read by its "
        "own function.",
        """
        nvmlDeviceGetClock nvmlDeviceGetCurrentClockFreqs nvmlDeviceGetDynamicPstatesInfo
        nvmlDeviceGetPerformanceModes
        """,
    ),
    omit(
        "Generation and width of the link say it, gpu_pcie_link_generation and "
        "gpu_pcie_link_width.",
        "nvmlDeviceGetPcieLinkMaxSpeed nvmlDeviceGetPcieSpeed",
    ),
    omit(
        "Each call waits for 20 ms, and tells of these 20 ms only. Bytes come from counters and "
        "from GPM.",
        "nvmlDeviceGetPcieThroughput",
    ),
    omit(
        "How busy the encoder is: gpu_encoder_utilization_ratio.",
        "nvmlDeviceGetEncoderCapacity",
    ),
    omit(
        "Sizes and settings of protected memory beside what is in use of it, "
        "gpu_protected_memory_*, and whether the machine is confidential, "
        "gpu_confidential_compute_mode.",
        """
        nvmlDeviceGetConfComputeMemSizeInfo nvmlSystemGetConfComputeCapabilities
        nvmlSystemGetConfComputeGpusReadyState nvmlSystemGetConfComputeKeyRotationThresholdInfo
        nvmlSystemGetConfComputeSettings
        """,
    ),
    omit(
        "GPUs are looked up by index, MIG instances from their GPU.",
        """
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle nvmlDeviceGetHandleByPciBusId
        nvmlDeviceGetHandleBySerial nvmlDeviceGetHandleByUUID nvmlDeviceGetHandleByUUIDV
        nvmlDeviceIsMigDeviceHandle
        """,
    ),
    omit(
        "Where there are no XIDs, nvmlDeviceRegisterEvents says so.",
        "nvmlDeviceGetSupportedEventTypes",
    ),
    omit(
        "Events in the structured form of driver 615. XIDs come from nvmlEventSetWait_v2, which "
        "older drivers have too, and from the kernel log.",
        "nvmlEventSetGet* nvmlEventSetRegisterGpuOperationalEvents_v1 nvmlEventSetWait_v3",
    ),
    omit(
        "GPUs that come and go are noticed by looking for them, on every driver.",
        "nvmlSystemEventSet* nvmlSystemRegisterEvents",
    ),
)

_SCOPE = (
    omit(
        "About single sessions of the encoder and of frame capture. Their series are not a GPU's: "
        "added to these, they would count everything twice. How many there are is exported.",
        """
        nvmlDeviceGetEncoderSessions nvmlDeviceGetFBCSessions
        """,
    ),
    omit(
        "How much memory a group of processes may have, by a name that who asks has to know.",
        "nvmlDeviceGetMemoryLimits_v1",
    ),
    omit(
        "The lists of processes, which are read, with the protected memory of each, of which "
        "gpu_protected_memory_used_bytes has the sum.",
        "nvmlDeviceGetRunningProcessDetailList",
    ),
    omit(
        "A process has its name from /proc, which also says whether it is still the same process.",
        "nvmlSystemGetProcessName",
    ),
    omit(
        "Means over the life of a process, and for how many processes they are kept, where root "
        "has switched accounting on. The samples of processes say more, and where there are none "
        "(MIG), accounting is off.",
        """
        nvmlDeviceGetAccountingBufferSize nvmlDeviceGetAccountingPids nvmlDeviceGetAccountingStats
        nvmlDeviceGetAccountingStats_v2
        """,
    ),
    omit(
        "For the host of virtual GPUs, of which there has been none to check it on.",
        """
        nvmlDeviceGetActiveVgpus nvmlDeviceGetCreatableVgpus nvmlDeviceGetHostVgpuMode
        nvmlDeviceGetPgpuMetadataString nvmlDeviceGetSupportedVgpus nvmlDeviceGetVgpu*
        nvmlGetVgpu* nvmlGpuInstanceGetActiveVgpus nvmlGpuInstanceGetCreatableVgpus
        nvmlGpuInstanceGetVgpu* nvmlVgpuInstanceGet* nvmlVgpuTypeGet*
        """,
    ),
    omit(
        "For S-class systems (Tesla S1070 and the like), whose drivers are long gone.",
        "nvmlSystemGetHicVersion nvmlUnitGet*",
    ),
    omit(
        "What MIG instances could be made; most of it is told to root only. Those that there are "
        "come from nvmlDeviceGetMigDeviceHandleByIndex, without root.",
        """
        nvmlComputeInstanceGetInfo nvmlComputeInstanceGetInfo_v2
        nvmlDeviceGetGpuInstancePossiblePlacements
        nvmlDeviceGetGpuInstanceProfileInfo nvmlDeviceGetGpuInstanceProfileInfoById
        nvmlDeviceGetGpuInstanceProfileInfoByIdV nvmlDeviceGetGpuInstanceProfileInfoV
        nvmlDeviceGetGpuInstanceRemainingCapacity nvmlDeviceGetGpuInstances
        nvmlGpuInstanceGetComputeInstanceById nvmlGpuInstanceGetComputeInstancePossiblePlacements
        nvmlGpuInstanceGetComputeInstanceProfileInfo nvmlGpuInstanceGetComputeInstanceProfileInfoV
        nvmlGpuInstanceGetComputeInstanceRemainingCapacity nvmlGpuInstanceGetComputeInstances
        """,
    ),
    omit(
        "How the machine is put together: `nvidia-smi topo` shows it, and it cannot change while "
        "the machine runs.",
        """
        nvmlDeviceGetBridgeChipInfo nvmlDeviceGetBusType nvmlDeviceGetC2cModeInfoV
        nvmlDeviceGetC2cModeInfoV1 nvmlDeviceGetCpuAffinity nvmlDeviceGetCpuAffinityWithinScope
        nvmlDeviceGetIrqNum nvmlDeviceGetMemoryAffinity nvmlDeviceGetMultiGpuBoard
        nvmlDeviceGetNumaNodeId nvmlDeviceGetNvLinkRemoteDeviceType
        nvmlDeviceGetNvLinkRemotePciInfo nvmlDeviceGetPlatformInfo
        nvmlDeviceGetTopologyCommonAncestor nvmlDeviceGetTopologyNearestGpus
        nvmlDeviceOnSameBoard nvmlSystemGetTopologyGpuSet
        """,
    ),
    omit(
        "What the board and its driver are capable of. It does not change, and what follows from "
        "it is seen in what they tell.",
        """
        nvmlDeviceGetCapabilities nvmlDeviceGetCoolerInfo nvmlDeviceGetGspFirmwareMode
        nvmlDeviceGetMinMaxClockOfPState nvmlDeviceGetMinMaxFanSpeed
        nvmlDeviceGetNvLinkCapability nvmlDeviceGetNvLinkInfo nvmlDeviceGetNvLinkVersion
        nvmlDeviceGetNvlinkSupportedBwModes nvmlDeviceGetSupportedGraphicsClocks
        nvmlDeviceGetSupportedMemoryClocks nvmlDeviceGetSupportedPerformanceStates
        nvmlDeviceWorkloadPowerProfileGetProfilesInfo
        """,
    ),
    omit(
        "One more name for what gpu_info, gpu_board_info and gpu_driver_info name already.",
        """
        nvmlDeviceGetHostname_v1 nvmlDeviceGetInforomConfigurationChecksum nvmlDeviceGetPciInfoExt
        nvmlDeviceGetPdi nvmlSystemGetDriverBranch
        """,
    ),
)

_REST = (
    omit(
        "A setting that changes only when somebody changes it, and that has hardly ever been the "
        "cause of anything.",
        """
        nvmlDeviceGetAPIRestriction nvmlDeviceGetAdaptiveClockInfoStatus
        nvmlDeviceGetAddressingMode nvmlDeviceGetClockOffsets
        nvmlDeviceGetDefaultEccMode nvmlDeviceGetDisplayMode nvmlDeviceGetFanControlPolicy_v2
        nvmlDeviceGetGpcClkMinMaxVfOffset nvmlDeviceGetGpcClkVfOffset
        nvmlDeviceGetMemClkMinMaxVfOffset nvmlDeviceGetMemClkVfOffset nvmlDeviceGetNvlinkBwMode
        nvmlDeviceGetPowerMizerMode_v1 nvmlDeviceQueryDrainState
        nvmlDeviceWorkloadPowerProfileGetCurrentProfiles
        nvmlGetExcludedDeviceCount nvmlGetExcludedDeviceInfoByIndex nvmlGpmQueryIfStreamingEnabled
        nvmlSystemGetNvlinkBwMode
        """,
    ),
    omit(
        "For boards of before Pascal, which the drivers of today do not support.",
        """
        nvmlDeviceGetAutoBoostedClocksEnabled nvmlDeviceGetCurrentGpuOperationMode
        nvmlDeviceGetGpuOperationMode nvmlDeviceGetPendingGpuOperationMode
        """,
    ),
    omit(
        "For Windows only.",
        """
        nvmlDeviceGetCurrentDriverModel nvmlDeviceGetDriverModel nvmlDeviceGetDriverModel_v1
        nvmlDeviceGetDriverModel_v2 nvmlDeviceGetPendingDriverModel
        """,
    ),
    omit(
        "For root only, and the exporter runs without.",
        "nvmlDeviceGetClkMonStatus nvmlSystemGetCPER_v1",
    ),
    omit(
        "Addresses of memory errors. How many there are is exported; which they are belongs in "
        "a log.",
        """
        nvmlDeviceGetRetiredPages nvmlDeviceGetRetiredPages_v2
        nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts
        """,
    ),
    omit(
        "The black box in the board's InfoROM, for NVIDIA's support; the last one reads the flash "
        "memory and checks it, which is no thing to do every few seconds.",
        "nvmlDeviceGetBBXTimeData_v1 nvmlDeviceGetLastBBXFlushTime nvmlDeviceValidateInforom",
    ),
    omit(
        "For a verifier of the machine's confidentiality, who asks them a question of his own.",
        "nvmlDeviceGetConfComputeGpuAttestationReport nvmlDeviceGetConfComputeGpuCertificate",
    ),
    omit(
        "Of laptops; the host's exporter shows the power supply.",
        "nvmlDeviceGetPowerSource",
    ),
    omit(
        "For Rubin and newer, on which nothing could be checked yet.",
        """
        nvmlDeviceGetAdaptiveTgpModeInfo_v1 nvmlDeviceGetBankRemapperStatus_v1
        nvmlDeviceGetNvLinkTelemetrySamples_v1
        """,
    ),
    omit(
        "Registers and controllers whose meaning is not documented.",
        """
        nvmlDevicePerfMetricsGetSamples_v1 nvmlDeviceReadPRMCounters_v1 nvmlDeviceReadWritePRM_v1
        """,
    ),
    omit(
        "The fabric in older and newer forms; nvmlDeviceGetGpuFabricInfoV is read. The newest "
        "form has several cliques for a GPU, where gpu_fabric_info has one label.",
        "nvmlDeviceGetGpuFabricInfo nvmlDeviceGetGpuFabricInfo_v4",
    ),
    omit(
        "They change something; an exporter only looks.",
        """
        nvmlComputeInstanceDestroy nvmlDeviceClear* nvmlDeviceCreateGpuInstance*
        nvmlDeviceDiscoverGpus nvmlDeviceFreezeNvLinkUtilizationCounter nvmlDeviceModifyDrainState
        nvmlDevicePowerSmoothing* nvmlDeviceRemoveGpu nvmlDeviceReset* nvmlDeviceSet*
        nvmlDeviceVgpuForceGspUnload nvmlDeviceWorkloadPowerProfileClearRequestedProfiles
        nvmlDeviceWorkloadPowerProfileSetRequestedProfiles
        nvmlDeviceWorkloadPowerProfileUpdateProfiles_v1 nvmlGpmSetStreamingEnabled
        nvmlGpuInstanceCreateComputeInstance* nvmlGpuInstanceDestroy nvmlGpuInstanceSet*
        nvmlSetVgpuVersion nvmlSystemSet* nvmlUnitSetLedState nvmlVgpuInstanceClearAccountingPids
        nvmlVgpuInstanceSetEncoderCapacity
        """,
    ),
    omit(
        "No questions: help for who calls pynvml.",
        """
        nvmlErrorString nvmlExceptionClass nvmlFriendlyObjectToStruct nvmlInitWithFlags
        nvmlStructToFriendlyObject
        """,
    ),
)

FUNCTIONS = (*_OTHER_SPELLINGS, *_SCOPE, *_REST)
