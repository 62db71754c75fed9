// SPDX-License-Identifier: Apache-2.0
// SHA-256 by the processor's own instructions where it has them (six times as fast, which a machine
// that hashes each program it starts notices), else from libsodium, which needs no start for it.
#include "identity/sha256.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace berth::identity {
namespace {

constexpr std::size_t kBlock = 64;

#if defined(__x86_64__)

bool has_instructions() {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0)
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
}

alignas(16) constexpr std::array<std::uint32_t, 64> kRounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/// FIPS 180-4 section 6.2.2, four rounds at a time. The instructions want the eight words as two
/// registers: ABEF, CDGH.
__attribute__((target("sha,sse4.1,ssse3"))) void hash_blocks(
    std::array<std::uint32_t, 8>& words, const char* data, std::size_t blocks
) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    auto* stored = reinterpret_cast<__m128i*>(words.data());
    __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128(stored), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(stored + 1), 0x1B);
    __m128i abef = _mm_alignr_epi8(dcba, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, dcba, 0xF0);
    for (; blocks > 0; --blocks, data += kBlock) {
        const __m128i abef_before = abef;
        const __m128i cdgh_before = cdgh;
        __m128i w[4];
#pragma GCC unroll 16
        for (std::size_t i = 0; i < 16; ++i) {
            __m128i& now = w[i % 4];
            if (i < 4) {
                now = _mm_shuffle_epi8(
                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i), swap
                );
            } else {
                const __m128i last = w[(i + 3) % 4];
                const __m128i sum = _mm_add_epi32(
                    _mm_sha256msg1_epu32(now, w[(i + 1) % 4]),
                    _mm_alignr_epi8(last, w[(i + 2) % 4], 4)
                );
                now = _mm_sha256msg2_epu32(sum, last);
            }
            const __m128i mixed = _mm_add_epi32(
                now, _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds.data()) + i)
            );
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, mixed);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(mixed, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
    const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128(stored, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128(stored + 1, _mm_alignr_epi8(dchg, feba, 8));
}

#else

bool has_instructions() { return false; }
void hash_blocks(std::array<std::uint32_t, 8>&, const char*, std::size_t) {}

#endif

/// The padding and the buffer around hash_blocks.
struct Fast {
    std::array<std::uint32_t, 8> words{
        0x6a09e667,
        0xbb67ae85,
        0x3c6ef372,
        0xa54ff53a,
        0x510e527f,
        0x9b05688c,
        0x1f83d9ab,
        0x5be0cd19};
    std::array<char, kBlock> rest{};
    std::uint64_t bytes = 0;

    void update(std::string_view data) {
        const std::size_t held = bytes % kBlock;
        bytes += data.size();
        if (held > 0) {
            const std::size_t some = std::min(kBlock - held, data.size());
            std::memcpy(rest.data() + held, data.data(), some);
            data.remove_prefix(some);
            if (held + some < kBlock) return;
            hash_blocks(words, rest.data(), 1);
        }
        hash_blocks(words, data.data(), data.size() / kBlock);
        data.remove_prefix(data.size() / kBlock * kBlock);
        if (!data.empty()) std::memcpy(rest.data(), data.data(), data.size());
    }

    std::string finish() {
        const std::uint64_t bits = bytes * 8;
        std::string padding(1 + (kBlock - (bytes + 9) % kBlock) % kBlock, '\0');
        padding[0] = '\x80';
        for (int shift = 56; shift >= 0; shift -= 8)
            padding += static_cast<char>((bits >> static_cast<unsigned>(shift)) & 0xFFU);
        update(padding);
        std::string out;
        for (const std::uint32_t word : words) {
            for (int shift = 24; shift >= 0; shift -= 8)
                out += static_cast<char>((word >> static_cast<unsigned>(shift)) & 0xFFU);
        }
        return out;
    }
};

}  // namespace

struct Sha256::State {
    bool fast;
    Fast by_processor;
    crypto_hash_sha256_state by_sodium;
};

Sha256::Sha256() : Sha256(true) {}

Sha256::Sha256(bool may_be_fast) : state_(std::make_unique<State>()) {
    static const bool has = has_instructions();
    state_->fast = has && may_be_fast;
    crypto_hash_sha256_init(&state_->by_sodium);
}

Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
    if (state_->fast) {
        state_->by_processor.update(bytes);
        return;
    }
    crypto_hash_sha256_update(
        &state_->by_sodium, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()
    );
}

std::string Sha256::finish() {
    if (state_->fast) return state_->by_processor.finish();
    std::string out(crypto_hash_sha256_BYTES, '\0');
    crypto_hash_sha256_final(&state_->by_sodium, reinterpret_cast<unsigned char*>(out.data()));
    return out;
}

std::string sha256(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish();
}

}  // namespace berth::identity
