// SPDX-License-Identifier: Apache-2.0
// What guard_bench has done with and without a guard: scripts of 2,000 execs each.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace berth::node::testing {

/// Three execs each (driver, compiler, assembler), with make's own and the archive's: 2,000.
inline constexpr int kProjectFiles = 665;

/// One file of a C project, of 70 lines: a module that reads and keeps settings. `@` stands for its
/// number.
inline constexpr const char* kModule = R"(#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry@ { char *key; char *value; unsigned hash; struct entry@ *next; };
struct table@ { struct entry@ **slots; size_t size, count; };

static unsigned hash_of(const char *text) {
    unsigned hash = 2166136261u + @;
    for (; *text; ++text) hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

static int grow(struct table@ *table) {
    size_t size = table->size ? table->size * 2 : 16, i;
    struct entry@ **slots = calloc(size, sizeof *slots);
    if (!slots) return -ENOMEM;
    for (i = 0; i < table->size; ++i) {
        struct entry@ *entry = table->slots[i];
        while (entry) {
            struct entry@ *next = entry->next;
            entry->next = slots[entry->hash % size];
            slots[entry->hash % size] = entry;
            entry = next;
        }
    }
    free(table->slots);
    table->slots = slots;
    table->size = size;
    return 0;
}

int put@(struct table@ *table, const char *key, const char *value) {
    unsigned hash = hash_of(key);
    struct entry@ *entry;
    if (table->count >= table->size && grow(table)) return -ENOMEM;
    for (entry = table->slots[hash % table->size]; entry; entry = entry->next) {
        char *copy;
        if (entry->hash != hash || strcmp(entry->key, key)) continue;
        if (!(copy = strdup(value))) return -ENOMEM;
        free(entry->value);
        entry->value = copy;
        return 0;
    }
    if (!(entry = malloc(sizeof *entry))) return -ENOMEM;
    entry->key = strdup(key);
    entry->value = strdup(value);
    entry->hash = hash;
    entry->next = table->slots[hash % table->size];
    table->slots[hash % table->size] = entry;
    ++table->count;
    return 0;
}

/* key = value */
int read@(struct table@ *table, FILE *file, char *why, size_t room) {
    char line[512];
    int number = 0;
    while (fgets(line, sizeof line, file)) {
        char *value = strchr(line, '=');
        ++number;
        if (line[0] == '#' || line[0] == '\n') continue;
        if (!value) {
            snprintf(why, room, "line %d: a key and = are expected", number);
            return -EINVAL;
        }
        *value++ = 0;
        value[strcspn(value, "\n")] = 0;
        if (put@(table, line, value)) return -ENOMEM;
    }
    return number;
}
)";

inline void write_project(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    for (int i = 0; i < kProjectFiles; ++i) {
        const std::string number = std::to_string(i);
        std::ofstream out(folder / ("module" + number + ".c"));
        for (const char* at = kModule; *at != '\0'; ++at) {
            if (*at == '@')
                out << number;
            else
                out << *at;
        }
    }
    std::ofstream(folder / "Makefile") << "OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))\n"
                                          "libmodules.a: $(OBJECTS)\n\t@ar rcs $@ $^\n"
                                          "%.o: %.c\n\t@gcc -O2 -Wall -D_GNU_SOURCE -c $< -o $@\n";
}

/// In the folder above write_project()'s `project`.
constexpr const char* kBuild = "cd project && rm -f *.o *.a && exec make -j2";
/// As many in a few seconds, of some 2 ms each: of each of 125 small files a compiler's three, and
/// the thirteen of the rules around it. The dearest that a build's execs can be.
constexpr const char* kSmall =
    "cd /tmp; printf 'int f(int x){return x+1;}\\n' > t.c; i=0; while [ $i -lt 125 ]; do { "
    "mkdir -p o; dirname o/t.o; basename t.c .c; sed -n 1p t.c; cp t.c o/t.c; cat o/t.c; "
    "cmp t.c o/t.c; gcc -O -c o/t.c -o o/t.tmp; mv -f o/t.tmp o/t.o; cp o/t.o o/u.o; "
    "chmod 644 o/u.o; touch o/stamp; ls o; rm -f o/u.o; } >/dev/null; i=$((i+1)); done";
/// As many of a program that does nothing: the most that guarding can cost.
constexpr const char* kLoop = "./probe many 2000";

}  // namespace berth::node::testing
