// SPDX-License-Identifier: Apache-2.0
// Proves the rendered text, the checks of names and that handles count exactly across threads.
#include "metrics/metrics.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

namespace berth::metrics {
namespace {

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(MetricsTest, RendersEveryKind) {
    Registry registry("lease");
    registry.counter(
                "berth_lease_acquired_total", "Leases acquired.", {{"profile", "a\"b\n"}}
    ).add(2);
    const Gauge gauge = registry.gauge("berth_lease_live_leases", "Live leases.");
    gauge.set(5);
    gauge.subtract();
    const Histogram histogram =
        registry.histogram("berth_lease_acquire_seconds", "Time.", {0.1, 1});
    histogram.observe(std::chrono::milliseconds(50));
    histogram.observe(3);
    double asked = 7;
    registry.gauge_callback("berth_lease_queue_messages", "Queued.", [&] { return asked++; });
    const std::string text = registry.render();
    EXPECT_TRUE(has_line(text, "# TYPE berth_lease_acquired_total counter")) << text;
    EXPECT_TRUE(has_line(text, "berth_lease_acquired_total{profile=\"a\\\"b\\n\"} 2")) << text;
    EXPECT_TRUE(has_line(text, "berth_lease_live_leases 4")) << text;
    EXPECT_TRUE(has_line(text, "berth_lease_acquire_seconds_bucket{le=\"0.1\"} 1")) << text;
    EXPECT_TRUE(has_line(text, "berth_lease_acquire_seconds_bucket{le=\"+Inf\"} 2")) << text;
    EXPECT_TRUE(has_line(text, "berth_lease_queue_messages 7")) << text;
    EXPECT_TRUE(has_line(registry.render(), "berth_lease_queue_messages 8"));
}

TEST(MetricsTest, TheSameSeriesIsSharedAndCountsExactly) {
    Registry registry("run");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            const Counter counter = registry.counter("berth_run_starts_total", "Starts.");
            for (int i = 0; i < 10000; ++i) counter.add();
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(registry.counter("berth_run_starts_total", "Starts.").value(), 40000);
}

TEST(MetricsTest, WrongNamesAreBugs) {
    Registry registry("run");
    for (const char* name :
         {"run_starts_total",
          "berth_lease_starts_total",
          "berth_run_total",
          "berth_run_Starts_total",
          "berth_run__starts_total",
          "berth_run_starts",
          "berth_run_starts_count"}) {
        EXPECT_THROW(registry.counter(name, "x"), std::logic_error) << name;
    }
    EXPECT_THROW(registry.gauge("berth_run_live_total", "x"), std::logic_error);
    registry.gauge("berth_run_live_runs", "x");
    EXPECT_THROW(registry.histogram("berth_run_live_runs", "x", {1}), std::logic_error);
    registry.histogram("berth_run_start_seconds", "x", {1, 2});
    EXPECT_THROW(registry.histogram("berth_run_start_seconds", "x", {1, 3}), std::logic_error);
    EXPECT_THROW(registry.counter("berth_run_x_total", "x", {{"le", "1"}}), std::logic_error);
    EXPECT_THROW(Registry("no_underscore"), std::logic_error);
}

TEST(MetricsTest, ADefaultHandleDoesNothing) {
    const Counter counter;
    counter.add();
    EXPECT_EQ(counter.value(), 0);
    Gauge().set(1);
    Histogram().observe(1);
}

}  // namespace
}  // namespace berth::metrics
