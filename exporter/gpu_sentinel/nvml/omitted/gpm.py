"""GPM metrics, of nvmlGpmMetricsGet."""

from __future__ import annotations

from gpu_sentinel.nvml.omitted.omission import omit

GPM_METRICS = (
    omit(
        "Each engine by itself; gpu_decoder_utilization_ratio, gpu_encoder_utilization_ratio, "
        "gpu_jpeg_utilization_ratio and gpu_ofa_utilization_ratio show those of a kind together.",
        """
        NVML_GPM_METRIC_NVDEC_?_UTIL NVML_GPM_METRIC_NVENC_?_UTIL NVML_GPM_METRIC_NVJPG_?_UTIL
        NVML_GPM_METRIC_NVOFA_?_UTIL
        """,
    ),
    omit(
        "Each NVLink by itself; gpu_nvlink_link_receive_bytes_total and "
        "gpu_nvlink_link_transmit_bytes_total count its bytes, and miss none between two samples.",
        """
        NVML_GPM_METRIC_NVLINK_L*_RX NVML_GPM_METRIC_NVLINK_L*_RX_PER_SEC
        NVML_GPM_METRIC_NVLINK_L*_TX NVML_GPM_METRIC_NVLINK_L*_TX_PER_SEC
        """,
    ),
    omit(
        "Traffic between processor and GPU (Grace Hopper and newer): there has been none to check "
        "it on. State, speed and errors of these links are exported.",
        "NVML_GPM_METRIC_C2C_*",
    ),
    omit(
        "Caches and context switches, of newer GPUs: there has been none to check them on.",
        """
        NVML_GPM_METRIC_DRAM_CACHE_HIT NVML_GPM_METRIC_DRAM_CACHE_MISS
        NVML_GPM_METRIC_GR?_CTXSW_* NVML_GPM_METRIC_HOSTMEM_CACHE_HIT
        NVML_GPM_METRIC_HOSTMEM_CACHE_MISS NVML_GPM_METRIC_PEERMEM_CACHE_HIT
        NVML_GPM_METRIC_PEERMEM_CACHE_MISS
        """,
    ),
    omit(
        "The counters of which the shares are made that are exported, and bytes over PCIe; only "
        "newer drivers have them.",
        """
        NVML_GPM_METRIC_DFMA_CYCLES_ACTIVE NVML_GPM_METRIC_DMMA_CYCLES_ACTIVE
        NVML_GPM_METRIC_FP16_CYCLES_ACTIVE NVML_GPM_METRIC_FP32_CYCLES_ACTIVE
        NVML_GPM_METRIC_FP64_CYCLES_ACTIVE NVML_GPM_METRIC_HMMA_CYCLES_ACTIVE
        NVML_GPM_METRIC_IMMA_CYCLES_ACTIVE NVML_GPM_METRIC_INTEGER_CYCLES_ACTIVE
        NVML_GPM_METRIC_MMA_CYCLES_ACTIVE NVML_GPM_METRIC_PCIE_RX NVML_GPM_METRIC_PCIE_TX
        NVML_GPM_METRIC_SM_CYCLES_ACTIVE NVML_GPM_METRIC_SM_CYCLES_ELAPSED
        """,
    ),
    omit("Not a metric: how many there are.", "NVML_GPM_METRIC_MAX"),
)
