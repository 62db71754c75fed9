// SPDX-License-Identifier: Apache-2.0
// A chain of records: each way of changing it is found, and where.
#include "warden/audit.hpp"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace berth::warden {
namespace {

struct Chain {
    std::vector<v1::AuditRecord> records;
    ChainHead head;
};

Chain chain_of(int count) {
    Chain out;
    for (int i = 0; i < count; ++i) {
        v1::AuditRecord record;
        record.set_org("acme");
        record.set_fact("exec_started");
        record.set_user("olga");
        record.set_command("make " + std::to_string(i));
        chain(out.head, record);
        out.records.push_back(record);
    }
    return out;
}

v1::AuditVerdict verdict(const Chain& given) {
    ChainCheck check;
    for (const auto& record : given.records) {
        if (!check.take(record)) break;
    }
    return check.finish(given.head);
}

TEST(Audit, AWholeChainIsWhole) {
    for (const int count : {0, 1, 100}) {
        const auto found = verdict(chain_of(count));
        EXPECT_TRUE(found.whole()) << found.reason();
        EXPECT_EQ(found.records(), static_cast<std::uint64_t>(count));
    }
}

TEST(Audit, EveryChangeIsFoundWhereItIs) {
    const std::vector<std::pair<std::function<void(Chain&)>, std::uint64_t>> changes{
        {[](Chain& c) { c.records[4].set_command("true"); }, 5},
        {[](Chain& c) { c.records[4].set_hash(c.records[3].hash()); }, 5},
        {[](Chain& c) { c.records.erase(c.records.begin() + 4); }, 5},
        {[](Chain& c) { std::swap(c.records[4], c.records[5]); }, 5},
        {[](Chain& c) { c.records.insert(c.records.begin() + 5, c.records[4]); }, 6},
        {[](Chain& c) { c.records.erase(c.records.begin()); }, 1},
        {[](Chain& c) { c.records.pop_back(); }, 10},
        {[](Chain& c) { c.records.clear(); }, 1},
        // Changed and hashed anew: then the next one does not follow.
        {[](Chain& c) {
             c.records[4].set_command("true");
             c.records[4].set_hash(hash_of(c.records[4]));
         },
         6},
        {[](Chain& c) {
             c.records[9].set_command("true");
             c.records[9].set_hash(hash_of(c.records[9]));
         },
         11},
    };
    for (std::size_t i = 0; i < changes.size(); ++i) {
        Chain changed = chain_of(10);
        changes[i].first(changed);
        const auto found = verdict(changed);
        EXPECT_FALSE(found.whole()) << i;
        EXPECT_EQ(found.first_bad(), changes[i].second) << i << " " << found.reason();
    }
}

TEST(Audit, TheHashCoversEveryFieldButItself) {
    // A field that is added to the schema and forgotten in canonical() fails here.
    const v1::AuditRecord plain;
    const auto* descriptor = v1::AuditRecord::descriptor();
    const auto* reflection = plain.GetReflection();
    for (int i = 0; i < descriptor->field_count(); ++i) {
        const auto* field = descriptor->field(i);
        if (field->name() == "hash") continue;
        std::vector<v1::AuditRecord> changed(1);
        v1::AuditRecord& record = changed.front();
        switch (field->cpp_type()) {
            case google::protobuf::FieldDescriptor::CPPTYPE_STRING:
                reflection->SetString(&record, field, "x");
                break;
            case google::protobuf::FieldDescriptor::CPPTYPE_UINT64:
                reflection->SetUInt64(&record, field, 7);
                break;
            case google::protobuf::FieldDescriptor::CPPTYPE_UINT32:
                reflection->SetUInt32(&record, field, 7);
                break;
            case google::protobuf::FieldDescriptor::CPPTYPE_INT32:
                reflection->SetInt32(&record, field, 0);  // an exit code of 0 is not none
                break;
            default:
                if (field->name() == "at") {
                    record.mutable_at()->set_seconds(7);
                } else {
                    ASSERT_EQ(field->name(), "origin");
                    record.mutable_origin()->set_run("x");
                }
        }
        EXPECT_NE(canonical(record), canonical(plain)) << field->name();
    }
    v1::AuditRecord hashed;
    hashed.set_hash("x");
    EXPECT_EQ(canonical(hashed), canonical(plain));
    // Lengths stand before values: what moves from one field to the next is another record.
    v1::AuditRecord one;
    one.set_rule("ab");
    v1::AuditRecord two;
    two.set_rule("a");
    two.set_action("b");
    EXPECT_NE(canonical(one), canonical(two));
}

}  // namespace
}  // namespace berth::warden
