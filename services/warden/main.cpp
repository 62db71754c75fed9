// SPDX-License-Identifier: Apache-2.0
// berth-warden: policies, approvals, halts and the audit.
#include "warden/app.hpp"

int main(int argc, char** argv) {
    return berth::service::run(berth::warden::service(), argc, argv);
}
