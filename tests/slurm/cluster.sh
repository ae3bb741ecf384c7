#!/usr/bin/env bash
# A real Slurm of one node on 127.0.0.1, to try the cluster profiles on: Debian's packages, no accounting.
#
#   cluster.sh install      apt-get what is missing
#   cluster.sh check        say why it cannot run here
#   cluster.sh up DIR       start the daemons, wait for the node, print what a shell needs to use it
#   cluster.sh down DIR     end the jobs, then the daemons by their pid files; remove DIR
#
# All its files lie in DIR. Needs root. Where the machine has a Slurm of its own it does nothing.
set -euo pipefail

PROGRAMS=(munged slurmctld slurmd sbatch)
PACKAGES=(munge slurmctld slurmd slurm-client)

die() {
    echo "cluster.sh: $*" >&2
    exit 1
}

check_machine() {
    [ "$(id -u)" = 0 ] || die "Slurm's daemons need root"
    for own in /etc/slurm/slurm.conf /etc/slurm-llnl/slurm.conf; do
        [ ! -e "$own" ] || die "$own: this machine has a Slurm of its own"
    done
}

check_programs() {
    for program in "${PROGRAMS[@]}"; do
        command -v "$program" >/dev/null || die "no $program: tests/slurm/cluster.sh install (Debian, as root)"
    done
}

install_packages() {
    (check_programs) 2>/dev/null && return
    command -v apt-get >/dev/null || die "no apt-get: install ${PACKAGES[*]} by hand"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "${PACKAGES[@]}" >/dev/null
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

write_config() {
    install -d -m 755 "$dir" "$dir"/{bin,etc,log,run,spool,spool/ctld,spool/d} # munged refuses a writable parent
    install -d -m 700 "$dir/munge"
    (umask 077 && head -c 128 /dev/urandom >"$dir/munge/munge.key")
    cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.socket
CredType=cred/munge
StateSaveLocation=$dir/spool/ctld
SlurmdSpoolDir=$dir/spool/d
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
# No cgroups: time limits are enforced, memory limits are not.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
MinJobAge=3600
KillWait=5
ReturnToService=2
MpiDefault=none
# More than the machine may have: jobs overlap on two cores, and a gpu can be asked for.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=localhost CPUs=4 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES State=UP
PartitionName=gpu Nodes=localhost State=UP
CONF
    touch "$dir/run/gpu" # a gpu counts where its file is
    echo "NodeName=localhost Name=gpu File=$dir/run/gpu" >"$dir/etc/gres.conf"
    local version=v1
    [ ! -e /sys/fs/cgroup/cgroup.controllers ] || version=v2
    echo "CgroupPlugin=cgroup/$version" >"$dir/etc/cgroup.conf"
    # Snakemake drops SLURM_CONF from the environment of the srun in each job.
    printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$dir/bin/srun"
    chmod +x "$dir/bin/srun"
}

start() {
    [ ! -e "$dir/etc" ] || die "$dir: there is a cluster already; cluster.sh down $dir"
    write_config
    munged --force --key-file="$dir/munge/munge.key" --socket="$dir/run/munge.socket" \
        --pid-file="$dir/run/munged.pid" --log-file="$dir/log/munged.log" --seed-file="$dir/munge/munge.seed"
    slurmctld -f "$SLURM_CONF"
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --partition main --format %T 2>/dev/null)" = idle ]; then
            echo "export SLURM_CONF=$SLURM_CONF PATH=$dir/bin:\$PATH"
            return
        fi
        sleep 0.2
    done
    tail -n 20 "$dir"/log/*.log >&2
    die "the node did not become idle in 20 s"
}

until_not() { # COMMAND...: wait at most 20 s
    for _ in $(seq 100); do
        "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
}

has_jobs() {
    squeue --noheader --states=PENDING,RUNNING,COMPLETING | grep -q .
}

stop() {
    squeue --noheader --format=%i 2>/dev/null | xargs --no-run-if-empty scancel || true
    until_not has_jobs
    for daemon in slurmd slurmctld munged; do
        pid=$(cat "$dir/run/$daemon.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        until_not kill -0 "$pid"
    done
    rm -rf "$dir"
}

usage="usage: cluster.sh install | check | up DIR | down DIR"
if [ -n "${2:-}" ]; then
    dir=$(realpath -m "$2")
    export SLURM_CONF=$dir/etc/slurm.conf
fi
case "${1:-} ${dir:+DIR}" in
    "install ") check_machine && install_packages ;;
    "check ") check_machine && check_programs ;;
    "up DIR") check_machine && check_programs && start ;;
    "down DIR") [ ! -e "$SLURM_CONF" ] || stop ;;
    *) die "$usage" ;;
esac
