#!/bin/sh
# What became of job $1: running, success or failed. SGE: qstat -j, then qacct -j; PBS: qstat -x.
if ! state=$(squeue --noheader --states=all --jobs="$1" --format=%T 2>&1); then
    case $state in
        *"Invalid job id"*) echo failed ;; # forgotten long ago
        *) echo running ;;                 # the controller does not answer just now
    esac
    exit
fi
case $state in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING | REQUEUED | RESIZING | SUSPENDED | STOPPED) echo running ;;
    *) echo failed ;;
esac
