#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fuzz each target for some seconds, from the corpus in the tree and from what
# earlier runs have found.
#
# usage: run.sh BUILD SECONDS
set -euo pipefail

build=$1
seconds=$2
corpus=$(cd "$(dirname "$0")/corpus" && pwd)
status=0

export G_SLICE=always-malloc
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=8:allocator_release_to_os_interval_ms=-1
export UBSAN_OPTIONS=print_stacktrace=1

for target in open ops swtpm; do
    program=$build/tests/fuzz/fuzz-$target
    found=$build/found/$target
    mkdir -p "$found"
    case $target in
    open | swtpm) max_bytes=4096 ;;
    ops) max_bytes=96 ;;
    esac
    echo "$target: $seconds seconds; the log is $build/$target.log"
    if "$program" -max_total_time="$seconds" -max_len=$max_bytes -timeout=20 -rss_limit_mb=1024 \
           -print_final_stats=1 -artifact_prefix="$build/finding-$target-" \
           "$found" "$corpus/$target" > "$build/$target.log" 2>&1; then
        grep -E '^Done|DONE|average_exec|new_units' "$build/$target.log"
    else
        status=1
        grep -vE '^#[0-9]+' "$build/$target.log" | tail -n 60
        input=$(sed -n 's/.*Test unit written to //p' "$build/$target.log")
        echo "$target: a finding; again with: $program ${input:-(no input was written)}"
    fi
done
exit $status
