// SPDX-License-Identifier: Apache-2.0
// Order per entity, a window per subscriber.
#include "webhook/lane.hpp"

#include <algorithm>

#include "core/text.hpp"

namespace berth::webhook {

std::string entity_of(std::string_view subject) {
    const auto tokens = split(subject, '.');  // berth evt org service noun fact id
    if (tokens.size() != 7) return std::string(subject);
    return std::string(tokens[3]) + "." + std::string(tokens[4]) + "." + std::string(tokens[6]);
}

void Lane::add(std::vector<PendingRow> rows) {
    for (PendingRow& row : rows) {
        const auto at = std::lower_bound(
            items_.begin(),
            items_.end(),
            row.id,
            [](const Item& item, std::int64_t id) { return item.row.id < id; }
        );
        if (at != items_.end() && at->row.id == row.id) continue;
        Item item;
        item.entity = entity_of(row.event.subject);
        item.row = std::move(row);
        items_.insert(at, std::move(item));
    }
}

void Lane::hurry(PendingRow row) {
    const std::int64_t id = row.id;
    add({std::move(row)});
    for (Item& item : items_) {
        if (item.row.id == id && !item.under_way) item.hurried = true;
    }
}

Lane::Item* Lane::begin(Item& item) {
    item.hurried = false;
    item.under_way = true;
    ++under_way_;
    return &item;
}

Lane::Item* Lane::next(WallTime now) {
    for (Item& item : items_) {
        if (item.hurried) return begin(item);
    }
    const std::size_t window = health_.failures > 0 ? 1 : kWindow;
    if (under_way_ >= window || health_.quiet_until() > now) return nullptr;
    std::set<std::string_view> taken;
    for (Item& item : items_) {
        const bool first = taken.insert(item.entity).second;
        if (!first || item.under_way || item.row.attempts.next_at > now) continue;
        return begin(item);
    }
    return nullptr;
}

std::optional<WallTime> Lane::due() const {
    for (const Item& item : items_) {
        if (item.hurried) return WallTime{};
    }
    const std::size_t window = health_.failures > 0 ? 1 : kWindow;
    if (under_way_ >= window) return std::nullopt;
    std::optional<WallTime> out;
    std::set<std::string_view> taken;
    for (const Item& item : items_) {
        const bool first = taken.insert(item.entity).second;
        if (!first || item.under_way) continue;
        const WallTime at = std::max(item.row.attempts.next_at, health_.quiet_until());
        if (!out || at < *out) out = at;
    }
    return out;
}

std::deque<Lane::Item>::iterator Lane::find(std::int64_t delivery) {
    return std::find_if(items_.begin(), items_.end(), [&](const Item& item) {
        return item.row.id == delivery && item.under_way;
    });
}

std::optional<Lane::Ended> Lane::answered(
    std::int64_t delivery, const Answer& answer, WallTime now, Random& random
) {
    const auto item = find(delivery);
    if (item == items_.end()) return std::nullopt;
    item->under_way = false;
    --under_way_;
    Ended out;
    out.verdict = decide(health_, item->row.attempts, answer, now, random);
    out.attempts = item->row.attempts;
    if (out.verdict == Verdict::kDelivered || out.verdict == Verdict::kGivenUp) items_.erase(item);
    return out;
}

const Lane::Item* Lane::sending(std::int64_t delivery) {
    const auto item = find(delivery);
    return item == items_.end() ? nullptr : &*item;
}

}  // namespace berth::webhook
