// SPDX-License-Identifier: Apache-2.0
// A mutex that owns what it protects, so that the data cannot be reached without it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace berth {

/// `auto lock = guarded.lock(); lock->x = 1;`: the data is reachable only while the lock lives.
template <typename T>
class Guarded {
public:
    class Lock {
    public:
        Lock(std::mutex& mutex, T& data) : lock_(mutex), data_(&data) {}
        T& operator*() { return *data_; }
        T* operator->() { return data_; }
        /// For condition variables.
        std::unique_lock<std::mutex>& native() { return lock_; }

    private:
        std::unique_lock<std::mutex> lock_;
        T* data_;
    };

    Guarded() = default;
    explicit Guarded(T data) : data_(std::move(data)) {}
    Lock lock() { return Lock(mutex_, data_); }

private:
    std::mutex mutex_;
    T data_{};
};

}  // namespace berth
