// SPDX-License-Identifier: Apache-2.0
// The route table's look-up: linear, since an API has some dozens of routes and a path a handful of
// segments.
#include "net/router.hpp"

#include <algorithm>
#include <stdexcept>

#include "core/text.hpp"

namespace berth::net {
namespace {

std::vector<std::string> pieces(std::string_view path) {
    std::vector<std::string> out;
    for (auto piece : split(path, '/')) out.emplace_back(piece);
    return out;
}

bool is_param(std::string_view segment) {
    return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

}  // namespace

std::size_t Router::add(std::string_view method, std::string_view pattern) {
    for (const auto& route : routes_) {
        if (route.method == method && route.pattern == pattern)
            throw std::logic_error("the route is there already");
    }
    routes_.push_back({std::string(method), std::string(pattern)});
    segments_.push_back(pieces(pattern));
    return routes_.size() - 1;
}

RouteMatch Router::match(std::string_view method, std::string_view path) const {
    RouteMatch best;
    const auto wanted = pieces(path);
    std::vector<std::string> allowed;
    std::size_t best_literals = 0;
    const auto effective = method == "HEAD" ? std::string_view("GET") : method;
    for (std::size_t i = 0; i < routes_.size(); ++i) {
        const auto& pattern = segments_[i];
        if (pattern.size() != wanted.size()) continue;
        std::map<std::string, std::string> params;
        std::size_t literals = 1;
        bool matches = true;
        for (std::size_t s = 0; matches && s < pattern.size(); ++s) {
            if (is_param(pattern[s])) {
                matches = !wanted[s].empty();
                params[pattern[s].substr(1, pattern[s].size() - 2)] = wanted[s];
            } else {
                matches = pattern[s] == wanted[s];
                ++literals;
            }
        }
        if (!matches) continue;
        allowed.push_back(routes_[i].method);
        if (routes_[i].method == effective && literals > best_literals) {
            best_literals = literals;
            best.kind = RouteMatch::Kind::kFound;
            best.index = i;
            best.params = std::move(params);
        }
    }
    if (allowed.empty()) return best;
    if (std::find(allowed.begin(), allowed.end(), "GET") != allowed.end())
        allowed.emplace_back("HEAD");
    allowed.emplace_back("OPTIONS");
    std::sort(allowed.begin(), allowed.end());
    allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
    for (const auto& name : allowed) best.allow += (best.allow.empty() ? "" : ", ") + name;
    if (best.kind != RouteMatch::Kind::kFound) best.kind = RouteMatch::Kind::kMethodNotAllowed;
    return best;
}

}  // namespace berth::net
