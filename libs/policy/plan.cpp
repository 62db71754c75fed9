// SPDX-License-Identifier: Apache-2.0
// The canonical form of a plan and its digest.
#include "policy/plan.hpp"

#include "core/text.hpp"
#include "identity/sha256.hpp"

namespace berth::policy {
namespace {

void field(std::string& out, std::string_view bytes) {
    out += std::to_string(bytes.size());
    out += ':';
    out += bytes;
    out += '\n';
}

void field(std::string& out, const File& file) {
    field(out, file.path);
    field(out, std::to_string(file.device));
    field(out, std::to_string(file.inode));
    field(out, file.sha256);
}

}  // namespace

std::string canonical(const Plan& plan) {
    std::string out = "berth-plan-1\n";
    field(out, plan.executable);
    field(out, std::to_string(plan.argv.size()));
    for (const auto& argument : plan.argv) field(out, argument);
    field(out, plan.cwd);
    field(out, std::to_string(plan.env.size()));
    for (const auto& change : plan.env) {
        field(out, change.name);
        field(out, change.removed ? "-" : "+");
        field(out, change.value);
    }
    field(out, plan.script);
    return out;
}

std::string digest(const Plan& plan) { return "sha256:" + hex(identity::sha256(canonical(plan))); }

}  // namespace berth::policy
