"""An NVML without a GPU: stands in for the driver's library, below pynvml.

pynvml calls a C library through ctypes. `Simulation.library()` is an object whose attributes are
real C callbacks, one for each function that the simulated driver has, so wrappers, structure
versions and return codes are exercised as with a real driver.
"""

# The functions register themselves.
from gpu_sentinel.simulator import (  # noqa: F401
    boardcalls,
    boardfields,
    devicecalls,
    errorcalls,
    eventcalls,
    gpmcalls,
    linkcalls,
    linkfields,
    migcalls,
    processcalls,
    samplecalls,
    systemcalls,
)
from gpu_sentinel.simulator.scenario import Scenario, ScenarioError, load_scenario, scenario_names
from gpu_sentinel.simulator.simulation import Simulation

__all__ = ["Scenario", "ScenarioError", "Simulation", "load_scenario", "scenario_names"]
