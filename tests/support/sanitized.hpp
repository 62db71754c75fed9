// SPDX-License-Identifier: Apache-2.0
// Whether a sanitizer is built in: budgets of time and memory say nothing about a program that it
// slowed down and blew up (its quarantine alone may hold 256 MiB).
#pragma once

namespace berth::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace berth::testing
