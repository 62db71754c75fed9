// SPDX-License-Identifier: Apache-2.0
// What one subscriber is sent, and in which order: its deliveries in memory, those under way, its
// health. Knows no clock, no socket and no database.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "webhook/repo.hpp"
#include "webhook/schedule.hpp"
#include "webhook/settings.hpp"

namespace berth::webhook {

/// What an event is about, "run.run.rn_…": its events go out one after the other.
std::string entity_of(std::string_view subject);

/// One thread at a time.
class Lane {
public:
    struct Item {
        PendingRow row;
        std::string entity;
        bool under_way = false;
        bool hurried = false;
    };

    explicit Lane(Health health) : health_(std::move(health)) {}

    /// Adds what is not held yet; rows come in rising order of id.
    void add(std::vector<PendingRow> rows);
    /// More may be added: what is held has sunk below half.
    bool wants_more() const { return items_.size() <= kLoaded / 2; }
    /// A test: it goes next, beside what is under way, whatever the others wait for. None of them
    /// goes sooner for that.
    void hurry(PendingRow row);
    /// The next to send now, marked as under way; nullptr where there is none. An entity's older
    /// event goes first, whatever it waits for; a subscriber that fails gets one at a time.
    Item* next(WallTime now);
    /// When next() may give something, as far as that is a matter of time; none while an answer is
    /// needed first, or more deliveries.
    std::optional<WallTime> due() const;

    /// The answer to an item under way. The item is gone unless it is to be sent again.
    struct Ended {
        Verdict verdict = Verdict::kAgain;
        Attempts attempts;
    };
    std::optional<Ended> answered(
        std::int64_t delivery, const Answer& answer, WallTime now, Random& random
    );
    /// The item, if it is under way.
    const Item* sending(std::int64_t delivery);

    const Health& health() const { return health_; }
    std::size_t under_way() const { return under_way_; }
    std::size_t held() const { return items_.size(); }

private:
    Item* begin(Item& item);
    std::deque<Item>::iterator find(std::int64_t delivery);
    Health health_;
    std::deque<Item> items_;  // by id
    std::size_t under_way_ = 0;
};

}  // namespace berth::webhook
