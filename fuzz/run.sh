#!/bin/sh
# Runs fuzz targets, each for so many seconds, with the Rust that builds the program: `fuzz/run.sh 600 patch series`, or all.
# The seeds stay as they are; what is found goes to fuzz/corpus and fuzz/artifacts. With a nightly Rust and cargo-fuzz,
# `cargo fuzz run patch fuzz/corpus/patch fuzz/seeds/patch` does the same, with an address sanitizer.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, but for the sanitizer.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --release --target "$host" --bins
for name; do
    mkdir -p "corpus/$name" "artifacts/$name"
    "target/$host/release/$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="artifacts/$name/" "corpus/$name" "seeds/$name"
done
