// SPDX-License-Identifier: Apache-2.0
// Settings files: any text is a document or an error, and a reader of it gathers errors instead of
// throwing.
#include "config/config.hpp"
#include "fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = berth::fuzz::text_of(data, size);
    (void)berth::config::parse_bytes(text);
    const auto document = berth::config::Document::parse(text, "fuzz");
    if (!document) return 0;
    berth::config::Reader reader(document->root());
    (void)reader.get_string("a");
    (void)reader.get_int("b", 1, 0, 100);
    (void)reader.get_bool("c", false);
    (void)reader.get_duration("d", berth::milliseconds{1});
    (void)reader.get_bytes("e", 1);
    (void)reader.get_list("f");
    (void)reader.get_map("g");
    for (auto& [name, section] : reader.get_sections("profiles"))
        (void)section.get_double("ratio", 0.5);
    for (auto& section : reader.get_section_list("list")) (void)section.get_secret("key");
    (void)reader.finish();
    berth::config::Layers layers;
    layers.declare("sync.max_files", berth::config::Layers::Kind::kInt, {"1"});
    layers.declare("a", berth::config::Layers::Kind::kList);
    (void)layers.add_file(berth::config::Origin::kRepositoryFile, *document);
    return 0;
}
