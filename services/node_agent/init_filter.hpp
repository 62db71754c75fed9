// SPDX-License-Identifier: Apache-2.0
// What a guarded command must not ask of the kernel: the calls by which a process leaves its
// tracer's sight or reaches into a held one. libc only.
#pragma once

namespace berth::node::init {

/// For this process and all it will start; for good. Answers EPERM to clone(2) with CLONE_UNTRACED,
/// ptrace, process_vm_readv, process_vm_writev and pidfd_getfd, and ENOSYS to clone3 (its flags
/// are in memory, where a filter cannot look; libc then uses clone), by x86-64, i386 and x32
/// numbers. Exits where the kernel refuses.
void install_filter();

}  // namespace berth::node::init
