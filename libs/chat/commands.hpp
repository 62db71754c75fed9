// SPDX-License-Identifier: Apache-2.0
// What can be said to Berth in a chat: one table, the same on every platform. A service that comes
// later adds its verbs to it (commands.cpp), and help, usage and the platforms' menus know them.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/card.hpp"
#include "core/result.hpp"
#include "store/postgres.hpp"

namespace berth::chat {

struct Parts;
class People;
struct Speaker;
struct InboundRow;

/// A command on its way. What it refers to is there until the answer is stored; it itself is not.
struct Call {
    Parts& parts;
    People& people;
    const InboundRow& row;
    const Speaker& speaker;
    std::vector<std::string> words;  ///< what follows the verb; empty for Verb::Takes::kText
    std::string rest;                ///< the same, as it was typed
    std::string prefix;              ///< of commands here: Traits::command_prefix
};

/// What a command leads to. `store` runs in the transaction that stores the answer and marks the
/// message as done: it happens once.
struct Answer {
    Content content;        ///< empty: nothing is said
    bool only_for = false;  ///< for who asked alone, where the platform can
    bool links = false;     ///< somebody is known from now on: never too often said
    std::function<Result<void>(store::Transaction&)> store;
};

/// An Error of the classes unavailable and deadline means "again later", any other one is told to
/// who asked. A handler may run twice for one message: its commands have ids derived from the
/// message's.
using VerbHandler = Result<Answer> (*)(Call& call);

struct Verb {
    /// What the org's gateway would ask of the same over HTTP; who decides about approvals and
    /// halts is warden's to say.
    enum class Needs { kNobody, kViewer, kOperator };
    std::string_view name;
    std::string_view usage;    ///< what follows the name: "[LEASE]"
    std::string_view summary;  ///< one line
    Needs needs = Needs::kViewer;
    VerbHandler handler = nullptr;
    /// What may follow: kText is not parted as a shell's words are.
    enum class Takes { kNothing, kWord, kWords, kText };
    Takes takes = Takes::kNothing;
    /// Words that were said longer ago when they are first heard are answered and not carried out:
    /// platforms bring them days later, when who said them has gone on. 0: always carried out.
    std::chrono::minutes good_for{0};
};

/// In the order of help. The platforms make their menus of it.
std::span<const Verb> verbs();
const Verb* find_verb(std::string_view name);

/// "Usage: `/berth run COMMAND…`: …" of one verb, and of all as Markdown. `prefix` is the
/// platform's (Traits::command_prefix).
std::string usage_of(const Verb& verb, std::string_view prefix);
std::string help(std::string_view prefix);

/// True where the roles reach.
bool may(const std::vector<std::string>& roles, Verb::Needs needs);

}  // namespace berth::chat
