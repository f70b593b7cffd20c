"""Fields of nvmlDeviceGetFieldValues."""

from __future__ import annotations

from gpu_sentinel.nvml.omitted.omission import omit

FIELDS = (
    omit(
        "Errors by part of the GPU, for a fixed set of parts: nvmlDeviceGetMemoryErrorCounter has "
        "those of every generation.",
        """
        NVML_FI_DEV_ECC_?BE_???_CBU NVML_FI_DEV_ECC_?BE_???_DEV NVML_FI_DEV_ECC_?BE_???_L1
        NVML_FI_DEV_ECC_?BE_???_L2 NVML_FI_DEV_ECC_?BE_???_REG NVML_FI_DEV_ECC_?BE_???_TEX
        """,
    ),
    omit(
        "A function that is read tells the same, on older drivers too: ECC mode, PCIe replays, "
        "pages to be retired by their cause.",
        """
        NVML_FI_DEV_ECC_CURRENT NVML_FI_DEV_ECC_PENDING NVML_FI_DEV_PCIE_REPLAY_COUNTER
        NVML_FI_DEV_RETIRED_PENDING_DBE NVML_FI_DEV_RETIRED_PENDING_SBE
        """,
    ),
    omit(
        "The same as TOTAL_ENERGY_CONSUMPTION, which is read.",
        "NVML_FI_DEV_ENERGY",
    ),
    omit(
        "A field for each of the first twelve links. The totals are read, and ERROR_DL_*, "
        "GET_SPEED and THROUGHPUT_* with the link as their scope, for as many as there are.",
        """
        NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L* NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L*
        NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_L* NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L*
        NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L* NVML_FI_DEV_NVLINK_SPEED_MBPS_*
        """,
    ),
    omit(
        "Counters that have to be set up first, and that newer GPUs do not have; "
        "NVLINK_THROUGHPUT_DATA_* are read.",
        "NVML_FI_DEV_NVLINK_BANDWIDTH_C?_*",
    ),
    omit(
        "What goes over NVLink with the overhead of its protocol, and in packets; the data alone "
        "are exported.",
        """
        NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES NVML_FI_DEV_NVLINK_COUNT_RCV_PACKETS
        NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES NVML_FI_DEV_NVLINK_COUNT_XMIT_PACKETS
        NVML_FI_DEV_NVLINK_GET_DATA_RATE NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_?X
        """,
    ),
    omit(
        "For who looks for a bad cable: error rates by lane, histograms of corrected symbols, "
        "repeats below the link's protocol. gpu_nvlink_link_errors_total has the errors "
        "themselves, by kind.",
        """
        NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_*
        NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE?_V2 NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2
        NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE? NVML_FI_DEV_NVLINK_COUNT_SYMBOL_BER
        NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS
        """,
    ),
    omit(
        "Recoveries that succeeded, and all of them; those that failed are counted in "
        "gpu_nvlink_link_errors_total.",
        """
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS
        """,
    ),
    omit(
        "Deprecated; GET_GPU_RECOVERY_ACTION is read in place of the last two.",
        """
        NVML_FI_DEV_NVLINK_COUNT_RAW_BER NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0
        NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1 NVML_FI_DEV_NVLINK_COUNT_VL15_DROPPED
        NVML_FI_DEV_DRAIN_AND_RESET_STATUS NVML_FI_DEV_RESET_STATUS
        """,
    ),
    omit(
        "How links are built, saved power on, and what is at their other end. What goes over them "
        "and what fails on them is exported.",
        """
        NVML_FI_DEV_C2C_LINK_POWER_STATE NVML_FI_DEV_NVLINK_GET_POWER_STATE
        NVML_FI_DEV_NVLINK_GET_POWER_THRESHOLD* NVML_FI_DEV_NVLINK_GET_STATE
        NVML_FI_DEV_NVLINK_GET_VERSION NVML_FI_DEV_NVLINK_REMOTE_NVLINK_ID
        NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT
        """,
    ),
    omit(
        "Repeats right after each other; they are in gpu_c2c_link_replays_total.",
        "NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B",
    ),
    omit(
        "What GPU, slot and driver are capable of: it does not change while the driver is loaded.",
        """
        NVML_FI_DEV_IS_MIG_MODE_INDEPENDENT_MIG_QUERY_CAPABLE
        NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED NVML_FI_DEV_MCLK_MIN_SWITCH_INTERVAL_MILLISECONDS
        NVML_FI_DEV_MCLK_SWITCH_TYPE NVML_FI_DEV_PCIE_INBOUND_ATOMICS_MASK
        NVML_FI_DEV_PCIE_OUTBOUND_ATOMICS_MASK
        """,
    ),
    omit(
        "The settings of power smoothing, of Blackwell and newer in racks that were set up for it.",
        "NVML_FI_PWR_SMOOTHING_*",
    ),
    omit(
        "Sums of clock and activity; nvml.h says neither their unit nor over what they are taken.",
        "NVML_FI_DEV_POWER_SYNC_BALANCING_AF NVML_FI_DEV_POWER_SYNC_BALANCING_FREQ",
    ),
    omit(
        "Too new: there has been no GPU that answers them, to check them on.",
        """
        NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_*
        NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS NVML_FI_DEV_MMA_STALL_PERCENT
        NVML_FI_DEV_PENDING_BANK_REMAPPING
        """,
    ),
    omit("Not a field: how many there are.", "NVML_FI_MAX"),
)
