// SPDX-License-Identifier: Apache-2.0
// Approvals and runs that cards follow.
#include "chat/store.hpp"

namespace berth::chat::repo {

using store::OnLoss;
using store::Param;
using store::Row;
using store::Rows;
using store::Statement;

namespace {

constexpr Statement kLockRun{"SELECT pg_advisory_xact_lock(hashtextextended($1, 5))", "lock_run"};
constexpr Statement kPutApproval{
    "INSERT INTO approvals (id, org, run, body, revision, ended, heard_at) VALUES ($1, $2, $3, $4, "
    "$5, $6, $7) ON CONFLICT (id) DO UPDATE SET body = $4, revision = $5, ended = $6, heard_at = "
    "$7 "
    "WHERE approvals.revision < $5",
    "put_approval"};
#define APPROVAL_COLUMNS "id, org, run, body, revision, ended"

constexpr Statement kFindApproval{
    "SELECT " APPROVAL_COLUMNS " FROM approvals WHERE id = $1", "find_approval"};
constexpr Statement kWaitingApprovals{
    "SELECT " APPROVAL_COLUMNS " FROM approvals WHERE run = $1 AND NOT ended", "waiting_approvals"};

#define JOB_COLUMNS                                                                          \
    "id, org, card, chat, thread, state, actor, command, profile, label, lease, run, body, " \
    "revision, canceled, created_at, slug"

constexpr Statement kInsertJob{
    "INSERT INTO jobs (id, org, card, chat, thread, conversation, state, actor, command, profile, "
    "label, lease, run, body, revision, canceled, created_at, due_at, slug) VALUES ($1, $2, $3, "
    "$4, "
    "$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17, $18) ON CONFLICT (id) DO "
    "NOTHING",
    "insert_job"};
constexpr Statement kUpdateJob{
    "UPDATE jobs SET state = $2, lease = $3, run = $4, body = $5, revision = $6, canceled = $7, "
    "due_at = $8, slug = $9 WHERE id = $1",
    "update_job"};
constexpr Statement kLockJob{
    "SELECT " JOB_COLUMNS " FROM jobs WHERE id = $1 FOR UPDATE", "lock_job"};
constexpr Statement kFindJob{"SELECT " JOB_COLUMNS " FROM jobs WHERE id = $1", "find_job"};
constexpr Statement kDueJobs{
    "SELECT " JOB_COLUMNS
    " FROM jobs WHERE state <> 4 AND due_at <= $1 AND NOT id = ANY($2::text[]) ORDER BY due_at "
    "LIMIT $3::bigint",
    "due_jobs"};
constexpr Statement kJobsOfRun{
    "SELECT " JOB_COLUMNS " FROM jobs WHERE run = $1 AND run <> ''", "jobs_of_run"};
constexpr Statement kLiveJobs{
    "SELECT " JOB_COLUMNS
    " FROM jobs WHERE conversation = $1 AND state <> 4 ORDER BY created_at DESC LIMIT 1000",
    "live_jobs"};
constexpr Statement kJobHere{
    "SELECT " JOB_COLUMNS
    " FROM jobs WHERE run = $1 AND run <> '' AND conversation = $2 AND state <> 4 LIMIT 1",
    "job_here"};
constexpr Statement kHearRun{
    "UPDATE jobs SET body = $2, revision = $3, due_at = $5, state = CASE WHEN $4 THEN 3 ELSE state "
    "END WHERE run = $1 AND run <> '' AND revision < $3 AND state = 2",
    "hear_run"};

ApprovalRow to_approval(const Row& row) {
    return {
        std::string(row.text(0)),
        std::string(row.text(1)),
        std::string(row.text(2)),
        row.bytes(3),
        row.int64(4),
        row.boolean(5)};
}

JobRow to_job(const Row& row) {
    JobRow job;
    job.id = row.text(0);
    job.org = row.text(1);
    job.card = row.text(2);
    job.conversation = {std::string(row.text(3)), std::string(row.text(4))};
    job.state = static_cast<JobRow::State>(row.int64(5));
    job.actor = row.bytes(6);
    job.command = row.bytes(7);
    job.profile = row.text(8);
    job.label = row.text(9);
    job.lease = row.text(10);
    job.run = row.text(11);
    job.body = row.bytes(12);
    job.revision = row.int64(13);
    job.canceled = row.boolean(14);
    job.created_at = row.time(15);
    job.slug = row.text(16);
    return job;
}

Result<std::vector<JobRow>> to_jobs(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    std::vector<JobRow> out;
    for (const Row row : *rows) out.push_back(to_job(row));
    return out;
}

Result<std::optional<JobRow>> one_job(Result<Rows> rows) {
    if (!rows) return std::move(rows).error();
    if (rows->empty()) return std::optional<JobRow>{};
    return std::optional<JobRow>(to_job((*rows)[0]));
}

}  // namespace

Result<void> lock_run(store::Transaction& tx, const std::string& run) {
    BERTH_TRY(tx.exec(kLockRun, {run}));
    return {};
}

Result<bool> put_approval(store::Transaction& tx, const ApprovalRow& row, WallTime now) {
    BERTH_ASSIGN(
        const Rows rows,
        tx.exec(
            kPutApproval,
            {row.id, row.org, row.run, Param::bytes(row.body), row.revision, row.ended, now}
        )
    );
    return rows.affected() == 1;
}

Result<std::optional<ApprovalRow>> find_approval(store::Pool& pool, const std::string& id) {
    BERTH_ASSIGN(const Rows rows, pool.exec_autocommit(kFindApproval, {id}, store::OnLoss::kRetry));
    if (rows.empty()) return std::optional<ApprovalRow>{};
    return std::optional<ApprovalRow>(to_approval(rows[0]));
}

Result<std::vector<ApprovalRow>> waiting_approvals(store::Transaction& tx, const std::string& run) {
    BERTH_ASSIGN(const Rows rows, tx.exec(kWaitingApprovals, {run}));
    std::vector<ApprovalRow> out;
    for (const Row row : rows) out.push_back(to_approval(row));
    return out;
}

Result<void> insert_job(store::Transaction& tx, const JobRow& job) {
    BERTH_TRY(tx.exec(
        kInsertJob,
        {job.id,
         job.org,
         job.card,
         job.conversation.chat,
         job.conversation.thread,
         conversation_key(job.conversation),
         static_cast<int>(job.state),
         Param::bytes(job.actor),
         Param::bytes(job.command),
         job.profile,
         job.label,
         job.lease,
         job.run,
         Param::bytes(job.body),
         job.revision,
         job.canceled,
         job.created_at,
         job.slug}
    ));
    return {};
}

Result<void> update_job(store::Transaction& tx, const JobRow& job, WallTime due) {
    BERTH_TRY(tx.exec(
        kUpdateJob,
        {job.id,
         static_cast<int>(job.state),
         job.lease,
         job.run,
         Param::bytes(job.body),
         job.revision,
         job.canceled,
         due,
         job.slug}
    ));
    return {};
}

Result<std::optional<JobRow>> lock_job(store::Transaction& tx, const std::string& id) {
    return one_job(tx.exec(kLockJob, {id}));
}
Result<std::optional<JobRow>> find_job(store::Pool& pool, const std::string& id) {
    return one_job(pool.exec_autocommit(kFindJob, {id}, OnLoss::kRetry));
}
Result<std::vector<JobRow>> due_jobs(
    store::Pool& pool, const std::vector<std::string>& under_way, WallTime now, int limit
) {
    return to_jobs(
        pool.exec_autocommit(kDueJobs, {now, Param::text_array(under_way), limit}, OnLoss::kRetry)
    );
}
Result<std::vector<JobRow>> jobs_of_run(store::Transaction& tx, const std::string& run) {
    return to_jobs(tx.exec(kJobsOfRun, {run}));
}
Result<std::vector<JobRow>> live_jobs(store::Pool& pool, const std::string& conversation) {
    return to_jobs(pool.exec_autocommit(kLiveJobs, {conversation}, OnLoss::kRetry));
}
Result<std::optional<JobRow>> job_here(
    store::Pool& pool, const std::string& run, const std::string& conversation
) {
    return one_job(pool.exec_autocommit(kJobHere, {run, conversation}, OnLoss::kRetry));
}

Result<std::int64_t> hear_run(
    store::Transaction& tx,
    const std::string& run,
    const std::string& body,
    std::int64_t revision,
    bool ended,
    WallTime now
) {
    BERTH_ASSIGN(
        const Rows rows, tx.exec(kHearRun, {run, Param::bytes(body), revision, ended, now})
    );
    return rows.affected();
}

}  // namespace berth::chat::repo
