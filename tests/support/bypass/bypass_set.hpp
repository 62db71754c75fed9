// SPDX-License-Identifier: Apache-2.0
// The ways around a guard that are known, for every place where one is to hold: what each executes,
// and the policy that forbids it.
#pragma once

#include <string>

namespace berth::testing::bypass {

/// `id` stands for a dangerous tool. The probe is allowed, so that what it starts is what is
/// judged.
inline constexpr const char* kPolicy = R"(version: 1
default: allow
rules:
  - id: probe
    action: allow
    match: {executable: ["/workspace/probe", "/workspace/probe.sh"]}
  - id: held
    action: ask
    match: {executable: ["/workspace/deploy*"]}
  - id: no-id
    action: deny
    reason: nobody asks who they are
    match: {executable: [id]}
  - id: foreign
    action: deny
    reason: not of the system
    match: {executable: ["/workspace/**", "/tmp/**", "/home/**", "/dev/**"]}
)";

/// A program for i386 that says who it is and exits with 7: 32-bit code in a hand-made ELF file.
inline std::string program32() {
    const unsigned char code[] = {0xb8, 4,    0,    0,    0, 0xbb, 1, 0, 0,    0,    0xb9, 0x00,
                                  0x81, 0x04, 0x08, 0xba, 8, 0,    0, 0, 0xcd, 0x80, 0xb8, 1,
                                  0,    0,    0,    0xbb, 7, 0,    0, 0, 0xcd, 0x80};
    const unsigned char head[] = {
        0x7f, 'E', 'L',  'F',  1,    1,    1,    0,  0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3,    0,    1,
        0,    0,   0,    0x54, 0x80, 0x04, 0x08, 52, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    52,   0,
        32,   0,   1,    0,    0,    0,    0,    0,  0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,    0x80, 0x04,
        0x08, 0,   0x80, 0x04, 0x08, 0,    2,    0,  0, 0, 2, 0, 0, 5, 0, 0, 0, 0, 0x10, 0,    0};
    std::string file(reinterpret_cast<const char*>(head), sizeof head);
    file.append(reinterpret_cast<const char*>(code), sizeof code);
    file.resize(0x100, '\0');
    file += "uid=32b\n";
    file.resize(0x200, '\0');
    return file;
}

struct Form {
    const char* name;
    const char* script;
};

