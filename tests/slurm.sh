#!/usr/bin/env bash
# Runs examples/slurm on a Slurm of its own, on loopback: an array of four tasks over 60 documents, one of which is killed
# in the middle and requeued. Merged, the shards must be what a single run writes, but for the times.
#
#   apt-get install slurm-wlm munge
#   cargo build --release
#   tests/slurm.sh
set -euo pipefail
cd "$(dirname "$0")/.."

PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd sbatch scontrol python3; do
  if ! command -v "$program" >/dev/null; then
    echo "skipped: there is no $program (Debian: apt-get install slurm-wlm munge)"
    exit 0
  fi
done

root=$PWD
room=$(mktemp -d)
end() {
  for pid in "$room"/*.pid; do
    [ ! -s "$pid" ] || kill "$(cat "$pid")" 2>/dev/null || true
  done
  sleep 1
  rm -rf "$room"
}
trap end EXIT
fail() {
  echo "failed: $*"
  tail -n 20 "$room"/*.log "$room"/out/*.log 2>/dev/null || true
  exit 1
}
# Waits until a command succeeds, for so many seconds.
wait_until() {
  local seconds=$1 deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || fail "waited $seconds s for: $*"
    sleep 0.05
  done
}

# A Slurm of one node with two processors, whatever the machine has, and with no credentials but its own.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}
host=$(hostname -s)
chmod 755 "$room"
mkdir "$room"/{in,out,state,spool}
head -c 128 /dev/urandom >"$room/munge.key"
chmod 400 "$room/munge.key"
munged --force --key-file="$room/munge.key" --socket="$room/munge.socket" --pid-file="$room/munge.pid" \
  --log-file="$room/munge.log" --seed-file="$room/munge.seed"
cat >"$room/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
# A task that is requeued starts again as soon as its old credential has expired.
AuthInfo=socket=$room/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$room/state
SlurmdSpoolDir=$room/spool
SlurmctldPidFile=$room/slurmctld.pid
SlurmdPidFile=$room/slurmd.pid
SlurmctldLogFile=$room/slurmctld.log
SlurmdLogFile=$room/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000
PartitionName=all Nodes=ALL Default=YES State=UP
END
export SLURM_CONF=$room/slurm.conf
slurmctld || fail 'slurmctld does not start'
slurmd || fail 'slurmd does not start'
is_idle() { [ "$(sinfo -h -o %t 2>/dev/null)" = idle ]; }
wait_until 30 is_idle

# Sixty documents with the same three pages each, and bytes of their own.
for number in $(seq 60); do
  { cat examples/pages/receipts.pdf && echo "% $number"; } >"$room/in/$number.pdf"
done
programs=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)
export PATH=$programs:$PATH OMNIDOCS_MODEL=$root/examples/reader
omnidocs extract "$room/in" -o "$room/one.jsonl" --quiet

cd "$room/out"
job=$(sbatch --parsable --array=10-40:10 --gres=none --mem=100 --cpus-per-task=1 --chdir="$room/out" \
  --output="$room/out/%a.log" "$root/examples/slurm/extract.sbatch" "$room/in" "$room/out")
victim=shard-1-of-4.jsonl
has_begun() { [ -s "$victim" ] && [ "$(wc -l <"$victim")" -ge 3 ]; }
wait_until 60 has_begun
# As a machine that runs out of memory would.
kill -KILL "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["run"]["pid"])' "$victim.meta.json")"
echo "killed a task with $(wc -l <"$victim") of its pages done"
has_ended() { [ -z "$(squeue -h)" ]; }
wait_until 120 has_ended
if omnidocs merge shard-*.jsonl -o all.jsonl; then
  fail 'a shard that was cut off was not missed'
fi
scontrol requeue "${job}_10"
wait_until 120 has_ended
grep -hE '^([0-9TZ:-]+ )?shard ' -- *.log
omnidocs merge shard-*.jsonl -o all.jsonl --force

python3 - "$room/one.jsonl" all.jsonl <<'END'
import json, sys

def records(path):
    records = [json.loads(line) for line in open(path)]
    for record in records:
        del record["timings_ms"]
        record["warnings"] = [warning for warning in record["warnings"] if warning != "slow_page"]
    return sorted(records, key=lambda record: (record["path"], record["page"]))

one, merged = map(records, sys.argv[1:])
if one != merged:
    sys.exit("failed: the merged shards are not what one run writes")
print(f"{len(merged)} pages of four tasks are what one run writes")
END
