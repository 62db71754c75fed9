// SPDX-License-Identifier: Apache-2.0
// The filter as classic BPF, one table per numbering of system calls.
#include "node_agent/init_filter.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "node_agent/init_run.hpp"

namespace berth::node::init {
namespace {

constexpr std::uint32_t kUntraced = 0x00800000;  // CLONE_UNTRACED
constexpr std::uint32_t kX32Bit = 0x40000000;
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kNotPermitted = SECCOMP_RET_ERRNO | EPERM;
constexpr std::uint32_t kNoSuchCall = SECCOMP_RET_ERRNO | ENOSYS;

constexpr std::uint32_t kClone3 = 435;  // everywhere alike
constexpr std::uint32_t kPidfdGetfd = 438;
/// x86-64 and, from 512 on, x32.
constexpr std::uint32_t kClone64 = 56;
constexpr std::uint32_t kForbidden64[] = {101, 310, 311, kPidfdGetfd, 521, 539, 540};
constexpr std::uint32_t kClone32 = 120;
constexpr std::uint32_t kForbidden32[] = {26, 347, 348, kPidfdGetfd};

struct Program {
    sock_filter code[64];
    unsigned short size = 0;

    void add(std::uint16_t op, std::uint32_t value, std::uint8_t yes = 0, std::uint8_t no = 0) {
        code[size++] = {op, yes, no, value};
    }
    void load(std::size_t offset) {
        add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
    }
    void answer(std::uint32_t action) { add(BPF_RET | BPF_K, action); }
    void answer_if(std::uint32_t number, std::uint32_t action) {
        add(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
        answer(action);
    }
    template <std::size_t N>
    void table(std::uint32_t clone, const std::uint32_t (&forbidden)[N]) {
        answer_if(kClone3, kNoSuchCall);
        for (const std::uint32_t number : forbidden) answer_if(number, kNotPermitted);
        add(BPF_JMP | BPF_JEQ | BPF_K, clone, 1, 0);
        answer(kAllow);
        load(offsetof(seccomp_data, args));  // the low half: clone's flags have 32 bits
        add(BPF_JMP | BPF_JSET | BPF_K, kUntraced, 0, 1);
        answer(kNotPermitted);
        answer(kAllow);
    }
};

}  // namespace

void install_filter() {
    Program program;
    program.load(offsetof(seccomp_data, arch));
    const unsigned short narrow = program.size;
    program.add(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 0, 0);
    program.load(offsetof(seccomp_data, nr));
    program.table(kClone32, kForbidden32);
    program.code[narrow].jf = static_cast<std::uint8_t>(program.size - narrow - 1);
    program.add(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    program.answer(SECCOMP_RET_KILL_PROCESS);
    program.load(offsetof(seccomp_data, nr));
    program.add(BPF_ALU | BPF_AND | BPF_K, ~kX32Bit);
    program.table(kClone64, kForbidden64);
    const sock_fprog filter{program.size, program.code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0)
        die("the command cannot be fenced");
}

}  // namespace berth::node::init
