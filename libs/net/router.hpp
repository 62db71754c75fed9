// SPDX-License-Identifier: Apache-2.0
// Which handler a method and a path mean: a pure table, so that it can be compared with the API
// description.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::net {

/// The outcome of a look-up.
struct RouteMatch {
    enum class Kind { kFound, kNotFound, kMethodNotAllowed };
    Kind kind = Kind::kNotFound;
    std::size_t index = 0;                      ///< into Router::routes(), when found
    std::map<std::string, std::string> params;  ///< the {names} of the pattern
    std::string allow;  ///< "GET, POST": for 405 and OPTIONS, when the path is known
};

/// Patterns are "/v1/leases/{id}/release": literal segments and {name} segments, which match one
/// non-empty segment. A literal wins over a {name}. HEAD is answered by GET's route. Immutable
/// after set-up, then thread-safe.
class Router {
public:
    struct Route {
        std::string method;
        std::string pattern;
    };

    /// Adds a route and returns its index; the same method and pattern twice is a bug and throws.
    std::size_t add(std::string_view method, std::string_view pattern);
    RouteMatch match(std::string_view method, std::string_view path) const;
    const std::vector<Route>& routes() const { return routes_; }

private:
    std::vector<Route> routes_;
    std::vector<std::vector<std::string>> segments_;
};

}  // namespace berth::net
