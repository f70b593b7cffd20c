# ruff: noqa: E501 - paths are read best whole
"""What stands in `/proc/PID/cgroup`, by who writes it so; and what somebody might write there."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_sentinel.host.owners.cgroups import NOWHERE, Place

ID = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970"
OTHER = "b2a102854b4969b2ce98dc329c86b4fb2b06e4ad2cc8da9d8a7578c9cd2004a2"
POD = "72f7f152-440c-66ac-9084-e0fc1d8a910c"
POD_ = POD.replace("-", "_")
STATIC = "0123456789abcdef0123456789abcdef"
ALLOCATION = "4744f0ea-7616-ab3a-a420-8e25056e3861"
USER = "/user.slice/user-1000.slice/user@1000.service"


@dataclass(frozen=True)
class Sample:
    """A path of a runtime, with who writes it so, and what it says."""

    source: str
    text: str
    place: Place


def v2(path: str) -> str:
    return f"0::{path}\n"


def unit(name: str, **more: object) -> Place:
    return Place(unit=name, **more)  # type: ignore[arg-type]


KUBE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"

SAMPLES = {
    "docker, cgroupfs": Sample(
        "moby daemon/daemon_unix.go: cgroup parent /docker", v2(f"/docker/{ID}"),
        Place(container=ID, runtime="docker"),
    ),
    "docker, systemd": Sample(
        "moby daemon/oci_linux.go: system.slice:docker:ID", v2(f"/system.slice/docker-{ID}.scope"),
        unit(f"docker-{ID}.scope", container=ID, runtime="docker"),
    ),
    "docker, at the root": Sample(
        "neuvector share/system/cgroup_test.go, Debian of 2016", f"10:net_prio:/{ID}\n9:blkio:/{ID}\n",
        Place(container=ID),
    ),
    "docker, v1, each line": Sample(
        "moby on a hybrid host",
        f"12:devices:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n",
        Place(container=ID, runtime="docker", unit="containerd.service"),
    ),
    "docker in docker": Sample(
        "moby: the inner daemon's parent is beneath the outer container",
        v2(f"/docker/{ID}/docker/{OTHER}"), Place(container=ID, runtime="docker"),
    ),
    "kind on docker": Sample(
        "kubernetes-sigs/kind: a kubelet in a container",
        v2(f"/system.slice/docker-{ID}.scope/kubelet.slice/kubelet-kubepods.slice"
           f"/kubelet-kubepods-pod{POD_}.slice/cri-containerd-{OTHER}.scope"),
        unit(f"docker-{ID}.scope", container=ID, runtime="docker"),
    ),
    "rootless docker": Sample(
        "docs.docker.com/engine/security/rootless with systemd",
        v2(f"{USER}/user.slice/docker-{ID}.scope"),
        unit("user@1000.service", container=ID, runtime="docker", login=1000),
    ),
    "podman, root": Sample(
        "podman libpod/container_internal_linux.go, crun makes `container`",
        v2(f"/machine.slice/libpod-{ID}.scope/container"),
        unit(f"libpod-{ID}.scope", container=ID, runtime="podman"),
    ),
    "podman, a pod of its own": Sample(
        "podman libpod/runtime_pod_linux.go",
        v2(f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope/container"),
        unit(f"libpod-{ID}.scope", container=ID, runtime="podman"),
    ),
    "podman, rootless": Sample(
        "podman inspect, CgroupPath of an issue of containers/podman",
        v2(f"{USER}/user.slice/libpod-{ID}.scope/container"),
        unit("user@1000.service", container=ID, runtime="podman", login=1000),
    ),
    "podman, manager in a slice of the site": Sample(
        "systemd user@.service with Slice= of its own",
        v2(f"/workloads.slice/user@10008.service/user.slice/libpod-{ID}.scope/container"),
        unit("user@10008.service", container=ID, runtime="podman", login=10008),
    ),
    "podman, cgroupfs": Sample(
        "podman: CgroupManager cgroupfs", v2(f"/libpod_parent/libpod-{ID}"),
        Place(container=ID, runtime="podman"),
    ),
    "podman, quadlet": Sample(
        "podman --cgroups=split", v2(f"/system.slice/train.service/libpod-payload-{ID}"),
        unit("train.service", container=ID, runtime="podman"),
    ),
    "podman's monitor": Sample(
        "podman libpod/oci_conmon_linux.go", v2(f"/machine.slice/libpod-conmon-{ID}.scope"),
        unit(f"libpod-conmon-{ID}.scope"),
    ),
    "nerdctl": Sample(
        "containerd/nerdctl pkg/cmd/container/run_cgroup_linux.go",
        v2(f"/system.slice/nerdctl-{ID}.scope"),
        unit(f"nerdctl-{ID}.scope", container=ID, runtime="containerd"),
    ),
    "kubernetes, cgroupfs": Sample(
        "kubelet 1.36.3 with containerd 1.6.20, run", v2(f"/kubepods/burstable/pod{POD}/{ID}"),
        Place(pod_uid=POD, container=ID),
    ),
    "kubernetes, cgroupfs, guaranteed": Sample(
        "kubelet 1.36.3 with containerd 1.6.20, run, each line the same",
        f"9:name=systemd:/kubepods/pod{POD}/{ID}\n5:devices:/kubepods/pod{POD}/{ID}\n0::/kubepods/pod{POD}/{ID}\n",
        Place(pod_uid=POD, container=ID),
    ),
    "kubernetes, static pod": Sample(
        "kubelet 1.36.3, run: the uid is a hash", v2(f"/kubepods/besteffort/pod{STATIC}/{ID}"),
        Place(pod_uid=STATIC, container=ID),
    ),
    "kubernetes, containerd, systemd": Sample(
        "kubelet pkg/kubelet/cm/cgroup_manager_linux.go, containerd cri",
        v2(f"{KUBE}{POD_}.slice/cri-containerd-{ID}.scope"),
        unit(f"cri-containerd-{ID}.scope", pod_uid=POD, container=ID, runtime="containerd"),
    ),
    "kubernetes, cri-o, systemd": Sample(
        "cri-o internal/config/cgmgr/systemd_linux.go",
        v2(f"{KUBE}{POD_}.slice/crio-{ID}.scope/container"),
        unit(f"crio-{ID}.scope", pod_uid=POD, container=ID, runtime="cri-o"),
    ),
    "kubernetes, cri-o's monitor": Sample(
        "cri-o: conmon_cgroup = pod", v2(f"{KUBE}{POD_}.slice/crio-conmon-{ID}.scope"),
        unit(f"crio-conmon-{ID}.scope", pod_uid=POD),
    ),
    "kubernetes, cri-o, cgroupfs": Sample(
        "cri-o internal/config/cgmgr/cgroupfs_linux.go", v2(f"/kubepods/pod{POD}/crio-{ID}"),
        Place(pod_uid=POD, container=ID, runtime="cri-o"),
    ),
    "kubernetes, docker": Sample(
        "cri-dockerd with systemd", v2(f"{KUBE}{POD_}.slice/docker-{ID}.scope"),
        unit(f"docker-{ID}.scope", pod_uid=POD, container=ID, runtime="docker"),
    ),
    "kubernetes, names for systemd as paths": Sample(
        "opentelemetry-java-contrib, containerd without SystemdCgroup",
        f"11:devices:/system.slice/containerd.service/kubepods-pod{POD_}.slice:cri-containerd:{ID}\n",
        Place(pod_uid=POD, container=ID, runtime="containerd"),
    ),
    "kubernetes, the same at the root": Sample(
        "spire pkg/agent/plugin/workloadattestor/k8s",
        v2(f"/kubepods-besteffort-pod{POD_}.slice:cri-containerd:{ID}"),
        Place(pod_uid=POD, container=ID, runtime="containerd"),
    ),
    "kubernetes, nested": Sample(
        "kubeadm with --cgroup-root=/kubelet",
        v2(f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{POD_}.slice/crio-{ID}.scope"),
        unit(f"crio-{ID}.scope", pod_uid=POD, container=ID, runtime="cri-o"),
    ),
    "kubernetes, seen from a container of its own cgroup namespace": Sample(
        "cgroup_namespaces(7)", v2(f"/../../kubepods-besteffort-pod{POD_}.slice/cri-containerd-{ID}.scope"),
        unit(f"cri-containerd-{ID}.scope", pod_uid=POD, container=ID, runtime="containerd"),
    ),
    "kubernetes, the container beside": Sample(
        "cgroup_namespaces(7)", v2(f"/../cri-containerd-{ID}.scope"),
        unit(f"cri-containerd-{ID}.scope", container=ID, runtime="containerd"),
    ),
    "docker in a pod": Sample(
        "docker:dind", v2(f"{KUBE}{POD_}.slice/cri-containerd-{ID}.scope/docker/{OTHER}"),
        unit(f"cri-containerd-{ID}.scope", pod_uid=POD, container=ID, runtime="containerd"),
    ),
    "slurm in a pod": Sample(
        "SlinkyProject/slurm-operator: a slurmd in each pod",
        v2(f"{KUBE}{POD_}.slice/cri-containerd-{ID}.scope/system.slice/slurmstepd.scope/job_7/step_0/user/task_0"),
        unit(f"cri-containerd-{ID}.scope", pod_uid=POD, container=ID, runtime="containerd",
             slurm_job="7", slurm_step="0"),
    ),
    "slurm, v2": Sample(
        "a test of NordicHPC/sonar: a node of the cluster Fox, 2025",
        v2("/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0"),
        unit("slurmstepd.scope", slurm_job="1392969", slurm_step="0"),
    ),
    "slurm, v2, several slurmd": Sample(
        "slurm src/plugins/cgroup/v2: node name",
        v2("/system.slice/gpu-1_slurmstepd.scope/job_42/step_batch/user/task_special"),
        unit("gpu-1_slurmstepd.scope", slurm_job="42", slurm_step="batch", slurm_node="gpu-1"),
    ),
    "slurm, v2, ssh": Sample(
        "pam_slurm_adopt", v2("/system.slice/slurmstepd.scope/job_42/step_extern/user/task_special"),
        unit("slurmstepd.scope", slurm_job="42", slurm_step="extern"),
    ),
    "slurm, v2, no job": Sample(
        "slurm src/plugins/cgroup/v2", v2("/system.slice/slurmstepd.scope/system"),
        unit("slurmstepd.scope"),
    ),
    "slurm, v1": Sample(
        "a test of NordicHPC/sonar", "10:devices:/slurm/uid_2101171/job_280678/step_interactive/task_0\n",
        Place(slurm_job="280678", slurm_step="interactive", slurm_uid=2101171),
    ),
    "slurm, v1, the freezer alone": Sample(
        "Debian's Slurm 22.05 with proctrack/cgroup, run",
        "9:name=systemd:/\n6:freezer:/slurm_vm/uid_0/job_2/step_batch\n5:devices:/\n0::/\n",
        Place(slurm_job="2", slurm_step="batch", slurm_uid=0, slurm_node="vm"),
    ),
    "slurm, v1, a slurmd that systemd started": Sample(
        "Slurm 22.05", "6:freezer:/slurm/uid_1/job_3/step_0\n1:name=systemd:/system.slice/slurmd.service\n",
        Place(slurm_job="3", slurm_step="0", slurm_uid=1, unit="slurmd.service"),
    ),
    "docker in a job": Sample(
        "docker --cgroup-parent", v2(f"/system.slice/slurmstepd.scope/job_5/step_0/user/{ID}"),
        unit("slurmstepd.scope", slurm_job="5", slurm_step="0"),
    ),
    "a service": Sample(
        "systemd", v2("/system.slice/ollama.service"), unit("ollama.service"),
    ),
    "a service with cgroups of its own": Sample(
        "systemd Delegate=", v2("/system.slice/jupyterhub.service/payload"), unit("jupyterhub.service"),
    ),
    "an instance of a template": Sample(
        "systemd", v2("/system.slice/system-worker.slice/worker@0.service"), unit("worker@0.service"),
    ),
    "a login": Sample(
        "systemd-logind", v2("/user.slice/user-1000.slice/session-3.scope"),
        unit("session-3.scope", login=1000),
    ),
    "root's login": Sample(
        "systemd-logind", v2("/user.slice/user-0.slice/session-1.scope"),
        unit("session-1.scope", login=0),
    ),
    "a login, v1": Sample(
        "systemd on RHEL 7",
        "4:pids:/user.slice/user-1000.slice\n2:cpu:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n",
        unit("session-3.scope", login=1000),
    ),
    "a user's unit": Sample(
        "systemd --user", v2(f"{USER}/app.slice/jupyter.service"),
        unit("user@1000.service", login=1000),
    ),
    "apptainer": Sample(
        "apptainer internal/pkg/cgroups", v2(f"{USER}/user.slice/apptainer-123.scope"),
        unit("user@1000.service", login=1000),
    ),
    "lxc 4": Sample(
        "lxc src/lxc/cgroups/cgfsng.c", v2("/lxc.payload.train-1/system.slice/x.service"),
        Place(container="train-1", runtime="lxc"),
    ),
    "lxc's monitor": Sample("lxc src/lxc/cgroups/cgfsng.c", v2("/lxc.monitor.train-1"), NOWHERE),
    "proxmox": Sample(
        "Proxmox VE: pct", v2("/lxc/101/ns/init.scope"), Place(container="101", runtime="lxc"),
    ),
    "nspawn": Sample(
        "systemd-nspawn: machine-NAME.scope", v2(r"/machine.slice/machine-my\x2dbox.scope/payload/init.scope"),
        unit(r"machine-my\x2dbox.scope", container="my-box", runtime="machine"),
    ),
    "nspawn, a service": Sample(
        "systemd-nspawn@.service", v2(r"/machine.slice/systemd-nspawn@my\x2dbox.service/payload"),
        unit(r"systemd-nspawn@my\x2dbox.service", container="my-box", runtime="machine"),
    ),
    "libvirt": Sample(
        "libvirt docs/cgroups.rst", v2(r"/machine.slice/machine-qemu\x2d1\x2dvm1.scope/libvirt/emulator"),
        unit(r"machine-qemu\x2d1\x2dvm1.scope", container="qemu-1-vm1", runtime="machine"),
    ),
    "libvirt without systemd": Sample(
        "libvirt docs/cgroups.rst", v2("/machine/qemu-1-vm1.libvirt-qemu/emulator"),
        Place(container="qemu-1-vm1", runtime="machine"),
    ),
    "nomad": Sample(
        "nomad e2e: /sys/fs/cgroup/nomad.slice/share.slice/<allocid>.sleep.scope",
        v2(f"/nomad.slice/share.slice/{ALLOCATION}.train.scope"),
        unit(f"{ALLOCATION}.train.scope", container=f"train-{ALLOCATION}", runtime="nomad"),
    ),
    "pbs, v1": Sample(
        "a kernel's oom-kill line: oom_memcg=/pbs_jobs.service/jobid/2404743.opbs",
        "4:memory:/pbs_jobs.service/jobid/2404743.opbs\n", Place(batch="pbs", batch_job="2404743.opbs"),
    ),
    "pbs, v2": Sample(
        "a PBS exporter's table of paths", v2("/pbs_jobs.service/jobs/12345[7].pbs"),
        unit("pbs_jobs.service", batch="pbs", batch_job="12345[7].pbs"),
    ),
    "pbs pro 18": Sample(
        "Bright Cluster Manager: pbspro.slice/pbspro-$ESCAPE_JOBID.slice",
        "4:memory:/pbspro.slice/pbspro-123.my\\x2dserver.slice\n",
        Place(batch="pbs", batch_job="123.my-server"),
    ),
    "lsf": Sample(
        "IBM Spectrum LSF, process tracking through cgroups",
        "4:memory:/lsf/cluster1/job.204.17622.1449084434\n", Place(batch="lsf", batch_job="204"),
    ),
    "the root": Sample("no systemd", "9:name=systemd:/\n4:memory:/process_api/f052170f4d352505\n0::/\n", NOWHERE),
    "a zombie whose cgroup is gone": Sample(
        "cgroups(7)", v2(f"/docker/{ID} (deleted)"), Place(container=ID, runtime="docker"),
    ),
}  # fmt: skip

#: Made by who may make cgroups, to pass for somebody else.
FORGED = {
    "a pod in a user's manager": f"{USER}/kubepods/pod{POD}/{ID}",
    "a job in a user's manager": f"{USER}/slurmstepd.scope/job_1/step_0",
    "a job in a user's container": f"{USER}/user.slice/libpod-{ID}.scope/slurm/uid_0/job_1",
    "a batch job in a user's manager": f"{USER}/pbs_jobs.service/jobs/1.x",
    "a pod in a container": f"/docker/{OTHER}/kubepods/pod{POD}/{ID}",
    "a job in a container": f"/docker/{OTHER}/slurmstepd.scope/job_1",
    "a pod in a job": f"/system.slice/slurmstepd.scope/job_5/step_0/user/task_0/kubepods/pod{POD}/{ID}",
    "another user in a user's manager": f"{USER}/user.slice/user-0.slice/session-1.scope",
    "a unit in a container": f"/docker/{OTHER}/system.slice/sshd.service",
}
