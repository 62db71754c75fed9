// SPDX-License-Identifier: Apache-2.0
// A shim that no guard listens to, for the tests of hardened images: libc-free code is not what is
// tested there.
#include <unistd.h>

#include <cstring>

int main() {
    constexpr char kWords[] = "berth: no guard listens here\n";
    (void)!::write(2, kWords, std::strlen(kWords));
    return 126;
}
