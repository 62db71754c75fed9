// SPDX-License-Identifier: Apache-2.0
// The functions behind the table of commands, each in the file of its subject.
#pragma once

#include <vector>

namespace berth::cli {

class Context;
struct Arguments;
struct Command;

// commands_guard.cpp: a part of the table of commands
std::vector<Command> guard_group();
// commands_policy.cpp: a part of the table of commands
std::vector<Command> policy_group();
// commands_events.cpp: a part of the table of commands
std::vector<Command> events_group();
// policy_commands.cpp, harden/harden_command.cpp
int run_policy(Context& context, const Arguments& arguments);
int run_harden(Context& context, const Arguments& arguments);

// up/*.cpp
int run_up(Context& context, const Arguments& arguments);
int run_down(Context& context, const Arguments& arguments);
int run_status(Context& context, const Arguments& arguments);
// run_command.cpp
int run_run(Context& context, const Arguments& arguments);
int run_attach(Context& context, const Arguments& arguments);
int run_warmup(Context& context, const Arguments& arguments);
int run_shell(Context& context, const Arguments& arguments);
int run_ssh(Context& context, const Arguments& arguments);
// results_command.cpp, history.cpp
int run_results(Context& context, const Arguments& arguments);
int run_history(Context& context, const Arguments& arguments);
// run_queries.cpp
int run_logs(Context& context, const Arguments& arguments);
int run_runs(Context& context, const Arguments& arguments);
int run_cancel(Context& context, const Arguments& arguments);
// lease_commands.cpp
int run_lease(Context& context, const Arguments& arguments);
int run_release(Context& context, const Arguments& arguments);
int run_leases(Context& context, const Arguments& arguments);
// sync_command.cpp
int run_sync(Context& context, const Arguments& arguments);
int run_rsync_transport(Context& context, const Arguments& arguments);
// events_commands.cpp, webhook_commands.cpp, chat_commands.cpp
int run_events(Context& context, const Arguments& arguments);
int run_webhooks(Context& context, const Arguments& arguments);
int run_chat(Context& context, const Arguments& arguments);
// account_commands.cpp
int run_whoami(Context& context, const Arguments& arguments);
int run_config(Context& context, const Arguments& arguments);
int run_version(Context& context, const Arguments& arguments);
int run_help(Context& context, const Arguments& arguments);
int run_docs(Context& context, const Arguments& arguments);
int run_man(Context& context, const Arguments& arguments);
// sign_in_commands.cpp, people_commands.cpp
int run_login(Context& context, const Arguments& arguments);
int run_logout(Context& context, const Arguments& arguments);
int run_users(Context& context, const Arguments& arguments);
int run_tokens(Context& context, const Arguments& arguments);
// pool_commands.cpp, share_commands.cpp
int run_profiles(Context& context, const Arguments& arguments);
int run_pool(Context& context, const Arguments& arguments);
int run_drain(Context& context, const Arguments& arguments);
int run_resume(Context& context, const Arguments& arguments);
int run_usage(Context& context, const Arguments& arguments);
int run_share(Context& context, const Arguments& arguments);
int run_unshare(Context& context, const Arguments& arguments);
// approval_commands.cpp, halt_commands.cpp
int run_approvals(Context& context, const Arguments& arguments);
int run_approve(Context& context, const Arguments& arguments);
int run_deny(Context& context, const Arguments& arguments);
int run_grants(Context& context, const Arguments& arguments);
int run_halt(Context& context, const Arguments& arguments);
/// `berth resume hl_…`
int resume_halt(Context& context, const Arguments& arguments);
int run_audit(Context& context, const Arguments& arguments);
// doctor.cpp, completion.cpp
int run_doctor(Context& context, const Arguments& arguments);
int run_completion(Context& context, const Arguments& arguments);
int run_complete(Context& context, const Arguments& arguments);

}  // namespace berth::cli
