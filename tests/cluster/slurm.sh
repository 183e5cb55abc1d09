#!/usr/bin/env bash
# A Slurm of one machine on the loopback interface, as Debian packages it (apt-get install slurm-wlm munge); as root.
#   slurm.sh start DIR   with all its files in DIR; then SLURM_CONF=DIR/slurm.conf sbatch .. | squeue | scontrol ..
#                        and DIR/bin/sacct, which says what accounting would: submitit asks it for jobs that were killed
#   slurm.sh stop DIR    ends the daemons that it started
# Exit code 77 where it cannot, with the reason on stdout.
set -euo pipefail
what=$1 dir=$(realpath -m "$2") host=$(hostname -s)

if [ "$what" = stop ]; then
  for name in slurmd slurmctld munged; do
    [ ! -s "$dir/$name.pid" ] || kill "$(cat "$dir/$name.pid")" 2>/dev/null || true
  done
  exit 0
fi

skip() { echo "$*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "only root can start Slurm's daemons"
for name in munged slurmctld slurmd sbatch; do
  command -v $name >/dev/null || skip "no $name: apt-get install -y slurm-wlm munge"
done
mkdir -p "$dir"/{state,spool,bin}
dd if=/dev/urandom of="$dir/munge.key" bs=128 count=1 status=none
chmod 600 "$dir/munge.key"
munged --force --socket="$dir/munge.sock" --key-file="$dir/munge.key" --pid-file="$dir/munged.pid" \
  --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" 2>"$dir/munged.err" || skip "munged: $(tail -1 "$dir/munged.err")"
cat >"$dir/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
AuthInfo=socket=$dir/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
KillWait=10
OverTimeLimit=0
JobRequeue=1
MinJobAge=7200
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=32000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
printf '%s\n' '#!/bin/sh' 'echo "JobID|State|NodeList"' 'exec squeue -h -r -t all -o "%i|%T|%N"' >"$dir/bin/sacct"
chmod +x "$dir/bin/sacct"
export SLURM_CONF="$dir/slurm.conf"
slurmctld 2>"$dir/slurmctld.err" || skip "slurmctld: $(tail -1 "$dir/slurmctld.err")"
slurmd 2>"$dir/slurmd.err" || skip "slurmd: $(tail -1 "$dir/slurmd.err")"
for _ in $(seq 60); do
  if [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; then exit 0; fi
  sleep 1
done
skip "slurmd does not come up: $(tail -1 "$dir/slurmd.log")"
