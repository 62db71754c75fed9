// SPDX-License-Identifier: Apache-2.0
// Proves that settings arrive typed, that every mistake names its file and line, and the order of
// layers.
#include "config/config.hpp"

#include <gtest/gtest.h>

#include <map>

namespace berth::config {
namespace {

using namespace std::chrono_literals;

Document must(std::string_view text) {
    auto document = Document::parse(text, "f.yaml");
    EXPECT_TRUE(document) << (document ? "" : document.error().message);
    return std::move(document).value();
}

TEST(ConfigTest, ReadsEveryKind) {
    Reader reader(
        must(
            "name: x\ncount: 3\nratio: 0.5\non: true\nttl: 1h30m\nsize: 2GiB\n"
            "list: [a, b]\none: c\nmap: {k: v}\nprofiles:\n  p1: {ttl: 5s}\n  p2:\nsub: {deep: y}\n"
            "many:\n- id: 1\n- id: 2\n"
        )
            .root()
    );
    EXPECT_EQ(reader.require_string("name"), "x");
    EXPECT_EQ(reader.get_int("count", 0, 0, 10), 3);
    EXPECT_EQ(reader.get_double("ratio", 0), 0.5);
    EXPECT_TRUE(reader.get_bool("on", false));
    EXPECT_EQ(reader.get_duration("ttl", 0ms), 90min);
    EXPECT_EQ(reader.get_bytes("size", 0), 2ULL << 30U);
    EXPECT_EQ(reader.get_list("list"), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(reader.get_list("one"), (std::vector<std::string>{"c"}));
    EXPECT_EQ(reader.get_map("map").at("k"), "v");
    EXPECT_EQ(reader.get_string("absent", "d"), "d");
    auto profiles = reader.get_sections("profiles");
    ASSERT_EQ(profiles.size(), 2U);
    EXPECT_EQ(profiles[0].first, "p1");
    EXPECT_EQ(profiles[0].second.get_duration("ttl", 0ms), 5s);
    EXPECT_EQ(profiles[1].second.get_duration("ttl", 7s), 7s);
    EXPECT_EQ(reader.get_section("sub").get_string("deep"), "y");
    EXPECT_EQ(reader.get_section("nothing").get_string("deep", "z"), "z");
    ASSERT_EQ(reader.get_section_list("many").size(), 2U);
    const auto finished = reader.finish();  // the ids of `many` were never read
    ASSERT_FALSE(finished);
    EXPECT_NE(
        finished.error().message.find("f.yaml:15: unknown key 'many[0].id'"), std::string::npos
    ) << finished.error().message;
}

TEST(ConfigTest, UnknownKeysAreNamedWithPlaceAndRemedy) {
    Reader reader(must("a: 1\ntypo: 2\nsub:\n  b: 1\n  oops: 2\n").root());
    reader.get_int("a", 0, 0, 9);
    reader.get_string("c");
    reader.get_section("sub").get_int("b", 0, 0, 9);
    const auto finished = reader.finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(
        finished.error().message,
        "f.yaml:2: unknown key 'typo'; known keys are a, c, sub\nf.yaml:5: unknown key 'sub.oops'; "
        "known keys are b"
    );
}

TEST(ConfigTest, WrongAndMissingValuesAreAllTold) {
    Reader reader(must("n: many\nrange: 99\nttl: 5\nsub: text\n").root());
    EXPECT_EQ(reader.get_int("n", 4, 0, 9), 4);
    reader.get_int("range", 1, 0, 9);
    reader.get_duration("ttl", 1s);
    reader.get_section("sub");
    reader.require_string("must");
    const auto finished = reader.finish();
    ASSERT_FALSE(finished);
    EXPECT_EQ(
        finished.error().message,
        "f.yaml:1: 'n' must be a whole number, not 'many'\nf.yaml:2: 'range' must be from 0 to 9\n"
        "f.yaml:3: 'ttl' must be a duration like 90s or 15m, not '5'\nf.yaml:4: 'sub' must be a "
        "map\n"
        "f.yaml:1: 'must' must be set"
    );
}

TEST(ConfigTest, BrokenFilesNameTheLine) {
    for (const auto& [text, line] : std::map<std::string, std::string>{
             {"a: 1\nb: [1\nc: 2\n", "f.yaml:"},
             {"a: 1\na: 2\n", "f.yaml:2:1: the key 'a' is given twice"},
             {"a: *nobody\n", "f.yaml:1:4"},
             {"a: 1\n---\nb: 2\n", "f.yaml:2:1: the file holds more than one document"},
             {"a: 1\n...\nb: 2\n", "f.yaml:3:1: the file holds more than one document"},
             {"---\na: 1\n---\n", "f.yaml:3:1: the file holds more than one document"},
             {"a: 1\n...\n]\n", "f.yaml:3:1: "},
             {"{a: 1}\nb: 2\n", "f.yaml:2:1: the file holds more than one document"}}) {
        const auto document = Document::parse(text, "f.yaml");
        ASSERT_FALSE(document) << text;
        EXPECT_EQ(document.error().code, "bad_yaml");
        EXPECT_EQ(document.error().message.substr(0, line.size()), line)
            << document.error().message;
    }
    EXPECT_TRUE(must("").root().is_map());
    EXPECT_TRUE(must("%YAML 1.2\n---\na: 1\n...\n# no more\n").root().find("a"));
    EXPECT_TRUE(must("a: |\n  ---\n  ...\nb: 2\n").root().find("b"));
    EXPECT_FALSE(Reader(must("- a\n").root()).finish());
    std::string deep;
    for (int i = 0; i < 50; ++i) deep += "[";
    for (int i = 0; i < 50; ++i) deep += "]";
    EXPECT_FALSE(Document::parse(deep, "f.yaml"));
    EXPECT_FALSE(Document::load("/nonexistent/f.yaml"));
}

TEST(ConfigTest, Sizes) {
    EXPECT_EQ(parse_bytes("0").value(), 0U);
    EXPECT_EQ(parse_bytes("64KiB").value(), 65536U);
    EXPECT_EQ(parse_bytes("10MB").value(), 10000000U);
    for (const char* text : {"", "KiB", "-1", "1.5GiB", "99999999999TiB", "1 KiB"})
        EXPECT_FALSE(parse_bytes(text)) << text;
}

const char* fake_environment(const char* name) {
    const std::string_view key = name;
    if (key == "BERTH_SERVER") return "from-env";
    if (key == "BERTH_SYNC_EXCLUDE") return "x,,y";
    return nullptr;
}

Layers sample() {
    Layers layers;
    layers.declare("server", Layers::Kind::kText, {"default"});
    layers.declare("profile", Layers::Kind::kText, {"p"});
    layers.declare("sync.exclude", Layers::Kind::kList);
    layers.declare("sync.max_files", Layers::Kind::kInt, {"100"});
    layers.declare("sync.git", Layers::Kind::kBool, {"true"});
    return layers;
}

TEST(LayersTest, TheStrongestLayerWinsAndTellsItsOrigin) {
    Layers layers = sample();
    EXPECT_EQ(layers.get("server").origin, Origin::kDefault);
    ASSERT_TRUE(layers.add_file(Origin::kUserFile, must("server: user\nprofile: user\n")));
    ASSERT_TRUE(
        layers.add_file(Origin::kRepositoryFile, must("\nserver: repo\nsync:\n  max_files: 7\n"))
    );
    EXPECT_EQ(layers.text("server"), "repo");
    EXPECT_EQ(layers.get("server").where, "f.yaml:2");
    EXPECT_EQ(layers.text("profile"), "user");
    EXPECT_EQ(layers.integer("sync.max_files"), 7);
    ASSERT_TRUE(layers.load_environment(&fake_environment));
    EXPECT_EQ(layers.text("server"), "from-env");
    EXPECT_EQ(layers.get("server").where, "BERTH_SERVER");
    EXPECT_EQ(layers.list("sync.exclude"), (std::vector<std::string>{"x", "y"}));
    ASSERT_TRUE(layers.set_flag("server", {"flag"}, "--server"));
    EXPECT_EQ(layers.text("server"), "flag");
    EXPECT_EQ(to_string(layers.get("server").origin), "flag");
    EXPECT_TRUE(layers.boolean("sync.git"));
}

TEST(LayersTest, MistakesNameTheirPlace) {
    Layers layers = sample();
    const auto unknown =
        layers.add_file(Origin::kUserFile, must("sever: x\nsync:\n  max_files: lots\n  no: 1\n"));
    ASSERT_FALSE(unknown);
    EXPECT_EQ(
        unknown.error().message,
        "f.yaml:1: unknown key 'sever'; known keys are server, profile, sync.exclude, "
        "sync.max_files, sync.git\n"
        "f.yaml:3: 'sync.max_files' must be a whole number, not 'lots'\n"
        "f.yaml:4: unknown key 'sync.no'; known keys are server, profile, sync.exclude, "
        "sync.max_files, sync.git"
    );
    EXPECT_FALSE(layers.set_flag("sync.max_files", {"x"}, "--max-files"));
    EXPECT_FALSE(layers.set_flag("sync.max_files", {"-3"}, "--max-files"));
    EXPECT_EQ(environment_name("sync.max_files"), "BERTH_SYNC_MAX_FILES");
}

}  // namespace
}  // namespace berth::config
