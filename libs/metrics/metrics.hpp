// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms, rendered as Prometheus text: what a service tells about itself.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::metrics {

namespace detail {
struct CounterCell;
struct GaugeCell;
struct HistogramCell;
}  // namespace detail

/// Name and value pairs; few values per name, never an id (each combination is a time series for
/// ever).
using Labels = std::vector<std::pair<std::string, std::string>>;

// Handles: pointers in a struct. Copy them freely, use them from any thread; they live as long as
// their Registry. A default-made handle does nothing, so that parts can be tested without a
// registry.

class Counter {
public:
    Counter() = default;
    /// `by` must not be negative.
    void add(double by = 1) const;
    double value() const;

private:
    friend class Registry;
    explicit Counter(detail::CounterCell* cell) : cell_(cell) {}
    detail::CounterCell* cell_ = nullptr;
};

class Gauge {
public:
    Gauge() = default;
    void set(double value) const;
    void add(double by = 1) const;
    void subtract(double by = 1) const;
    double value() const;

private:
    friend class Registry;
    explicit Gauge(detail::GaugeCell* cell) : cell_(cell) {}
    detail::GaugeCell* cell_ = nullptr;
};

class Histogram {
public:
    Histogram() = default;
    void observe(double value) const;
    /// In seconds, Prometheus's unit of time.
    void observe(std::chrono::duration<double> time) const { observe(time.count()); }

private:
    friend class Registry;
    explicit Histogram(detail::HistogramCell* cell) : cell_(cell) {}
    detail::HistogramCell* cell_ = nullptr;
};

/// Upper bounds for latencies from 0.5 ms to 60 s, in seconds.
std::vector<double> latency_buckets();

/// The metrics of one process. Thread-safe. Names are `berth_<service-token>_<thing>_<unit>`, lower
/// case, `service_token` as given to the constructor (a gauge that is 0 or 1 has no unit); counters
/// end in `_total`; a wrong name, or one name with two kinds or two sets of buckets, is a bug and
/// throws std::logic_error. Asking again for the same name and labels gives the same series.
class Registry {
public:
    explicit Registry(std::string_view service_token);
    ~Registry();
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    Counter counter(std::string_view name, std::string_view help, const Labels& labels = {});
    Gauge gauge(std::string_view name, std::string_view help, const Labels& labels = {});
    Histogram histogram(
        std::string_view name,
        std::string_view help,
        const std::vector<double>& buckets,
        const Labels& labels = {}
    );
    /// A gauge whose value is asked for at each render(), on the rendering thread. `read` must be
    /// quick and must not touch this registry; it must stay callable until the registry dies.
    void gauge_callback(
        std::string_view name,
        std::string_view help,
        std::function<double()> read,
        const Labels& labels = {}
    );

    /// Everything in the Prometheus text format, version 0.0.4 (`text/plain; version=0.0.4`).
    std::string render();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace berth::metrics
