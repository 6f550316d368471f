#!/usr/bin/env bash
# A Slurm of one node on this machine, on the loopback address: to try `launcher=submitit_slurm` without a cluster, and for its test.
#
#   scripts/one_node_slurm.sh start FOLDER   starts it; state and logs are in FOLDER; prints the line to type next
#   scripts/one_node_slurm.sh stop FOLDER    stops it
#
# Needs root and Debian's slurm-wlm and munge. Nothing outside FOLDER is written, and a Slurm that runs already is not touched: ports,
# key, socket and configuration are of this one alone.
set -euo pipefail

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -eq 2 ] || usage
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
conf=$folder/slurm.conf

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

stop() {
    local name pid
    for name in slurmd slurmctld munged; do
        [ -s "$folder/$name.pid" ] || continue
        pid=$(cat "$folder/$name.pid")
        # the number may have gone to another process since
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ] || continue
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}

start() {
    local program cpus memory
    for program in munged slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null || { echo "one_node_slurm: $program is not here. Run: apt-get install slurm-wlm munge" >&2; exit 3; }
    done
    [ "$(id -u)" -eq 0 ] || { echo "one_node_slurm: slurmd starts the jobs of others, so it needs root. Run it with: sudo" >&2; exit 3; }
    mkdir -p "$folder/munge" "$folder/state" "$folder/spool"
    chmod 700 "$folder/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
    cpus=$(nproc)
    memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.8)}' /proc/meminfo)
    cat >"$conf" <<CONF
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# no cgroups: a container may have none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
MinJobAge=300
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=one Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --num-threads=2
    export SLURM_CONF=$conf
    slurmctld -c -f "$conf" || true
    slurmd -c -f "$conf" || true
    for _ in $(seq 100); do
        case $(sinfo --noheader --format=%T 2>/dev/null || true) in idle*) echo "export SLURM_CONF=$conf"; return ;; esac
        sleep 0.2
    done
    echo "one_node_slurm: the node did not come up in 20 s. See $folder/slurmctld.log and $folder/slurmd.log:" >&2
    for log in "$folder"/slurm*.log; do tail -n 5 "$log" >&2; done
    stop
    exit 4
}

case $action in
    start) start ;;
    stop) stop ;;
    *) usage ;;
esac
