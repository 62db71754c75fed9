// SPDX-License-Identifier: Apache-2.0
// prctl(2) and set*id(2) behind privileges.hpp.
#include "process/privileges.hpp"

#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>

namespace berth::process {

Result<void> set_death_signal(int signal, pid_t expected_parent) {
    if (::prctl(PR_SET_PDEATHSIG, signal) != 0)
        return system_error("cannot set the death signal", errno);
    // The parent may have died between fork and prctl; no signal comes then.
    if (::getppid() != expected_parent) return conflict("orphan", "the parent process is gone");
    return {};
}

Result<void> become_subreaper() {
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return system_error("cannot become a subreaper", errno);
    return {};
}

Result<void> drop_privileges(uid_t uid, gid_t gid) {
    if (uid == 0 || gid == 0)
        return invalid("no_privilege", "dropping privileges to root drops nothing");
    // As root the order matters: without CAP_SETGID the groups could not be changed any more.
    if (::getuid() == 0 || ::geteuid() == 0) {
        if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 ||
            ::setresuid(uid, uid, uid) != 0) {
            return forbidden("no_privilege", system_error("cannot drop privileges", errno).message);
        }
    }
    if (::getuid() != uid || ::geteuid() != uid || ::getgid() != gid || ::getegid() != gid) {
        return forbidden(
            "no_privilege", "this process is another user than the one asked for, and is not root"
        );
    }
    if (::setuid(0) == 0)
        return forbidden("no_privilege", "root could be taken back; refusing to go on");
    return {};
}

Result<void> set_no_new_privileges() {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return system_error("cannot set no_new_privs", errno);
    return {};
}

}  // namespace berth::process
