#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The core decides everything, so it must run in a simulation: no threads, clocks, files, sockets or entropy of its own.
# Usage: core_is_pure.sh ARCHIVE...; fails and names the symbols that an archive wants from outside and must not.
set -eu

# What the core may never call. Names as `nm -C --undefined-only` prints them.
forbidden='^(pthread_|sem_|clock_|gettimeofday|time$|timer_|timerfd_|nanosleep|usleep|sleep$'
forbidden="$forbidden"'|open$|open64|openat|creat$|read$|pread|readv|write$|pwrite|writev|close$|fopen|fread|fwrite$|mmap|munmap|ftruncate'
forbidden="$forbidden"'|socket|connect$|bind$|listen$|accept|send$|sendto|sendmsg|sendfile|recv|epoll_|eventfd|poll$|ppoll|select$'
forbidden="$forbidden"'|fork$|exec|getrandom|getentropy|rand$|random$|srand|drand48|arc4random|getenv'
forbidden="$forbidden"'|std::random_device|std::thread|std::this_thread|std::chrono::.*clock::now|std::condition_variable|std::mutex|std::_V2::'
forbidden="$forbidden"'|std::filesystem|std::basic_.*fstream|std::__basic_file)'

failed=0
for archive in "$@"; do
  [ -f "$archive" ] || { echo "$archive: no such archive"; exit 1; }
  # CHECK writes its last words with fprintf(stderr) and aborts; nothing else of stdio is used.
  symbols=$(nm -C --undefined-only "$archive" | awk '$1 == "U" { $1 = ""; sub(/^ /, ""); sub(/@.*/, ""); print }' |
    sort -u)
  if bad=$(printf '%s\n' "$symbols" | grep -E "$forbidden"); then
    echo "$(basename "$archive") is not pure:"
    printf '%s\n' "$bad" | sed 's/^/  /'
    failed=1
  fi
done
exit $failed