/// Every script would print "uid=" where its form worked.
inline constexpr Form kForms[] = {
    {"plain name", "id"},
    {"absolute path", "/usr/bin/id"},
    {"renamed copy, a byte appended", "cp /usr/bin/id x; echo >> x; ./x"},
    {"symlink", "ln -s /usr/bin/id ls; ./ls"},
    {"hard link", "cp /usr/bin/id a; ln a b; ./b"},
    {"exec -a", "bash -c 'exec -a ls /usr/bin/id'"},
    {"env -i", "env -i /usr/bin/id"},
    {"ld.so program", "/lib64/ld-linux-x86-64.so.2 /usr/bin/id"},
    {"copy of ld.so", "cp /lib64/ld-linux-x86-64.so.2 probe.sh; ./probe.sh /usr/bin/id"},
    {"memfd and fexecve", "./probe memfd"},
    {"/proc/self/exe", "./probe self"},
    {"busybox applet", "busybox id"},
    {"python3 -c", "python3 -c 'import os; os.execv(\"/usr/bin/id\", [\"ls\"])'"},
    {"python3 subprocess", "python3 -c 'import subprocess; subprocess.run([\"/usr/bin/id\"])'"},
    {"perl -e", "perl -e 'exec {\"/usr/bin/id\"} \"ls\"'"},
    {"sh -c with &&", "sh -c 'true && id'"},
    {"own PATH", "mkdir p; cp /usr/bin/id p/ls; PATH=/workspace/p ls"},
    {"removed while it runs", "cp /usr/bin/id x; (exec 9<x; rm x; /proc/self/fd/9)"},
    {"statically linked copy", "cp probe y; ./y exec"},
    {"32-bit program", "./p32"},
    {"exec from a thread", "./probe thread"},
    {"vfork", "./probe vfork"},
    {"CLONE_UNTRACED, x86-64", "./probe untraced-x86-64"},
    {"CLONE_UNTRACED, i386", "./probe untraced-i386"},
    {"CLONE_UNTRACED, x32", "./probe untraced-x32"},
    {"clone3 with CLONE_UNTRACED", "./probe clone3"},
    {"script, changed shebang",
     "printf '#!/usr/bin/id\\n' > probe.sh; chmod +x probe.sh; ./probe.sh"},
    {"denied, and rewritten meanwhile", "cp probe victim; ./probe rewrite ./victim"},
    {"denied under a filter of its own", "./probe mute /usr/bin/id"},
    {"asked under a filter of its own", "cp probe deploy; ./probe notified ./deploy"},
    {"background", "id & wait"},
    {"orphan", "(setsid sh -c 'sleep 0.1; id' & ); sleep 0.4"},
    {"mounts of its own",
     "unshare -rm true 2>/dev/null || { echo 'refused: no namespaces'; exit; };"
     "unshare -rm sh -c 'mount --bind /usr/bin/id /usr/bin/true; /usr/bin/true'"},
    {"mounts of another process",
     "unshare -rm true 2>/dev/null || { echo 'refused: no namespaces'; exit; }; mkfifo made;"
     "unshare -rm sh -c 'mount --bind /usr/bin/id /usr/bin/true; echo $$ > made; exec sleep 60' &"
     "read pid < made; /proc/$pid/root/usr/bin/true; code=$?; kill $pid; exit $code"},
    // Ways to tell an interpreter its script.
    {"bash - script", "echo 'echo uid=' > evil.sh; bash - evil.sh"},
    {"sh -x - script", "echo 'echo uid=' > evil.sh; sh -x - evil.sh"},
    {"bash +, a lone sign", "echo 'echo uid=' > evil.sh; bash + evil.sh"},
    {"dash +s script", "echo 'echo uid=' > evil.sh; dash +s evil.sh"},
    {"bash -oe errexit script", "echo 'echo uid=' > evil.sh; bash -oe errexit evil.sh"},
    {"bash -norc script", "echo 'echo uid=' > evil.sh; bash -norc evil.sh"},
    {"bash --init-file script", "echo 'echo uid=' > evil.sh; bash --init-file evil.sh -ic true"},
    {"bash, script in PATH",
     "echo 'echo uid=' > evil.sh; mkdir p; mv evil.sh p; cd /tmp; PATH=/workspace/p:$PATH bash "
     "evil.sh"},
    {"busybox busybox sh script", "echo 'echo uid=' > evil.sh; busybox busybox sh evil.sh"},
    {"busybox busybox /x/sh script", "echo 'echo uid=' > evil.sh; busybox busybox /x/sh evil.sh"},
    {"busybox sh, /proc/PID/cwd", "echo 'echo uid=' > evil.sh; busybox sh /proc/$$/cwd/evil.sh"},
    {"bash //proc/self/cwd", "echo 'echo uid=' > evil.sh; bash //proc/self/cwd/evil.sh"},
    {"bash /proc/./self/cwd", "echo 'echo uid=' > evil.sh; bash /proc/./self/cwd/evil.sh"},
    {"bash /proc/thread-self/cwd",
     "echo 'echo uid=' > evil.sh; bash /proc/thread-self/cwd/evil.sh"},
    {"bash, a link to /proc/self/cwd",
     "echo 'echo uid=' > evil.sh; ln -s /proc/self/cwd l; bash l/evil.sh"},
    {"bash //dev/fd", "echo 'echo uid=' > evil.sh; exec 5<evil.sh; bash //dev/fd/5"},
    {"bash /dev//fd", "echo 'echo uid=' > evil.sh; exec 5<evil.sh; bash /dev//fd/5"},
    {"bash /dev/stdin", "echo 'echo uid=' > evil.sh; bash /dev/stdin < evil.sh"},
    {"sh /proc/self/environ", "env -i \"X=$(printf '\\necho uid=\\n:')\" sh /proc/self/environ"},
    {"script, a script its interpreter",
     "printf '#!/bin/sh\\necho uid=\\n' > evil.sh; chmod +x evil.sh; ln -s evil.sh l;"
     "printf '#!/workspace/l\\n' > probe.sh; chmod +x probe.sh; ./probe.sh"},
    {"awk -f glued", "printf 'BEGIN { print \"uid=\" }' > evil.awk; awk -fevil.awk"},
    {"perl -S",
     "mkdir p; printf 'print \"uid=\\\\n\"' > p/evil.pl; chmod +x p/evil.pl; "
     "PATH=/workspace/p:$PATH perl -S evil.pl"},
    {"python3 /proc/self/./cwd",
     "echo 'print(\"uid=\")' > evil.py; python3 /proc/self/./cwd/evil.py"},
    {"python3, a folder", "mkdir d; echo 'print(\"uid=\")' > d/__main__.py; python3 d/"},
    {"mounts of its own, over a script",
     "unshare -rm true 2>/dev/null || { echo 'refused: no namespaces'; exit; };"
     "echo 'echo uid=' > evil.sh; echo > probe.sh;"
     "unshare -rm sh -c 'mount --bind evil.sh probe.sh; bash probe.sh'"},
};

/// What is tried on a command that waits for a decision, which is a yes.
struct HeldForm {
    const char* name;
    const char* command;  ///< is held
    const char* tried;    ///< meanwhile; $p is its process
};

/// "OPEN" or "uid=" is printed where it worked.
inline constexpr HeldForm kHeldForms[] = {
    {"held: /proc/PID/mem", "./deploy", "./probe attack $p | grep ^mem"},
    {"held: process_vm_writev", "./deploy", "./probe attack $p | grep ^writev"},
    {"held: ptrace", "./deploy", "./probe attack $p | grep ^ptrace"},
    {"held: pidfd_getfd", "./deploy", "./probe attack $p | grep ^getfd"},
    {"held: its file replaced", "./deploy", "cp /usr/bin/id x; mv x deploy"},
    {"held: its file removed", "./deploy", "rm deploy"},
    {"held: its script written to", "./deploy.sh", "echo 'echo uid=' >> deploy.sh"},
    {"held: its script replaced",
     "./deploy.sh",
     "printf '#!/bin/sh\necho uid=\n' > x; chmod 755 x; mv x deploy.sh"},
};

/// The whole of a form's script; it goes on from being held once the file `go` is there, and says
/// "tried" when it waits for the decision alone.
inline std::string script_of(const HeldForm& form, const std::string& go) {
    return "cp probe deploy; printf '#!/bin/sh\necho deployed\n' > deploy.sh; chmod 755 "
           "deploy.sh;" +
           std::string(form.command) + " & p=$!; until test -e " + go + "; do sleep 0.01; done; " +
           form.tried + "; echo tried; wait $p";
}

}  // namespace berth::testing::bypass
