// SPDX-License-Identifier: Apache-2.0
// The tables of a bridge.
#include <array>

#include "chat/store.hpp"

namespace berth::chat {
namespace {

constexpr std::string_view kTables = R"(
CREATE TABLE inbound (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id text NOT NULL UNIQUE,
  command_id text NOT NULL,
  conversation text NOT NULL,
  body text NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  done boolean NOT NULL DEFAULT false
);
CREATE INDEX inbound_waiting ON inbound (id) WHERE NOT done;
CREATE INDEX inbound_age ON inbound (received_at) WHERE done;

CREATE TABLE note (one boolean PRIMARY KEY DEFAULT true CHECK (one), body text NOT NULL);

CREATE TABLE outbound (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text NOT NULL UNIQUE,
  kind smallint NOT NULL,
  chat text NOT NULL,
  thread text NOT NULL,
  conversation text NOT NULL,
  follows text NOT NULL,
  content text NOT NULL,
  file bytea NOT NULL DEFAULT ''::bytea,
  answers text NOT NULL,
  only_for text NOT NULL,
  handle text NOT NULL,
  revision bigint NOT NULL DEFAULT 1,
  shown bigint NOT NULL DEFAULT 0,
  state text NOT NULL DEFAULT 'pending',  -- sending, sent, failed, expired, dropped
  message text NOT NULL DEFAULT '',
  plain boolean NOT NULL DEFAULT false,
  attempts integer NOT NULL DEFAULT 0,
  doubts integer NOT NULL DEFAULT 0,
  reason text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL,
  due_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX outbound_follows ON outbound (follows, conversation) WHERE follows <> '';
CREATE INDEX outbound_pending ON outbound (conversation, id) WHERE state = 'pending';
CREATE INDEX outbound_sending ON outbound (conversation) WHERE state = 'sending';
CREATE INDEX outbound_changed ON outbound (id) WHERE state = 'sent' AND shown < revision;
CREATE INDEX outbound_age ON outbound (created_at);

CREATE TABLE buttons (
  token_hash text PRIMARY KEY,
  card text NOT NULL REFERENCES outbound (key) ON DELETE CASCADE,
  action text NOT NULL
);
CREATE INDEX buttons_card ON buttons (card);

CREATE TABLE questions (
  conversation text NOT NULL,
  person text NOT NULL,
  token_hash text NOT NULL,
  asked_at timestamptz NOT NULL,
  PRIMARY KEY (conversation, person)
);
CREATE TABLE refusals (person text PRIMARY KEY, at timestamptz NOT NULL);

CREATE TABLE approvals (
  id text PRIMARY KEY,
  org text NOT NULL,
  run text NOT NULL,
  body bytea NOT NULL,
  revision bigint NOT NULL,
  ended boolean NOT NULL,
  heard_at timestamptz NOT NULL
);
CREATE INDEX approvals_run ON approvals (run) WHERE NOT ended;
CREATE INDEX approvals_age ON approvals (heard_at) WHERE ended;

CREATE TABLE jobs (
  id text PRIMARY KEY,
  org text NOT NULL,
  card text NOT NULL,
  chat text NOT NULL,
  thread text NOT NULL,
  conversation text NOT NULL,
  state smallint NOT NULL,
  actor bytea NOT NULL,
  command bytea NOT NULL,
  profile text NOT NULL,
  label text NOT NULL,
  lease text NOT NULL,
  slug text NOT NULL,
  run text NOT NULL,
  body bytea NOT NULL,
  revision bigint NOT NULL,
  canceled boolean NOT NULL,
  created_at timestamptz NOT NULL,
  due_at timestamptz NOT NULL
);
CREATE INDEX jobs_due ON jobs (due_at) WHERE state <> 4;
CREATE INDEX jobs_run ON jobs (run) WHERE run <> '';
CREATE INDEX jobs_conversation ON jobs (conversation, created_at) WHERE state <> 4;
)";

// Changes of a message that went out: since when they fail, and how many may have been made.
constexpr std::string_view kEdits = R"(
ALTER TABLE outbound
  ADD COLUMN edit_since timestamptz,
  ADD COLUMN edit_due_at timestamptz NOT NULL DEFAULT '-infinity',
  ADD COLUMN edit_doubts integer NOT NULL DEFAULT 0;
)";

// What did not arrive: known by the platform's id, of a post or of what a change said anew, and the
// revision that goes out otherwise.
constexpr std::string_view kUndelivered = R"(
ALTER TABLE outbound
  ADD COLUMN said text NOT NULL DEFAULT '',
  ADD COLUMN otherwise bigint NOT NULL DEFAULT 0;
CREATE INDEX outbound_message ON outbound (message) WHERE message <> '';
CREATE INDEX outbound_said ON outbound (said) WHERE said <> '';
)";

// Whether what was said may have taken effect: only then is it carried out, however late.
constexpr std::string_view kBegun = R"(
ALTER TABLE inbound ADD COLUMN begun boolean NOT NULL DEFAULT false;
)";

}  // namespace

std::span<const store::Migration> migrations() {
    static const std::string first =
        std::string(store::kInboxOutboxDdl) + std::string(store::kLeaderDdl) + std::string(kTables);
    static const std::array<store::Migration, 4> all{
        {{1, "chat", first},
         {2, "chat_edits", kEdits},
         {3, "chat_undelivered", kUndelivered},
         {4, "chat_begun", kBegun}}};
    return all;
}

}  // namespace berth::chat
