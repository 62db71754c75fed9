// SPDX-License-Identifier: Apache-2.0
// Keeps prometheus-cpp behind handles and checks names once, at registration.
#include "metrics/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>
#include <stdexcept>

namespace berth::metrics {
namespace detail {
struct CounterCell {
    prometheus::Counter* series;
};
struct GaugeCell {
    prometheus::Gauge* series;
};
struct HistogramCell {
    prometheus::Histogram* series;
};
}  // namespace detail

void Counter::add(double by) const {
    if (cell_ != nullptr) cell_->series->Increment(by);
}
double Counter::value() const { return cell_ == nullptr ? 0 : cell_->series->Value(); }
void Gauge::set(double value) const {
    if (cell_ != nullptr) cell_->series->Set(value);
}
void Gauge::add(double by) const {
    if (cell_ != nullptr) cell_->series->Increment(by);
}
void Gauge::subtract(double by) const {
    if (cell_ != nullptr) cell_->series->Decrement(by);
}
double Gauge::value() const { return cell_ == nullptr ? 0 : cell_->series->Value(); }
void Histogram::observe(double value) const {
    if (cell_ != nullptr) cell_->series->Observe(value);
}

std::vector<double> latency_buckets() {
    return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

namespace {

bool is_word_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

[[noreturn]] void refuse(std::string_view name, std::string_view why) {
    throw std::logic_error("metric '" + std::string(name) + "': " + std::string(why));
}

prometheus::Labels checked_labels(std::string_view name, const Labels& labels) {
    prometheus::Labels out;
    for (const auto& [key, value] : labels) {
        if (key.empty() || (key[0] >= '0' && key[0] <= '9') || key.starts_with("__") ||
            key == "le") {
            refuse(name, "the label name '" + key + "' is not allowed");
        }
        for (const char c : key) {
            if (!is_word_character(c) && c != '_') refuse(name, "label names are lower-case words");
        }
        if (!out.emplace(key, value).second) refuse(name, "the label '" + key + "' is given twice");
    }
    return out;
}

struct Callback {
    prometheus::Gauge* series;
    std::function<double()> read;
};

}  // namespace

struct Registry::Impl {
    explicit Impl(std::string_view service) : prefix("berth_" + std::string(service) + "_") {}

    const std::string prefix;
    std::mutex mutex;  // guards everything below; handles do not take it
    prometheus::Registry registry;
    std::map<std::string, char> kinds;
    std::map<std::string, std::vector<double>> buckets;
    std::map<prometheus::Counter*, std::unique_ptr<detail::CounterCell>> counters;
    std::map<prometheus::Gauge*, std::unique_ptr<detail::GaugeCell>> gauges;
    std::map<prometheus::Histogram*, std::unique_ptr<detail::HistogramCell>> histograms;
    std::vector<Callback> callbacks;

    void check(std::string_view name, char kind) {
        if (!name.starts_with(prefix)) refuse(name, "it must begin with '" + prefix + "'");
        const std::string_view rest = name.substr(prefix.size());
        char before = '_';
        for (const char c : rest) {
            if (!is_word_character(c) && c != '_') refuse(name, "only a-z, 0-9 and _ are allowed");
            if (c == '_' && before == '_') refuse(name, "a word is empty");
            before = c;
        }
        if (before == '_') refuse(name, "a word is empty");
        if (kind == 'c' && !rest.ends_with("_total")) refuse(name, "a counter ends in _total");
        if (kind != 'c' && rest.ends_with("_total")) refuse(name, "only a counter ends in _total");
        const auto [place, fresh] = kinds.emplace(std::string(name), kind);
        if (!fresh && place->second != kind) refuse(name, "it exists with another kind");
    }

    template <typename Cell, typename Series>
    static Cell* cell_of(std::map<Series*, std::unique_ptr<Cell>>& cells, Series& series) {
        auto& cell = cells[&series];
        if (!cell) cell = std::make_unique<Cell>(Cell{&series});
        return cell.get();
    }

    prometheus::Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels) {
        auto& family = prometheus::BuildGauge()
                           .Name(std::string(name))
                           .Help(std::string(help))
                           .Register(registry);
        return family.Add(checked_labels(name, labels));
    }
};

Registry::Registry(std::string_view service_token) : impl_(std::make_unique<Impl>(service_token)) {
    if (service_token.empty()) refuse("", "the service token is empty");
    for (const char c : service_token) {
        if (!is_word_character(c))
            refuse(service_token, "a service token in a metric is a lower-case word");
    }
}
Registry::~Registry() = default;

Counter Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
    const std::lock_guard lock(impl_->mutex);
    impl_->check(name, 'c');
    auto& family = prometheus::BuildCounter()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(impl_->registry);
    return Counter(Impl::cell_of(impl_->counters, family.Add(checked_labels(name, labels))));
}

Gauge Registry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
    const std::lock_guard lock(impl_->mutex);
    impl_->check(name, 'g');
    return Gauge(Impl::cell_of(impl_->gauges, impl_->gauge(name, help, labels)));
}

Histogram Registry::histogram(
    std::string_view name,
    std::string_view help,
    const std::vector<double>& buckets,
    const Labels& labels
) {
    const std::lock_guard lock(impl_->mutex);
    impl_->check(name, 'h');
    for (std::size_t i = 1; i < buckets.size(); ++i) {
        if (buckets[i] <= buckets[i - 1]) refuse(name, "buckets must grow");
    }
    const auto [place, fresh] = impl_->buckets.emplace(std::string(name), buckets);
    if (!fresh && place->second != buckets) refuse(name, "it exists with other buckets");
    auto& family = prometheus::BuildHistogram()
                       .Name(std::string(name))
                       .Help(std::string(help))
                       .Register(impl_->registry);
    return Histogram(
        Impl::cell_of(impl_->histograms, family.Add(checked_labels(name, labels), buckets))
    );
}

void Registry::gauge_callback(
    std::string_view name, std::string_view help, std::function<double()> read, const Labels& labels
) {
    const std::lock_guard lock(impl_->mutex);
    impl_->check(name, 'g');
    impl_->callbacks.push_back({&impl_->gauge(name, help, labels), std::move(read)});
}

std::string Registry::render() {
    const std::lock_guard lock(impl_->mutex);
    for (const Callback& callback : impl_->callbacks) callback.series->Set(callback.read());
    return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace berth::metrics
